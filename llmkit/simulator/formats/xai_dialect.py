"""xAI's dialect of OpenAI's formats; the cost in its usage follows xai-sdk 1.21 (cost.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmkit.simulator.formats.batches_openai import XaiServed
from llmkit.simulator.formats.openai_dialect import BUSY, THOUGHT, ServedDialect
from llmkit.simulator.problems import Rejected
from llmkit.simulator.questions import Answer, Question

# Ticks (1e-10 US dollars) per token: input, cached input, output. 10,000 ticks per token are 1 US dollar per million.
# Prices as listed in November 2026; a rehearsal needs plausible ones, not current ones.
_RATES = (
    ("grok-4.7", (20_000, 5_000, 60_000)),
    ("grok-4.6", (20_000, 5_000, 60_000)),
    ("grok-4.5", (20_000, 3_000, 60_000)),
    ("grok-build", (10_000, 2_000, 20_000)),
)
_USUAL = (12_500, 2_000, 25_000)
_LONG = 199_999  # input tokens above which everything costs double
_ARGUMENT = "Client specified an invalid argument"
_ERRORS = {
    "rate_limit": (429, "Some resource has been exhausted"),
    "quota": (403, "personal-team-blocked:spending-limit"),
    "server_error": (500, "Internal error"),
    "overloaded": (503, "The service is currently unavailable"),
    "not_found": (404, "Some requested entity was not found"),
    "blocked": (403, "The caller does not have permission to execute the specified operation"),
}
_MESSAGES = {
    "rate_limit": "Too many requests for team simulated and model {model}. Your team's rate limit is {limit} "
    "{unit} per minute.",
    "quota": "Your team has used all available credits or reached its monthly spending limit.",
    "auth": "Incorrect API key provided. You can obtain an API key from https://console.x.ai.",
    "server_error": "Something went wrong while processing the request.",
    "overloaded": BUSY,
    "too_long": "This model's maximum prompt length is 131072 but the request contains more tokens.",
    "not_found": "The model {model} does not exist or your team does not have access to it.",
    "blocked": "Content violates usage guidelines.",
}
_REFUSED = {"stop": "stop", "presence_penalty": "presencePenalty", "frequency_penalty": "frequencyPenalty"}


class Xai(ServedDialect):
    """Errors are two strings, a wrong key gives a 400, completion tokens exclude reasoning, and usage has the cost."""

    models = ("grok-4.3", "grok-4.5", "grok-4.7")
    batches = XaiServed()
    reports_limits = False

    def check(self, question: Question, body: Mapping[str, Any]) -> None:
        """Reasoning models accept neither ``stop`` nor penalties, and grok-4.20 no effort."""
        for name, words in _REFUSED.items():
            if body.get(name):
                raise Rejected(f"Model {question.model} does not support parameter {words}.", name)
        single = question.model.startswith("grok-4.20") and "multi-agent" not in question.model
        if body.get("reasoning_effort") and single:
            raise Rejected(f"Model {question.model} does not support parameter reasoningEffort.", "reasoning_effort")

    def message(self, answer: Answer) -> dict[str, Any]:
        """The message, with the reasoning in a field of its own."""
        return super().message(answer) | ({"reasoning_content": THOUGHT} if answer.reasoning_tokens else {})

    def usage(self, question: Question, answer: Answer, read: str, written: str) -> dict[str, Any]:
        """The usage with the cost in ticks; completion tokens exclude reasoning."""
        usage = super().usage(question, answer, read, written) | {"num_sources_used": 0}
        if written == "completion":
            usage["completion_tokens"] = answer.text_tokens
        rates = next((rates for prefix, rates in _RATES if question.model.startswith(prefix)), _USUAL)
        counts = (answer.input_tokens - answer.cached, answer.cached, answer.output_tokens)
        cost = sum(count * rate for count, rate in zip(counts, rates, strict=True))
        return usage | {"cost_in_usd_ticks": cost * (2 if answer.input_tokens > _LONG else 1)}

    def error(self, rejected: Rejected, request_id: str) -> tuple[int, Any]:
        """An error in xAI's words."""
        status, code = _ERRORS.get(rejected.kind, (400, _ARGUMENT))
        return status, {"code": code, "error": rejected.worded(_MESSAGES)}
