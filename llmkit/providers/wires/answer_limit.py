"""How long an answer may get, as the request that is sent says: what a budget can rely on."""

from __future__ import annotations

from collections.abc import Mapping

from llmkit.providers.wires.values import count
from llmkit.records import Request

_LIMITS = {"max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens"}
_ANSWERS = {"n", "candidateCount"}
"""How the bodies of the formats name the limit, and how many answers are asked for at once."""


def answer_limit(request: Request) -> int | None:
    """The most output tokens of one answer that a request asks for; ``None`` when it sets no limit.

    It is read from the body, since what is sent is not always what was asked for: a limit that the model refused is
    left out, Anthropic's format demands one, and ``extra_body`` may hold another.
    """
    return max(_counts(request, _LIMITS), default=None)


def answers_asked(request: Request) -> int:
    """How many answers a request asks for at once: 1, unless ``extra_body`` says otherwise. Each of them is billed."""
    return max((1, *_counts(request, _ANSWERS)))


def _counts(request: Request, names: set[str]) -> list[int]:
    """The counts of these names in a body, or in Gemini's ``generationConfig``."""
    body = request.body or {}
    inner = body.get("generationConfig")
    settings = body if not isinstance(inner, Mapping) else {**body, **inner}
    return [number for name in names & settings.keys() if (number := count(settings.get(name))) is not None]
