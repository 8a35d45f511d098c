"""The maximum length of an answer according to the request, which budgets rely on."""

from __future__ import annotations

from collections.abc import Mapping

from llmkit.providers.wires.values import count
from llmkit.records import Request

_LIMITS = {"max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens"}
_ANSWERS = {"n", "candidateCount"}
"""The fields for the limit and for the number of answers, in the bodies of all formats."""


def answer_limit(request: Request) -> int | None:
    """The maximum output tokens per answer in a request; ``None`` if it sets no limit.

    Read from the body, since this can differ from the caller's parameter: a limit that the model refused is left out,
    Anthropic's format requires one, and ``extra_body`` may contain another.
    """
    return max(_counts(request, _LIMITS), default=None)


def answers_asked(request: Request) -> int:
    """The number of answers that a request asks for: 1, unless ``extra_body`` says otherwise. Each is billed."""
    return max((1, *_counts(request, _ANSWERS)))


def _counts(request: Request, names: set[str]) -> list[int]:
    """The counts under these names in a body, or in Gemini's ``generationConfig``."""
    body = request.body or {}
    inner = body.get("generationConfig")
    settings = body if not isinstance(inner, Mapping) else {**body, **inner}
    return [number for name in names & settings.keys() if (number := count(settings.get(name))) is not None]
