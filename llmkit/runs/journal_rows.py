"""The JSON-ready columns that the journal keeps of attempts and answers."""

from __future__ import annotations

from typing import Any

from llmkit.money.pricing import Cost
from llmkit.records import Completion, Failure, HttpResponse


def outcome_fields(
    result: Completion | Failure, response: HttpResponse | Failure, cost: Cost, latency: float
) -> dict[str, Any]:
    """The columns of ``attempts`` that are known once the attempt has ended."""
    failed = isinstance(result, Failure)
    return {
        "status_code": response.status,
        "error_code": result.code if isinstance(result, Failure) else None,
        "error_message": result.message if isinstance(result, Failure) else None,
        "latency_s": latency,
        "request_id": result.request_id,
        "maybe_billed": isinstance(result, Failure) and result.maybe_billed,
        "service_tier": result.service_tier,
        "usage": result.usage.to_row() if result.usage else None,
        "cost": None if cost.amount is None or not result.usage else format(cost.amount, "f"),
        "cost_source": cost.source if result.usage or not failed else None,
    }


def answer_fields(reply: Completion, cost: Cost) -> dict[str, Any]:
    """The columns of ``turns`` that only an answer has."""
    return {
        "response": reply.text,
        "finish_reason": reply.finish_reason,
        "model_version": reply.model_version,
        **{name: rate for name, rate in cost.rates.to_row().items() if rate is not None},
    }
