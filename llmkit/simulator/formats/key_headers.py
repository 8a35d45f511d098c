"""Where each format carries the key. Keys are looked at once, here, and never kept."""

from __future__ import annotations

from collections.abc import Mapping

from llmkit.simulator.questions import WireName

KEY_HEADERS = frozenset({"authorization", "x-api-key", "x-goog-api-key", "cookie", "proxy-authorization"})
_NEED_KEY = frozenset({"openai", "anthropic", "google", "xai", "deepseek", "mistral"})
WRONG_KEY = "invalid"


def key_is_good(provider: str, wire: WireName, headers: Mapping[str, str], query: Mapping[str, str]) -> bool:
    """Whether the request carries a key: any but ``invalid``. Providers of one's own need none."""
    key = _key(wire, headers, query)
    return key != WRONG_KEY and (bool(key) or provider not in _NEED_KEY)


def _key(wire: WireName, headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    bearer = headers.get("authorization", "")
    token = bearer[7:].strip() if bearer.lower().startswith("bearer ") else ""
    if wire == "gemini":
        return headers.get("x-goog-api-key", "") or query.get("key", "")
    if wire == "anthropic_messages":
        return headers.get("x-api-key", "") or token
    return token
