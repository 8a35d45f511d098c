"""The server side of OpenAI's two formats as other providers adopt them, and OpenAI's own extras."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from llmkit.simulator.formats.batches_openai import OpenAIServed
from llmkit.simulator.formats.problems import Problem, Rejected, unsupported_parameter, unsupported_value
from llmkit.simulator.formats.served_format import ErrorResponse, Server, bearer, left, retry_after
from llmkit.simulator.limiter import Limiter
from llmkit.simulator.questions import Answer, Question
from llmkit.simulator.reasoning import is_openai_reasoning_model, resolved_effort

CREATED = 1_788_220_800  # 2026-09-01
BUSY = "The model is overloaded. Please try again later."
TOO_LONG = "maximum context length is 128000 tokens. However, your messages resulted in more."
THOUGHT = "Let me think about what is being asked, and what would change the answer."
_RESPONSES_ONLY = re.compile(r"^(gpt-5-codex|gpt-5-pro|gpt-5\.\d-(codex|pro)|o\d-pro|o\d(-mini)?-deep-research)")
_UNITS = {"requests": "requests per min (RPM)", "tokens": "tokens per min (TPM)", "concurrent": "requests"}


class ServedDialect(Server):
    """A provider that speaks OpenAI's formats without changes; dialects override their differences."""

    prefix = "/v1"
    models: ClassVar[tuple[str, ...]] = ("simulated",)
    id_header: ClassVar[str] = "x-request-id"
    seed: ClassVar[str] = "seed"
    """The name of the seed parameter."""

    def key(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str:
        """The bearer token."""
        return bearer(headers)

    def check(self, question: Question, body: Mapping[str, Any]) -> None:
        """Check a chat completion by the provider's rules.

        Raises:
            Rejected: the provider would reject it.
        """

    def check_sampling(self, question: Question, body: Mapping[str, Any]) -> None:
        """Check the sampling parameters, in either format.

        Raises:
            Rejected: the model does not accept them.
        """

    def version(self, model: str) -> str:
        """The model version reported in answers."""
        return model

    def finish(self, answer: Answer) -> str:
        """Why a chat completion ended."""
        return answer.finish

    def message(self, answer: Answer) -> dict[str, Any]:
        """The message of a chat completion."""
        content = answer.text if answer.refusal is None else None
        return {"role": "assistant", "content": content, "refusal": answer.refusal}

    def usage(self, question: Question, answer: Answer) -> dict[str, Any]:
        """The usage of a chat completion; reasoning is part of the completion tokens."""
        return {
            "prompt_tokens": answer.input_tokens,
            "completion_tokens": answer.output_tokens,
            "total_tokens": answer.input_tokens + answer.output_tokens,
            "prompt_tokens_details": {"cached_tokens": answer.cached},
            "completion_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
        }

    def written(self, question: Question, answer: Answer) -> int:
        """Tokens charged as cache writes."""
        return 0

    def bill(self, question: Question, answer: Answer) -> dict[str, Any]:
        """Fields of the usage that report the cost."""
        return {}

    def model_list(self, models: Iterable[str]) -> dict[str, Any]:
        """The body of a list of models."""
        return {"object": "list", "data": list(map(self.entry, models))}

    def entry(self, model: str) -> dict[str, Any]:
        """A model in the list."""
        return {"id": model, "object": "model", "owned_by": self.provider, "created": CREATED}

    def id_headers(self, request_id: str) -> dict[str, str]:
        """The request's id."""
        return {self.id_header: f"req_{request_id}"}

    def limit_headers(self, limiter: Limiter, now: float) -> dict[str, str]:
        """What is left of each limit."""
        headers = {}
        for what, allowance in left(limiter, now).items():
            headers[f"x-ratelimit-limit-{what}"] = str(allowance.limit)
            headers[f"x-ratelimit-remaining-{what}"] = str(allowance.remaining)
            headers[f"x-ratelimit-reset-{what}"] = duration(allowance.reset)
        return headers

    def error(self, problem: Problem, request_id: str) -> ErrorResponse:
        """An error in OpenAI's words."""
        wait = problem.retry_after or 1.0
        status, kind, code, message = {
            "rate_limit": (
                429,
                problem.unit,
                "rate_limit_exceeded",
                f"Rate limit reached for {problem.model or 'this model'} in organization org-simulated on "
                f"{_UNITS[problem.unit]}: Limit {problem.limit}. Please try again in {wait:.3f}s. "
                "Visit https://platform.openai.com/account/rate-limits to learn more.",
            ),
            "quota": (
                429,
                "insufficient_quota",
                "insufficient_quota",
                "You exceeded your current quota, please check your plan and billing details.",
            ),
            "auth": (
                401,
                "invalid_request_error",
                "invalid_api_key",
                "Incorrect API key provided. You can find your API key at https://platform.openai.com/api-keys.",
            ),
            "server_error": (
                500,
                "server_error",
                None,
                "The server had an error while processing your request. Sorry about that!",
            ),
            "overloaded": (503, "service_unavailable_error", "server_is_overloaded", BUSY),
            "too_long": (400, "invalid_request_error", "context_length_exceeded", f"This model's {TOO_LONG}"),
            "not_found": (
                404,
                "invalid_request_error",
                "model_not_found",
                f"The model `{problem.model}` does not exist or you do not have access to it.",
            ),
            "blocked": (
                400,
                "invalid_request_error",
                "invalid_prompt",
                "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
            ),
            "invalid": (400, "invalid_request_error", None, ""),
        }.get(problem.kind, (400, "invalid_request_error", problem.kind, ""))
        body = {"message": problem.message or message, "type": kind, "param": problem.param, "code": code}
        return ErrorResponse(status, {"error": body}, retry_after(problem, milliseconds=True))


class OpenAI(ServedDialect):
    """OpenAI itself: dated snapshots, charged cache writes, parameters that depend on the model."""

    batches = OpenAIServed()
    models = ("gpt-6-luna", "gpt-6-sol", "gpt-6.1-terra", "gpt-5.4-mini", "gpt-5.4-pro")

    def check(self, question: Question, body: Mapping[str, Any]) -> None:
        """Reasoning models accept neither ``max_tokens`` nor ``stop``; pro and codex models no chat completions at all.

        Raises:
            Rejected: otherwise.
        """
        if _RESPONSES_ONLY.match(question.model):
            message = "This is not a chat model and thus not supported in the v1/chat/completions endpoint."
            raise Rejected(Problem(kind="not_found", message=message, model=question.model, param="model"))
        if is_openai_reasoning_model(question.model):
            if body.get("max_tokens") is not None:
                raise unsupported_parameter(
                    "Unsupported parameter: 'max_tokens' is not supported with this model. "
                    "Use 'max_completion_tokens' instead.",
                    "max_tokens",
                )
            if body.get("stop"):
                raise unsupported_parameter("Unsupported parameter: 'stop' is not supported with this model.", "stop")
        elif body.get("reasoning_effort") is not None:
            raise unsupported_parameter("Unrecognized request argument supplied: reasoning_effort", "reasoning_effort")
        self.check_sampling(question, body)

    def check_sampling(self, question: Question, body: Mapping[str, Any]) -> None:
        """Reasoning models accept temperature and top_p only at effort ``none``, or at their default of 1.

        Raises:
            Rejected: otherwise.
        """
        if not is_openai_reasoning_model(question.model) or resolved_effort(question) == "none":
            return
        for name in ("temperature", "top_p"):
            if body.get(name) not in (None, 1):
                raise unsupported_value(
                    f"Unsupported value: '{name}' does not support {body[name]} with this model. "
                    "Only the default (1) value is supported.",
                    name,
                )

    def version(self, model: str) -> str:
        """Aliases resolve to a dated snapshot."""
        is_dated = model[-2:].isdecimal() and model.count("-") >= 4
        return model if is_dated else f"{model}-2026-10-01"

    def usage(self, question: Question, answer: Answer) -> dict[str, Any]:
        """The usage, with cache writes for models that charge for them."""
        usage = super().usage(question, answer)
        if _writes_to_cache(question.model):
            usage["prompt_tokens_details"]["cache_write_tokens"] = answer.written
        return usage

    def written(self, question: Question, answer: Answer) -> int:
        """Cache writes, for models that charge for them."""
        return answer.written if _writes_to_cache(question.model) else 0

    def entry(self, model: str) -> dict[str, Any]:
        """A model in the list, with its shutdown date."""
        return super().entry(model) | {"shutdown_date": None}


def duration(wait: float) -> str:
    """A wait as Go writes it: ``12ms``, ``1s``, ``6m0s``."""
    if wait < 1:
        return f"{round(wait * 1000)}ms"
    minutes, rest = divmod(wait, 60)
    text = f"{rest:.3f}".rstrip("0").rstrip(".")
    return f"{int(minutes)}m{text}s" if minutes else f"{text}s"


def _writes_to_cache(model: str) -> bool:
    """Whether OpenAI charges for writing the model's prompt cache: since gpt-5.6."""
    return model.startswith(("gpt-5.6", "gpt-5.7", "gpt-5.8", "gpt-5.9", "gpt-6"))
