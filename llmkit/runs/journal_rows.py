"""What the journal keeps of attempts and answers, JSON-ready."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from llmkit.money.pricing import Cost
from llmkit.records import Completion, Failure, HttpResponse
from llmkit.runs.conversation import REUSED, Conversation
from llmkit.runs.reuse import Reused
from llmkit.store import Event, events


def outcome_fields(
    result: Completion | Failure, response: HttpResponse | Failure, cost: Cost, latency: float
) -> dict[str, Any]:
    """The columns of ``attempts`` that are known once the attempt has ended."""
    failure = result if isinstance(result, Failure) else None
    is_billed = failure is None or result.usage is not None
    return {
        "status_code": response.status,
        "error_code": failure.code if failure else None,
        "error_message": failure.message if failure else None,
        "latency_s": latency,
        "request_id": result.request_id,
        "maybe_billed": failure is not None and failure.maybe_billed,
        "service_tier": result.service_tier,
        "usage": result.usage.to_row() if result.usage else None,
        "cost": format(cost.amount, "f") if is_billed and cost.amount is not None else None,
        "cost_source": cost.source if is_billed else None,
    }


def answer_fields(reply: Completion, cost: Cost) -> dict[str, Any]:
    """The columns of ``turns`` that only an answer has."""
    return {
        "response": reply.text,
        "finish_reason": reply.finish_reason,
        "model_version": reply.model_version,
        **{name: rate for name, rate in cost.rates.to_row().items() if rate is not None},
    }


def reused_lines(run_id: str, reused: Reused, conversations: Iterable[Conversation]) -> Iterator[Event]:
    """The journal lines of reused answers: each as the outcome of an attempt 0, and the rows of finished probes."""
    for conversation in conversations:
        position = conversation.probe.position
        for turn, answer in enumerate(reused.answers[position], start=1):
            completion = answer.completion
            yield from events.outcome(
                run_id=run_id,
                position=position,
                turn=turn,
                attempt=0,
                ended_at=answer.answered_at,
                latency_s=answer.latency_s,
                maybe_billed=False,
                service_tier=completion.service_tier,
                usage=completion.usage.to_row() if completion.usage else None,
                cost="0",
                cost_source="reused",
                reused_from=answer.source,
                original_cost=None if answer.cost is None else format(answer.cost, "f"),
                answer=answer_fields(completion, REUSED),
            )
        if conversation.status is not None:
            yield events.probe(run_id=run_id, position=position, session=0, **conversation.row())
