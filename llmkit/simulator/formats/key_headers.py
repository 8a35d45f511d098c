"""Where each format carries the key. Keys are looked at once, here, and never kept."""

from __future__ import annotations

from collections.abc import Mapping

from llmkit.records import WireName
from llmkit.simulator.formats.provider_styles import style_of

KEY_HEADERS = frozenset({"authorization", "x-api-key", "x-goog-api-key", "cookie", "proxy-authorization"})
WRONG_KEY = "invalid"


def key_is_good(provider: str, wire: WireName, headers: Mapping[str, str], query: Mapping[str, str]) -> bool:
    """Whether the request carries a key: any but ``invalid``. Only providers with a style of their own need one."""
    key = _key(wire, headers, query)
    return key != WRONG_KEY and (bool(key) or not style_of(provider).needs_key)


def _key(wire: WireName, headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    bearer = headers.get("authorization", "")
    token = bearer[7:].strip() if bearer.lower().startswith("bearer ") else ""
    if wire == "gemini":
        return headers.get("x-goog-api-key", "") or query.get("key", "")
    if wire == "anthropic_messages":
        return headers.get("x-api-key", "") or token
    return token
