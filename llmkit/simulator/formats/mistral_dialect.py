"""Mistral's dialect of chat completions."""

from __future__ import annotations

from typing import Any

from llmkit.simulator.formats.batches_openai import MistralServed
from llmkit.simulator.formats.body_values import Body
from llmkit.simulator.formats.openai_dialect import INVALID, THOUGHT, TOO_LONG, ServedDialect
from llmkit.simulator.limiter import Limiter
from llmkit.simulator.questions import Answer, Question, Rejected, Wording, number

_WORDINGS = {
    "rate_limit": Wording(429, "Rate limit exceeded", "rate_limited", "1300"),
    "quota": Wording(402, "You have reached your spending limit.", "payment_required", "1500"),
    "auth": Wording(401, "Unauthorized", "unauthorized", "1100"),
    "server_error": Wording(500, "Internal server error", "internal_server_error", "3000"),
    "overloaded": Wording(503, "Service tier capacity exceeded for this model.", "service_unavailable", "3505"),
    "too_long": Wording(400, f"Prompt is too large for this model: {TOO_LONG}", INVALID, "3051"),
    "not_found": Wording(400, "Invalid model: {model}", "invalid_model", "1500"),
    "blocked": Wording(403, "The prompt violates usage guidelines and was blocked.", "guardrail", "1800"),
    "invalid": Wording(400, type=INVALID, code="2000"),
}


class Mistral(ServedDialect):
    """Content that can be a list, another name for the seed, no extra fields, flat errors."""

    models = ("mistral-small-2603", "mistral-medium-3-5", "mistral-large-4")
    id_headers = ("mistral-correlation-id",)
    seed = "random_seed"
    batches = MistralServed()

    def check(self, question: Question, body: Body) -> None:
        """The seed is called ``random_seed``; ``seed`` and ``max_completion_tokens`` are not allowed."""
        for name in ("seed", "max_completion_tokens"):
            if name in body:
                raise Rejected("Extra inputs are not permitted", name, kind="unsupported_parameter")

    def message(self, answer: Answer) -> dict[str, Any]:
        """The content is a list when there is thinking to show, and occasionally for no visible reason."""
        content: Any = answer.text if answer.refusal is None else answer.refusal  # there is no field for a refusal
        text = {"type": "text", "text": answer.text}
        if answer.text and answer.reasoning_tokens:
            content = [{"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]}, text]
        elif answer.text and number("list", answer.text) % 5 == 0:
            content = [text]
        return {"role": "assistant", "content": content, "tool_calls": None}

    def entry(self, model: str) -> dict[str, Any]:
        """A model in the list, with its capabilities."""
        return super().entry(model) | {
            "name": model,
            "aliases": [],
            "max_context_length": 262_144,
            "capabilities": {"completion_chat": True, "function_calling": True, "vision": False, "reasoning": True},
            "deprecation": None,
            "type": "base",
        }

    def limit_headers(self, limiter: Limiter, now: float) -> dict[str, str]:
        """The limits per minute and what is left, without a reset time."""
        headers = {}
        for what, allowance in limiter.left(now).items():
            name, used = "req" if what == "requests" else what, allowance.limit - allowance.remaining
            headers[f"x-ratelimit-limit-{name}-minute"] = str(allowance.per_minute)
            headers[f"x-ratelimit-remaining-{name}-minute"] = str(max(0, allowance.per_minute - used))
        return headers

    def error(self, rejected: Rejected, request_id: str) -> tuple[int, Any]:
        """A flat error; unknown parameters give FastAPI's 422."""
        status, message, kind, code = rejected.worded(_WORDINGS)
        said: Any = message
        if rejected.param:
            fault = "extra_forbidden" if rejected.kind == "unsupported_parameter" else "value_error"
            detail = {"type": fault, "loc": ["body", rejected.param], "msg": message, "input": None}
            status, said, code = 422, {"detail": [detail]}, None
        return status, {"object": "error", "message": said, "type": kind, "param": None, "code": code}
