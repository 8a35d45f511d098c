"""Requests for the same small conversation, for tests to look into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llmkit.providers.wires import WIRES, Wire
from llmkit.records import DIALECTS, STANDARD, Call, Message, Model, Params, Request

CHAT, RESPONSES, ANTHROPIC, GEMINI = "openai_chat", "openai_responses", "anthropic_messages", "gemini"
CLOSED = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}


def call(provider: str = "openai", api_config: Mapping[str, Any] | None = None, **params: Any) -> Call:
    """A conversation of three messages with a system prompt."""
    model = Model(
        provider=provider, model_id="m-1", display_name="M", max_output_tokens=64_000, api_config=api_config or {}
    )
    messages = (Message("user", "One?"), Message("assistant", "Two."), Message("user", "Three?"))
    return Call(model=model, messages=messages, system="Be brief.", params=Params(**params))


def spoken(wire: str, provider: str) -> Wire:
    """A wire in the dialect that bears a provider's name, if one does."""
    return replace(WIRES[wire], dialect=DIALECTS.get(provider, STANDARD))


def build(wire: str, provider: str = "openai", api_config: Mapping[str, Any] | None = None, **params: Any) -> Request:
    """The wire's request for that conversation."""
    return spoken(wire, provider).build(call(provider, api_config, **params))


def body(wire: str, provider: str = "openai", api_config: Mapping[str, Any] | None = None, **params: Any) -> Any:
    """The body of that request."""
    return build(wire, provider, api_config, **params).body
