"""``GET /models``, in each provider's shape."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llmkit.records import WireName

_CREATED = 1_788_220_800  # 2026-09-01
_CONTEXT, _MAX_OUTPUT = 1_000_000, 128_000


def model_list(provider: str, wire: WireName, models: Iterable[str]) -> dict[str, Any]:
    """The body of the list, in one page."""
    ids = list(models)
    if wire == "gemini":
        return {"models": [_gemini(each) for each in ids]}
    if wire == "anthropic_messages":
        ends = {"first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None}
        return {"data": [_anthropic(each) for each in ids], "has_more": False, **ends}
    return {"object": "list", "data": [_openai(provider, each) for each in ids]}


def _openai(provider: str, model: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"id": model, "object": "model", "owned_by": provider}
    if provider == "deepseek":
        return entry
    entry["created"] = _CREATED
    if provider == "mistral":
        capabilities = {"completion_chat": True, "function_calling": True, "vision": False, "reasoning": True}
        entry |= {"name": model, "aliases": [], "max_context_length": 262_144, "capabilities": capabilities}
        entry |= {"deprecation": None, "type": "base"}
    if provider == "openai":
        entry["shutdown_date"] = None
    return entry


def _anthropic(model: str) -> dict[str, Any]:
    return {
        "type": "model",
        "id": model,
        "display_name": model.replace("-", " ").title(),
        "created_at": "2026-09-01T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": _CONTEXT,
        "max_tokens": _MAX_OUTPUT,
    }


def _gemini(model: str) -> dict[str, Any]:
    return {
        "name": f"models/{model}",
        "baseModelId": model,
        "version": "001",
        "displayName": model.replace("-", " ").title(),
        "inputTokenLimit": _CONTEXT,
        "outputTokenLimit": _MAX_OUTPUT,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }
