"""Which models reason before they answer, and how much."""

from __future__ import annotations

import re

from llmkit.simulator.questions import Question

_BY_EFFORT = {"none": 0.0, "minimal": 0.2, "low": 0.5, "medium": 1.0, "high": 2.0, "xhigh": 3.0, "max": 4.0}
_OPENAI = re.compile(r"^(o\d|gpt-([5-9]|\d\d))")
# OpenAI's models that do not reason by default (litellm 1.109, gpt_reasoning_transformation.py).
_OPENAI_NONE = re.compile(r"^gpt-5\.(1|2|4)(-(mini|nano))?(-\d{4}-\d\d-\d\d)?$")
# Anthropic's models whose reasoning cannot be turned off.
_CLAUDE_ALWAYS = re.compile(r"opus-5-5|sonnet-5-5|fable|mythos")
_OTHERS = re.compile(r"reason|think|magistral|qwq|(^|[-/:])r1\b")


def is_openai_reasoning_model(model: str) -> bool:
    """Whether OpenAI treats it as a reasoning model, which rejects ``max_tokens`` and most sampling parameters."""
    return bool(_OPENAI.match(model)) and not model.startswith("gpt-5-chat")


def resolved_effort(question: Question) -> str:
    """The effective reasoning effort: the request's, or the model's default."""
    return question.effort if question.effort in _BY_EFFORT else _default(question.provider, question.model)


def reasoning_factor(question: Question) -> float:
    """How much the model reasons, relative to the usual amount; 0 for not at all."""
    effort = resolved_effort(question)
    if effort == "none" and question.provider == "anthropic" and _CLAUDE_ALWAYS.search(question.model):
        effort = "low"
    if question.provider == "openai" and not is_openai_reasoning_model(question.model):
        return 0.0
    return _BY_EFFORT[effort]


def _default(provider: str, model: str) -> str:
    model = model.lower()
    if provider == "openai":
        return "medium" if is_openai_reasoning_model(model) and not _OPENAI_NONE.match(model) else "none"
    if provider == "anthropic":
        return "medium" if _CLAUDE_ALWAYS.search(model) else "none"
    if provider == "google":
        return "none" if "lite" in model else "medium"
    if provider == "xai":
        return "none" if "non-reasoning" in model else "medium"
    if provider == "deepseek":
        return "high"
    return "medium" if _OTHERS.search(model) else "none"
