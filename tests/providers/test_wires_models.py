"""The providers' own lists of models."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from llmkit.errors import Code
from llmkit.providers.wires import WIRES, parse_models
from llmkit.records import Failure, HttpResponse, Price, RemoteModel


def listed(body: Any, status: int = 200) -> list[RemoteModel] | Failure:
    """What is read in a list response."""
    response = HttpResponse(
        status=status, headers={}, body=json.dumps(body).encode(), received_at=datetime(2026, 11, 23, tzinfo=UTC)
    )
    return parse_models(response)


@pytest.mark.parametrize(
    ("wire", "path"),
    [
        ("openai_chat", "/models"),
        ("openai_responses", "/models"),
        ("anthropic_messages", "/v1/models?limit=1000"),
        ("gemini", "/v1beta/models?pageSize=1000"),
    ],
)
def test_each_wire_asks_for_the_list_in_its_own_place(wire: str, path: str) -> None:
    """A GET without a body, on one page."""
    request = WIRES[wire].list_models()
    assert (request.method, request.path, request.body) == ("GET", path, None)


@pytest.mark.parametrize("told", ["2026-12-11", "2026-12-11T09:00:00Z", 1_796_979_600])
def test_openai_tells_shutdown_dates(told: Any) -> None:
    """OpenAI's list has ids and, for models that will end, the day: as a date, a time, or a Unix time."""
    body = {"object": "list", "data": [{"id": "gpt-5", "shutdown_date": told}, {"id": "gpt-6-luna"}]}
    assert listed(body) == [
        RemoteModel(model_id="gpt-5", retires_on=date(2026, 12, 11)),
        RemoteModel(model_id="gpt-6-luna"),
    ]


def test_mistral_tells_what_can_chat() -> None:
    """Models without chat are left out; windows and deprecation are read."""
    body = {
        "data": [
            {"id": "mistral-embed", "capabilities": {"completion_chat": False}},
            {
                "id": "mistral-small-2603",
                "name": "Mistral Small",
                "max_context_length": 262144,
                "capabilities": {"completion_chat": True},
                "deprecation": "2027-01-31T12:00:00Z",
            },
        ]
    }
    assert listed(body) == [
        RemoteModel(
            model_id="mistral-small-2603",
            display_name="Mistral Small",
            context_window=262_144,
            retires_on=date(2027, 1, 31),
        )
    ]


def test_openrouter_prices_per_token_become_prices_per_million() -> None:
    """Prices are text per token; -1 means that it depends, 0 is a price."""
    body = {
        "data": [
            {
                "id": "openai/gpt-6-luna",
                "name": "OpenAI: Luna",
                "context_length": 1050000,
                "top_provider": {"max_completion_tokens": 128000},
                "architecture": {"output_modalities": ["text"]},
                "pricing": {
                    "prompt": "0.0000001",
                    "completion": "0.0000005",
                    "input_cache_read": "0.00000001",
                    "input_cache_write": "0.000000125",
                },
            },
            {"id": "x/free", "pricing": {"prompt": "0", "completion": "0"}},
            {"id": "openrouter/auto", "pricing": {"prompt": "-1", "completion": "-1"}},
            {"id": "x/painter", "architecture": {"output_modalities": ["image"]}},
        ]
    }
    models = listed(body)
    assert models == [
        RemoteModel(
            model_id="openai/gpt-6-luna",
            display_name="OpenAI: Luna",
            context_window=1_050_000,
            max_output_tokens=128_000,
            price=Price(
                cost_input_per_million=Decimal("0.1"),
                cost_output_per_million=Decimal("0.5"),
                cost_cached_input_per_million=Decimal("0.01"),
                cost_cache_write_per_million=Decimal("0.125"),
            ),
        ),
        RemoteModel(
            model_id="x/free",
            price=Price(cost_input_per_million=Decimal(0), cost_output_per_million=Decimal(0)),
        ),
        RemoteModel(model_id="openrouter/auto"),
    ]


def test_compatible_servers_tell_windows_under_their_own_names() -> None:
    """vLLM, llama.cpp (what a slot has, not what the model could), Groq and Together (a bare list, with kinds of
    models) are read too.
    """
    assert listed({"data": [{"id": "qwen", "max_model_len": 32768}]}) == [
        RemoteModel(model_id="qwen", context_window=32_768)
    ]
    llamacpp = {"models": [{"name": "tiny"}], "data": [{"id": "tiny", "meta": {"n_ctx": 512, "n_ctx_train": 2048}}]}
    assert listed(llamacpp) == [RemoteModel(model_id="tiny", context_window=512)]
    groq = {"data": [{"id": "llama", "context_window": 131072, "max_completion_tokens": 8192}]}
    assert listed(groq) == [RemoteModel(model_id="llama", context_window=131_072, max_output_tokens=8_192)]
    together = [{"id": "a", "type": "chat", "display_name": "A", "context_length": 9}, {"id": "b", "type": "image"}]
    assert listed(together) == [RemoteModel(model_id="a", display_name="A", context_window=9)]


def test_anthropic_tells_limits_and_retirement() -> None:
    """Retired models are left out."""
    body = {
        "data": [
            {
                "id": "claude-haiku-4-5",
                "display_name": "Claude Haiku 4.5",
                "lifecycle": "deprecated",
                "max_input_tokens": 200000,
                "max_tokens": 64000,
                "retires_at": "2027-03-01T00:00:00Z",
            },
            {"id": "claude-2", "display_name": "Claude 2", "lifecycle": "retired"},
        ],
        "has_more": False,
    }
    assert listed(body) == [
        RemoteModel(
            model_id="claude-haiku-4-5",
            display_name="Claude Haiku 4.5",
            context_window=200_000,
            max_output_tokens=64_000,
            retires_on=date(2027, 3, 1),
        )
    ]


def test_gemini_ids_lose_their_prefix() -> None:
    """Ids come without ``models/``; models that only embed are left out."""
    body = {
        "models": [
            {
                "name": "models/gemini-3.8-flash",
                "displayName": "Gemini 3.8 Flash",
                "inputTokenLimit": 1000000,
                "outputTokenLimit": 65536,
                "supportedGenerationMethods": ["generateContent", "countTokens"],
            },
            {"name": "models/embedding-001", "supportedGenerationMethods": ["embedContent"]},
        ]
    }
    assert listed(body) == [
        RemoteModel(
            model_id="gemini-3.8-flash",
            display_name="Gemini 3.8 Flash",
            context_window=1_000_000,
            max_output_tokens=65_536,
        )
    ]


def test_a_list_that_fails_says_why() -> None:
    """A wrong key, or something that is no list, is a failure with a code."""
    refused = listed({"error": {"message": "no", "type": "authentication_error"}}, status=401)
    assert isinstance(refused, Failure)
    assert (refused.code, refused.scope) == (Code.AUTH_ERROR, "provider")
    odd = listed({"hello": 1})
    assert isinstance(odd, Failure)
    assert odd.code == Code.INVALID_RESPONSE
    assert listed({"data": []}) == listed({"models": []}) == listed([]) == []
