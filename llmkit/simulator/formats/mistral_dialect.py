"""Mistral's dialect of chat completions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmkit.simulator.formats.batches_openai import MistralServed
from llmkit.simulator.formats.openai_dialect import THOUGHT, TOO_LONG, ServedDialect
from llmkit.simulator.limiter import Limiter
from llmkit.simulator.problems import Rejected
from llmkit.simulator.questions import Answer, Question, number


class Mistral(ServedDialect):
    """Content that can be a list, another name for the seed, no extra fields, flat errors."""

    models = ("mistral-small-2603", "mistral-medium-3-5", "mistral-large-4")
    id_headers = ("mistral-correlation-id",)
    seed = "random_seed"
    batches = MistralServed()

    def check(self, question: Question, body: Mapping[str, Any]) -> None:
        """The seed is called ``random_seed``; ``seed`` and ``max_completion_tokens`` are not allowed."""
        for name in ("seed", "max_completion_tokens"):
            if name in body:
                raise Rejected("Extra inputs are not permitted", name, kind="unsupported_parameter")

    def message(self, answer: Answer) -> dict[str, Any]:
        """The content is a list when there is thinking to show, and occasionally for no visible reason."""
        content: Any = answer.text if answer.refusal is None else answer.refusal  # there is no field for a refusal
        text = {"type": "text", "text": answer.text}
        if answer.text and answer.refusal is None:
            if answer.reasoning_tokens:
                content = [{"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]}, text]
            elif number("list", answer.text) % 5 == 0:
                content = [text]
        return {"role": "assistant", "content": content, "tool_calls": None}

    def entry(self, model: str) -> dict[str, Any]:
        """A model in the list, with its capabilities."""
        capabilities = {"completion_chat": True, "function_calling": True, "vision": False, "reasoning": True}
        return super().entry(model) | {
            "name": model,
            "aliases": [],
            "max_context_length": 262_144,
            "capabilities": capabilities,
            "deprecation": None,
            "type": "base",
        }

    def limit_headers(self, limiter: Limiter, now: float) -> dict[str, str]:
        """The limits per minute and what is left, without a reset time."""
        headers, limits = {}, {"requests": limiter.limits.rpm, "tokens": limiter.limits.tpm}
        for what, allowance in limiter.left(now).items():
            name, limit = "req-minute" if what == "requests" else "tokens-minute", limits[what] or 0
            headers[f"x-ratelimit-limit-{name}"] = str(limit)
            headers[f"x-ratelimit-remaining-{name}"] = str(max(0, limit - allowance.limit + allowance.remaining))
        return headers

    def error(self, rejected: Rejected, request_id: str) -> tuple[int, Any]:
        """A flat error; unknown parameters give FastAPI's 422."""
        if rejected.kind in ("unsupported_parameter", "invalid") and rejected.param:
            kind = "extra_forbidden" if rejected.kind == "unsupported_parameter" else "value_error"
            detail = {"type": kind, "loc": ["body", rejected.param], "msg": rejected.message, "input": None}
            return 422, _body({"detail": [detail]}, "invalid_request_error", None)
        status, kind, code, message = {
            "rate_limit": (429, "rate_limited", "1300", "Rate limit exceeded"),
            "quota": (402, "payment_required", "1500", "You have reached your spending limit."),
            "auth": (401, "unauthorized", "1100", "Unauthorized"),
            "server_error": (500, "internal_server_error", "3000", "Internal server error"),
            "overloaded": (503, "service_unavailable", "3505", "Service tier capacity exceeded for this model."),
            "too_long": (400, "invalid_request_error", "3051", f"Prompt is too large for this model: {TOO_LONG}"),
            "not_found": (400, "invalid_model", "1500", f"Invalid model: {rejected.model}"),
            "blocked": (403, "guardrail", "1800", "The prompt violates usage guidelines and was blocked."),
        }.get(rejected.kind, (400, "invalid_request_error", "2000", ""))
        return status, _body(rejected.message or message, kind, code)


def _body(message: Any, kind: str, code: str | None) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": kind, "param": None, "code": code}
