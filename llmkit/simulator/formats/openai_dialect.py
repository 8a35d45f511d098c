"""The server side of OpenAI's two formats as other providers adopt them, and OpenAI's own extras."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, ClassVar

from llmkit.simulator.formats.batches_openai import OpenAIServed
from llmkit.simulator.formats.body_values import Body
from llmkit.simulator.formats.served_format import Server
from llmkit.simulator.limiter import Limiter
from llmkit.simulator.questions import Answer, Question, Rejected, Wording
from llmkit.simulator.reasoning import effort_of, is_openai_reasoning_model

CREATED = 1_788_220_800  # 2026-09-01
BUSY = "The model is overloaded. Please try again later."
TOO_LONG = "maximum context length is 128000 tokens. However, your messages resulted in more."
THOUGHT = "Let me think about what is being asked, and what would change the answer."
_RESPONSES_ONLY = re.compile(r"^(gpt-5-codex|gpt-5-pro|gpt-5\.\d-(codex|pro)|o\d-pro|o\d(-mini)?-deep-research)")
INVALID = "invalid_request_error"
_WORDINGS = {
    "rate_limit": Wording(
        429,
        "Rate limit reached for {model} in organization org-simulated on {unit}: Limit {limit}. Please try again in "
        "{wait:.3f}s. Visit https://platform.openai.com/account/rate-limits to learn more.",
        code="rate_limit_exceeded"),
    "quota": Wording(429, "You exceeded your current quota, please check your plan and billing details.",
                     "insufficient_quota", "insufficient_quota"),
    "auth": Wording(401, "Incorrect API key provided. You can find your API key at "
                    "https://platform.openai.com/api-keys.", INVALID, "invalid_api_key"),
    "server_error": Wording(500, "The server had an error while processing your request. Sorry about that!",
                            "server_error"),
    "overloaded": Wording(503, BUSY, "service_unavailable_error", "server_is_overloaded"),
    "too_long": Wording(400, f"This model's {TOO_LONG}", INVALID, "context_length_exceeded"),
    "not_found": Wording(404, "The model `{model}` does not exist or you do not have access to it.",
                         INVALID, "model_not_found"),
    "blocked": Wording(400, "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
                       INVALID, "invalid_prompt"),
    "invalid": Wording(400, type=INVALID),
    "unsupported_parameter": Wording(400, type=INVALID, code="unsupported_parameter"),
    "unsupported_value": Wording(400, type=INVALID, code="unsupported_value"),
}  # fmt: skip
_UNITS = {"requests": "requests per min (RPM)", "tokens": "tokens per min (TPM)", "concurrent": "requests"}


class ServedDialect(Server):
    """A provider that speaks OpenAI's formats without changes; dialects override their differences."""

    prefix = "/v1"
    models: ClassVar[tuple[str, ...]] = ("simulated",)
    id_headers: ClassVar[tuple[str, ...]] = ("x-request-id",)
    seed: ClassVar[str] = "seed"
    """The name of the seed parameter."""
    filters_refusals: ClassVar[bool] = False
    """Whether it reports a refusal as filtered content."""
    reports_limits: ClassVar[bool] = True
    """Whether its headers say what is left of the limits."""

    def check(self, question: Question, body: Body) -> None:
        """Raise ``Rejected`` for a request, in either format, that the provider would reject."""

    def version(self, model: str) -> str:
        """The model version reported in answers."""
        return model

    def message(self, answer: Answer) -> dict[str, Any]:
        """The message of a chat completion."""
        content = answer.text if answer.refusal is None else None
        return {"role": "assistant", "content": content, "refusal": answer.refusal}

    def usage(self, question: Question, answer: Answer, read: str, written: str) -> dict[str, Any]:
        """The usage, in which a format has its words for what was ``read`` and ``written``; that includes reasoning."""
        return {
            f"{read}_tokens": answer.input_tokens,
            f"{written}_tokens": answer.output_tokens,
            "total_tokens": answer.input_tokens + answer.output_tokens,
            f"{read}_tokens_details": {"cached_tokens": answer.cached},
            f"{written}_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
        }

    def model_list(self, models: Iterable[str]) -> dict[str, Any]:
        """The body of a list of models."""
        return {"object": "list", "data": list(map(self.entry, models))}

    def entry(self, model: str) -> dict[str, Any]:
        """A model in the list."""
        return {"id": model, "object": "model", "owned_by": self.provider, "created": CREATED}

    def limit_headers(self, limiter: Limiter, now: float) -> dict[str, str]:
        """What is left of each limit."""
        headers = {}
        for what, allowance in limiter.left(now).items() if self.reports_limits else ():
            headers[f"x-ratelimit-limit-{what}"] = str(allowance.limit)
            headers[f"x-ratelimit-remaining-{what}"] = str(allowance.remaining)
            headers[f"x-ratelimit-reset-{what}"] = duration(allowance.reset)
        return headers

    def error(self, rejected: Rejected, request_id: str) -> tuple[int, Any]:
        """An error in OpenAI's words."""
        status, message, kind, code = rejected.worded(_WORDINGS, unit=_UNITS[rejected.unit])
        body = {"message": message, "type": kind or rejected.unit, "param": rejected.param, "code": code}
        return status, {"error": body}


class OpenAI(ServedDialect):
    """OpenAI itself: dated snapshots, charged cache writes, parameters that depend on the model."""

    batches = OpenAIServed()
    wait_headers = ("retry-after", "retry-after-ms")
    models = ("gpt-6-luna", "gpt-6-sol", "gpt-6.1-terra", "gpt-5.4-mini", "gpt-5.4-pro")

    def check(self, question: Question, body: Body) -> None:
        """Pro and codex models accept no chat completions. Reasoning models accept neither ``max_tokens`` nor ``stop``,
        and temperature and top_p only at effort ``none``, or at their default of 1.
        """
        if "messages" in body and _RESPONSES_ONLY.match(question.model):
            message = "This is not a chat model and thus not supported in the v1/chat/completions endpoint."
            raise Rejected(message, "model", kind="not_found")
        if is_openai_reasoning_model(question.model):
            if body.get("max_tokens") is not None:
                raise _unsupported("max_tokens", " Use 'max_completion_tokens' instead.")
            if body.get("stop"):
                raise _unsupported("stop")
        elif body.get("reasoning_effort") is not None:
            message = "Unrecognized request argument supplied: reasoning_effort"
            raise Rejected(message, "reasoning_effort", kind="unsupported_parameter")
        for name in ("temperature", "top_p") if effort_of(question) != "none" else ():
            if body.get(name) not in (None, 1):
                problem = f"'{name}' does not support {body[name]} with this model."
                message = f"Unsupported value: {problem} Only the default (1) value is supported."
                raise Rejected(message, name, kind="unsupported_value")

    def version(self, model: str) -> str:
        """Aliases resolve to a dated snapshot."""
        is_dated = model[-2:].isdecimal() and model.count("-") >= 4
        return model if is_dated else f"{model}-2026-10-01"

    def usage(self, question: Question, answer: Answer, read: str, written: str) -> dict[str, Any]:
        """The usage, with cache writes for models that charge for them: since gpt-5.6."""
        usage = super().usage(question, answer, read, written)
        if question.model.startswith(("gpt-5.6", "gpt-5.7", "gpt-5.8", "gpt-5.9", "gpt-6")):
            usage[f"{read}_tokens_details"]["cache_write_tokens"] = answer.written
        return usage


def duration(wait: float) -> str:
    """A wait as Go writes it: ``12ms``, ``1s``, ``6m0s``."""
    if wait < 1:
        return f"{round(wait * 1000)}ms"
    minutes, rest = divmod(wait, 60)
    text = f"{rest:.3f}".rstrip("0").rstrip(".")
    return f"{int(minutes)}m{text}s" if minutes else f"{text}s"


def _unsupported(name: str, advice: str = "") -> Rejected:
    message = f"Unsupported parameter: '{name}' is not supported with this model.{advice}"
    return Rejected(message, name, kind="unsupported_parameter")
