"""Which models reason before they answer, and how much."""

from __future__ import annotations

import re

from llmkit.simulator.questions import Question

_BY_EFFORT = {"none": 0.0, "minimal": 0.2, "low": 0.5, "medium": 1.0, "high": 2.0, "xhigh": 3.0, "max": 4.0}
_OPENAI = re.compile(r"^(o\d|gpt-([5-9]|\d\d))")
# Anthropic's models whose reasoning cannot be turned off.
_CLAUDE_ALWAYS = r"opus-5-5|sonnet-5-5|fable|mythos"
_DEFAULTS = {  # some models of a provider, their usual effort, and that of all others
    # litellm 1.109, gpt_reasoning_transformation.py
    "openai": (r"^gpt-5\.(1|2|4)(-(mini|nano))?(-\d{4}-\d\d-\d\d)?$", "none", "medium"),
    "anthropic": (_CLAUDE_ALWAYS, "medium", "none"),
    "google": ("lite", "none", "medium"),
    "xai": ("non-reasoning", "none", "medium"),
    "deepseek": ("", "high", "high"),
}
_ELSEWHERE = (r"reason|think|magistral|qwq|(^|[-/:])r1\b", "medium", "none")


def is_openai_reasoning_model(model: str) -> bool:
    """Whether OpenAI treats it as a reasoning model, which rejects ``max_tokens`` and most sampling parameters."""
    return bool(_OPENAI.match(model)) and not model.startswith("gpt-5-chat")


def effort_of(question: Question) -> str:
    """The effective reasoning effort: the request's, or the model's default, as far as the model can be told."""
    if question.provider == "openai" and not is_openai_reasoning_model(question.model):
        return "none"
    models, theirs, usual = _DEFAULTS.get(question.provider, _ELSEWHERE)
    effort = question.effort
    if effort not in _BY_EFFORT:
        effort = theirs if re.search(models, question.model.lower()) else usual
    if effort == "none" and question.provider == "anthropic" and re.search(_CLAUDE_ALWAYS, question.model):
        return "low"
    return effort


def reasoning_factor(question: Question) -> float:
    """How much the model reasons, relative to the usual amount; 0 for not at all."""
    return _BY_EFFORT[effort_of(question)]
