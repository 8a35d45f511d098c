"""The service tier that a request asks for or that served an answer, by our names, whatever the provider calls it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmkit.providers.wires.values import string
from llmkit.records import STANDARD_TIER

_STANDARD = ("standard", "standard_only", "default", "auto", "on_demand", "unspecified", "global", "not_available")
_PREFIXES = ("service_tier_", "traffic_type_", "on_demand_")  # Gemini's enumerations, and Vertex AI's traffic types
_LONGEST = 40
_ASKED = ("service_tier", "serviceTier", "speed", "inference_geo")
"""The fields for the tier, for speed and for the place of inference, in the requests of all formats."""


def service_tier(*told: Any) -> str | None:
    """The tier named in a reply or a request: ``"standard"``, ``"flex"``, ``"fast+us"``; ``None`` if it names none.

    ``told`` are the provider's own words for tier, speed and place; our name joins those that are not standard.
    """
    words = [_ours(word) for value in told if (word := string(value).strip().lower()[:_LONGEST])]
    others = [word for word in words if word not in _STANDARD]
    return "+".join(dict.fromkeys(others)) or (STANDARD_TIER if words else None)


def asked_tier(body: Mapping[str, Any]) -> str | None:
    """The tier that a request asks for; ``None`` if it leaves that to the provider, whose default is the account's
    setting (Gemini's is the standard tier).
    """
    return service_tier(*(None if body.get(name) == "auto" else body.get(name) for name in _ASKED))


def _ours(word: str) -> str:
    for prefix in _PREFIXES:
        word = word.removeprefix(prefix)
    return word
