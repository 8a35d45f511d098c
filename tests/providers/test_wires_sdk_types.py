"""The request bodies fit the types of the providers' own SDKs."""

from __future__ import annotations

from typing import Any, get_type_hints

import pytest
from pydantic import TypeAdapter
from wire_requests import spoken

from llmkit.records import Call, Message, Model, Params

# The SDKs are imported by the tests: that takes seconds, and each process of a parallel run imports this file.

SCHEMA = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
FULL = {"top_p": 0.9, "max_tokens": 5_000, "seed": 7, "stop": ("END",), "schema": SCHEMA}
VARIETY = [
    {},
    {"temperature": 0.5, **FULL},
    {"reasoning_effort": "low", **FULL},
    {"reasoning_effort": "none", "temperature": 0.0},
]


def body(wire: str, params: dict[str, Any], **api_config: Any) -> Any:
    """The wire's request body for a conversation with these parameters."""
    model = Model(provider="openai", model_id="m", display_name="M", api_config=api_config)
    messages = (Message("user", "One?"), Message("assistant", "Two."), Message("user", "Three?"))
    call = Call(model=model, messages=messages, system="Be brief.", params=Params(**params))
    return spoken(wire, "openai").build(call).body


def check_typed_dict(value: dict[str, Any], kind: Any) -> None:
    """The value has no key that the type lacks, and its values are of the type's."""
    assert set(value) <= set(get_type_hints(kind))
    checked = TypeAdapter(kind).validate_python(value)
    for lazy in ("messages", "input"):
        list(checked.get(lazy, ()))  # iterables are checked as they are read


@pytest.mark.parametrize("params", VARIETY)
def test_chat_body_fits_the_openai_sdk(params: dict[str, Any]) -> None:
    """``chat.completions.create`` takes the body."""
    from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

    check_typed_dict(body("openai_chat", params), CompletionCreateParamsNonStreaming)


@pytest.mark.parametrize("params", VARIETY)
def test_responses_body_fits_the_openai_sdk(params: dict[str, Any]) -> None:
    """``responses.create`` takes the body."""
    from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

    check_typed_dict(body("openai_responses", params), ResponseCreateParamsNonStreaming)


@pytest.mark.parametrize("params", VARIETY)
@pytest.mark.parametrize("style", ["adaptive", "budget"])
def test_messages_body_fits_the_anthropic_sdk(params: dict[str, Any], style: str) -> None:
    """``messages.create`` takes the body. (Version 2 of the SDK has no sampling: those are checked apart.)"""
    from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

    sent = body("anthropic_messages", params, reasoning_style=style)
    sampling = {name: sent.pop(name) for name in ("temperature", "top_p") if name in sent}
    assert all(0 <= value <= 1 for value in sampling.values())
    check_typed_dict(sent, MessageCreateParamsNonStreaming)


@pytest.mark.parametrize("params", VARIETY)
@pytest.mark.parametrize("style", ["level", "budget"])
def test_gemini_body_fits_the_google_sdk(params: dict[str, Any], style: str) -> None:
    """Contents, system instruction and generation config are those of google-genai, unknown fields forbidden."""
    from google.genai import types as google

    sent = body("gemini", params, reasoning_style=style)
    assert set(sent) <= {"contents", "systemInstruction", "generationConfig"}
    for content in (*sent["contents"], sent["systemInstruction"]):
        google.Content.model_validate(content)
    google.GenerationConfig.model_validate(sent.get("generationConfig", {}))
