"""Which wire a model is asked through, and how it carries the key."""

from __future__ import annotations

import pytest
from wire_requests import ANTHROPIC, CHAT, GEMINI, RESPONSES

from llmkit.errors import ValidationError
from llmkit.providers.wires import WIRES, wire_for
from llmkit.records import WIRE_NAMES, Model, Provider


@pytest.mark.parametrize(
    ("wire", "header"),
    [
        (CHAT, {"authorization": "Bearer k-1"}),
        (RESPONSES, {"authorization": "Bearer k-1"}),
        (ANTHROPIC, {"x-api-key": "k-1"}),
        (GEMINI, {"x-goog-api-key": "k-1"}),
    ],
)
def test_the_key_is_in_one_header_only(wire: str, header: dict[str, str]) -> None:
    """The key has its own header and is in no request."""
    assert WIRES[wire].auth("k-1") == header
    assert "k-1" not in repr(WIRES[wire].list_models())


def test_a_models_own_wire_wins() -> None:
    """A model that speaks another format than its provider says so in its configuration."""
    provider = Provider(name="openai", display_name="OpenAI", wire=CHAT, base_url="https://api.openai.com/v1")
    plain = Model(provider="openai", model_id="a", display_name="A")
    pro = Model(provider="openai", model_id="b", display_name="B", api_config={"wire": RESPONSES})
    assert wire_for(provider, plain).name == CHAT
    assert wire_for(provider, pro).name == RESPONSES


def test_an_unknown_wire_is_refused_with_the_known_ones() -> None:
    """The error names the wires that there are."""
    provider = Provider(name="x", display_name="X", wire="telex", base_url="https://x.example")
    with pytest.raises(ValidationError, match="telex") as refusal:
        wire_for(provider, Model(provider="x", model_id="a", display_name="A"))
    assert all(name in str(refusal.value) for name in WIRE_NAMES)
    assert tuple(WIRES) == WIRE_NAMES
