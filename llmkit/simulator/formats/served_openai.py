"""The common part of OpenAI's two formats: key, errors, headers and lists, by the provider's dialect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from llmkit.simulator.formats.deepseek_dialect import DeepSeek
from llmkit.simulator.formats.mistral_dialect import Mistral
from llmkit.simulator.formats.openai_dialect import OpenAI, ServedDialect
from llmkit.simulator.formats.problems import Problem, unsupported_value
from llmkit.simulator.formats.served_batches import ServedBatches
from llmkit.simulator.formats.served_format import ErrorResponse, Format, bearer
from llmkit.simulator.formats.xai_dialect import Xai
from llmkit.simulator.limiter import Limiter

DIALECTS: Mapping[str, ServedDialect] = {
    "openai": OpenAI(),
    "xai": Xai(),
    "deepseek": DeepSeek(),
    "mistral": Mistral(),
}
"""Dialects by provider; all others speak OpenAI's formats without changes."""
_PLAIN = ServedDialect()


def dialect_of(provider: str) -> ServedDialect:
    """The dialect of a provider."""
    return DIALECTS.get(provider, _PLAIN)


class OpenAIFormat(Format):
    """Either of OpenAI's formats."""

    provider = "openai"

    def key(self, headers: Mapping[str, str], query: Mapping[str, str]) -> str:
        """The bearer token."""
        return bearer(headers)

    def error(self, provider: str, problem: Problem, request_id: str) -> ErrorResponse:
        """An error in the provider's dialect."""
        return dialect_of(provider).error(problem)

    def model_list(self, provider: str, models: Iterable[str]) -> dict[str, Any]:
        """The body of a list of models."""
        return {"object": "list", "data": [dialect_of(provider).entry(provider, model) for model in models]}

    def batches(self, provider: str) -> ServedBatches | None:
        """The batch API of the provider's dialect, if any."""
        return dialect_of(provider).batches

    def id_headers(self, provider: str, request_id: str) -> dict[str, str]:
        """The request's id, in the header of the dialect."""
        return {dialect_of(provider).id_header: f"req_{request_id}"}

    def limit_headers(self, provider: str, limiter: Limiter, now: float) -> dict[str, str]:
        """What is left of the limits, in the headers of the dialect."""
        return dialect_of(provider).limit_headers(limiter, now)


def check_not_streamed(body: Mapping[str, Any]) -> None:
    """Refuse streaming.

    Raises:
        Rejected: the request asks for it.
    """
    if body.get("stream"):
        raise unsupported_value("Unsupported value: 'stream' must be false here: answers come in one piece.", "stream")
