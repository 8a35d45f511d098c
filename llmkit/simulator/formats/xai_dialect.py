"""xAI's dialect of OpenAI's formats; the cost in its usage follows xai-sdk 1.21 (cost.py)."""

from __future__ import annotations

from typing import Any

from llmkit.simulator.formats.batches_openai import XaiServed
from llmkit.simulator.formats.body_values import Body
from llmkit.simulator.formats.openai_dialect import BUSY, THOUGHT, ServedDialect
from llmkit.simulator.questions import Answer, Question, Rejected, Wording

# Ticks (1e-10 US dollars) per token: input, cached input, output. 10,000 ticks per token are 1 US dollar per million.
# Prices as listed in November 2026; a rehearsal needs plausible ones, not current ones.
_RATES = (
    ("grok-4.7", (20_000, 5_000, 60_000)),
    ("grok-4.6", (20_000, 5_000, 60_000)),
    ("grok-4.5", (20_000, 3_000, 60_000)),
    ("grok-build", (10_000, 2_000, 20_000)),
    ("", (12_500, 2_000, 25_000)),
)
_LONG = 199_999  # input tokens above which everything costs double
_ARGUMENT = "Client specified an invalid argument"
_WORDINGS = {
    "rate_limit": Wording(429, "Too many requests for team simulated and model {model}. Your team's rate limit is "
                          "{limit} {unit} per minute.", "Some resource has been exhausted"),
    "quota": Wording(403, "Your team has used all available credits or reached its monthly spending limit.",
                     "personal-team-blocked:spending-limit"),
    "auth": Wording(400, "Incorrect API key provided. You can obtain an API key from https://console.x.ai.", _ARGUMENT),
    "server_error": Wording(500, "Something went wrong while processing the request.", "Internal error"),
    "overloaded": Wording(503, BUSY, "The service is currently unavailable"),
    "too_long": Wording(400, "This model's maximum prompt length is 131072 but the request contains more tokens.",
                        _ARGUMENT),
    "not_found": Wording(404, "The model {model} does not exist or your team does not have access to it.",
                         "Some requested entity was not found"),
    "blocked": Wording(403, "Content violates usage guidelines.",
                       "The caller does not have permission to execute the specified operation"),
    "invalid": Wording(400, type=_ARGUMENT),
}  # fmt: skip
_REFUSED = {"stop": "stop", "presence_penalty": "presencePenalty", "frequency_penalty": "frequencyPenalty"}


class Xai(ServedDialect):
    """Errors are two strings, a wrong key gives a 400, completion tokens exclude reasoning, and usage has the cost."""

    models = ("grok-4.3", "grok-4.5", "grok-4.7")
    batches = XaiServed()
    reports_limits = False

    def check(self, question: Question, body: Body) -> None:
        """Reasoning models accept neither ``stop`` nor penalties, and grok-4.20 no effort."""
        is_single = question.model.startswith("grok-4.20") and "multi-agent" not in question.model
        for name, words in (_REFUSED | ({"reasoning_effort": "reasoningEffort"} if is_single else {})).items():
            if body.get(name):
                raise Rejected(f"Model {question.model} does not support parameter {words}.", name)

    def message(self, answer: Answer) -> dict[str, Any]:
        """The message, with the reasoning in a field of its own."""
        return super().message(answer) | ({"reasoning_content": THOUGHT} if answer.reasoning_tokens else {})

    def usage(self, question: Question, answer: Answer, read: str, written: str) -> dict[str, Any]:
        """The usage with the cost in ticks; completion tokens exclude reasoning."""
        usage = super().usage(question, answer, read, written) | {"num_sources_used": 0}
        if written == "completion":
            usage["completion_tokens"] = answer.text_tokens
        rates = next(rates for prefix, rates in _RATES if question.model.startswith(prefix))
        counts = (answer.input_tokens - answer.cached, answer.cached, answer.output_tokens)
        cost = sum(count * rate for count, rate in zip(counts, rates, strict=True))
        return usage | {"cost_in_usd_ticks": cost * (2 if answer.input_tokens > _LONG else 1)}

    def error(self, rejected: Rejected, request_id: str) -> tuple[int, Any]:
        """An error in xAI's words."""
        status, message, code, _ = rejected.worded(_WORDINGS)
        return status, {"code": code, "error": message}
