"""The service tier that served an answer, by our names, whatever the provider calls it."""

from __future__ import annotations

from typing import Any

from llmkit.providers.wires.values import string
from llmkit.records import STANDARD_TIER

_STANDARD = ("standard", "standard_only", "default", "auto", "on_demand", "unspecified", "global", "not_available")
_PREFIXES = ("service_tier_", "traffic_type_", "on_demand_")  # Gemini's enumerations, and Vertex AI's traffic types
_LONGEST = 40


def service_tier(*told: Any) -> str | None:
    """The tier named in a reply or a request: ``"standard"``, ``"flex"``, ``"fast+us"``; ``None`` if it names none.

    ``told`` are the provider's own words for tier, speed and place; our name joins those that are not standard.
    """
    words = [_ours(word) for value in told if (word := string(value).strip().lower()[:_LONGEST])]
    others = [word for word in words if word not in _STANDARD]
    return "+".join(dict.fromkeys(others)) or (STANDARD_TIER if words else None)


def _ours(word: str) -> str:
    for prefix in _PREFIXES:
        word = word.removeprefix(prefix)
    return word
