"""What wires ask of service tiers, and at which ones they say that a request may be served."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_requests import ANTHROPIC, CHAT, GEMINI, RESPONSES, build

from llmkit.providers.wires import WIRES
from llmkit.providers.wires.served import asked_tier, service_tier

LISTED = {"batch", "fast", "flex", "priority", "us"}
ASKED = [
    (CHAT, "openai", "standard", {"service_tier": "default"}),
    (CHAT, "openai", "flex", {"service_tier": "flex"}),
    (CHAT, "xai", "standard", {}),  # nobody says that it has a word for it
    (CHAT, "openrouter", "flex", {"service_tier": "flex"}),
    (RESPONSES, "openai", "priority", {"service_tier": "priority"}),
    (GEMINI, "google", "standard", {"serviceTier": "standard"}),
    (GEMINI, "google", "flex", {"serviceTier": "flex"}),
    (ANTHROPIC, "anthropic", "standard", {"service_tier": "standard_only"}),
    (ANTHROPIC, "anthropic", "fast+us", {"speed": "fast", "inference_geo": "us"}),
]
SERVED = [
    (CHAT, {}, {"standard", "fast", "flex", "priority", "us"}),
    (CHAT, {"service_tier": "auto"}, {"standard", "fast", "flex", "priority", "us"}),
    (CHAT, {"service_tier": "default"}, {"standard"}),
    (RESPONSES, {"service_tier": "flex"}, {"standard", "flex"}),
    (RESPONSES, {"service_tier": "scale"}, {"standard", "scale"}),
    (GEMINI, {}, {"standard"}),
    (GEMINI, {"serviceTier": "priority"}, {"standard", "priority"}),
    (ANTHROPIC, {}, {"standard", "priority", "us", "priority+us"}),
    (ANTHROPIC, {"service_tier": "standard_only"}, {"standard", "us"}),
    (ANTHROPIC, {"service_tier": "standard_only", "inference_geo": "global"}, {"standard"}),
    (ANTHROPIC, {"speed": "fast", "inference_geo": "us"}, {"standard", "fast+us"}),
    (ANTHROPIC, {"speed": "fast"}, {"standard", "fast", "us", "fast+us"}),
]


@pytest.mark.parametrize(("wire", "provider", "tier", "words"), ASKED)
def test_a_tier_is_asked_for_in_the_wires_words_and_read_back(
    wire: str, provider: str, tier: str, words: dict[str, str]
) -> None:
    """What a request says of its tier is understood as that tier; without one it says nothing."""
    names = ("service_tier", "serviceTier", "speed", "inference_geo")
    asked, silent = build(wire, provider, service_tier=tier).body or {}, build(wire, provider).body or {}
    assert {name: asked[name] for name in names if name in asked} == words
    assert asked_tier(asked) == (tier if words else None)
    assert not {*names} & {*silent}
    assert asked_tier(silent) is None


@pytest.mark.parametrize(("wire", "body", "tiers"), SERVED)
def test_a_request_may_be_served_at_what_it_asks_for_or_what_the_account_is_set_to(
    wire: str, body: dict[str, Any], tiers: set[str]
) -> None:
    """Nobody is served in a batch, or at a tier that has no price, without asking."""
    assert WIRES[wire].may_serve(body, LISTED) == tiers
    assert WIRES[wire].may_serve(body, set()) == {"standard", asked_tier(body) or "standard"}


def test_fast_mode_says_that_it_knows_the_beta() -> None:
    """Some models refuse ``speed`` without the header; nobody else gets it."""
    assert build(ANTHROPIC, "anthropic", service_tier="fast").headers["anthropic-beta"] == "fast-mode-2026-02-01"
    assert "anthropic-beta" not in build(ANTHROPIC, "anthropic", service_tier="us").headers


@given(st.lists(st.none() | st.text(max_size=60) | st.integers() | st.dictionaries(st.text(), st.integers())))
def test_whatever_a_reply_says_of_its_tier_is_a_short_word_or_nothing(told: list[Any]) -> None:
    """Reading never fails, and what was not told is unknown."""
    tier = service_tier(*told)
    assert (tier is None) == (not any(isinstance(word, str) and word.strip() for word in told))
    assert tier is None or (tier and tier == tier.lower() and all(len(part) <= 40 for part in tier.split("+")))
