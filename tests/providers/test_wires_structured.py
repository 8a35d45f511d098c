"""Structured answers: where each provider wants the schema, and when OpenAI's strict mode is asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from wire_requests import ANTHROPIC, CHAT, CLOSED, GEMINI, RESPONSES, body


def test_schemas_go_where_each_provider_wants_them() -> None:
    """Each format has its own place for the schema, and it arrives unchanged."""
    chat = body(CHAT, schema=CLOSED)["response_format"]
    assert chat == {"type": "json_schema", "json_schema": {"name": "answer", "schema": CLOSED, "strict": True}}
    responses = body(RESPONSES, schema=CLOSED)["text"]["format"]
    assert responses == {"type": "json_schema", "name": "answer", "schema": CLOSED, "strict": True}
    anthropic = body(ANTHROPIC, "anthropic", schema=CLOSED)["output_config"]["format"]
    assert anthropic == {"type": "json_schema", "schema": CLOSED}
    gemini = body(GEMINI, "google", schema=CLOSED)["generationConfig"]
    assert gemini == {"responseMimeType": "application/json", "responseJsonSchema": CLOSED}


def test_json_mode_puts_the_schema_into_the_system_prompt() -> None:
    """DeepSeek takes no schema and demands the word json, so the schema joins the system prompt."""
    sent = body(CHAT, "deepseek", schema=CLOSED)
    assert sent["response_format"] == {"type": "json_object"}
    system = sent["messages"][0]
    assert system["role"] == "system"
    assert system["content"].startswith("Be brief.")
    assert "json" in system["content"].lower()
    assert json.dumps(CLOSED) in system["content"]


@pytest.mark.parametrize(
    "schema",
    [
        {**CLOSED, "required": []},
        {**CLOSED, "additionalProperties": True},
        {key: value for key, value in CLOSED.items() if key != "additionalProperties"},
        {**CLOSED, "properties": {"answer": {"type": "object", "properties": {}}}},
        {**CLOSED, "properties": {"answer": {"type": "array", "items": {"type": "object"}}}},
        {**CLOSED, "properties": {"answer": {"anyOf": [{"type": "object"}, {"type": "null"}]}}},
        {**CLOSED, "properties": {"answer": {"oneOf": [{"type": "string"}]}}},
        {"type": "array", "items": {"type": "string"}},
        {"anyOf": [CLOSED]},
        {**CLOSED, "$defs": {"x": {"type": "object"}}},
    ],
)
def test_strict_mode_is_asked_for_only_when_the_schema_fits(schema: dict[str, Any]) -> None:
    """A schema with optional or open parts is sent as it is, without strict."""
    sent = body(CHAT, schema=schema)["response_format"]["json_schema"]
    assert sent == {"name": "answer", "schema": schema, "strict": False}


def test_strict_mode_takes_nested_closed_objects() -> None:
    """Objects in lists, references and alternatives are fine as long as each is closed."""
    schema = {
        "type": "object",
        "properties": {
            "list": {"type": "array", "items": CLOSED},
            "either": {"anyOf": [CLOSED, {"type": "null"}]},
            "reference": {"$ref": "#/$defs/x"},
        },
        "required": ["list", "either", "reference"],
        "additionalProperties": False,
        "$defs": {"x": CLOSED},
    }
    assert body(CHAT, schema=schema)["response_format"]["json_schema"]["strict"] is True
