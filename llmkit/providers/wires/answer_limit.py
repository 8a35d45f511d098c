"""How long an answer may get, as the request that is sent says: what a budget can rely on."""

from __future__ import annotations

from llmkit.providers.wires.values import count, dig
from llmkit.records import Request

_LIMITS = (("max_tokens",), ("max_completion_tokens",), ("max_output_tokens",), ("generationConfig", "maxOutputTokens"))
_ANSWERS = (("n",), ("generationConfig", "candidateCount"))
"""Where the bodies of the formats hold the limit, and how many answers are asked for at once."""


def answer_limit(request: Request) -> int | None:
    """The most output tokens of one answer that a request asks for; ``None`` when it sets no limit.

    It is read from the body, since what is sent is not always what was asked for: a limit that the model refused is
    left out, Anthropic's format demands one, and ``extra_body`` may hold another.
    """
    limits = [limit for path in _LIMITS if (limit := count(dig(request.body, *path))) is not None]
    return max(limits, default=None)


def answers_asked(request: Request) -> int:
    """How many answers a request asks for at once: 1, unless ``extra_body`` says otherwise. Each of them is billed."""
    return max((count(dig(request.body, *path)) or 1 for path in _ANSWERS), default=1)
