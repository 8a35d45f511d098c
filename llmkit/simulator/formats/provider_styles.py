"""How each provider departs from the format that it speaks, as data. Any other provider speaks its format plainly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from llmkit.records import WireName


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """One provider's ways. ``prefix`` comes between its name and the path that a wire appends.

    ``dialect`` names its variant of chat completions and their errors. ``id_header`` carries the request's id (empty:
    nothing does), ``limit_headers`` says whose headers tell what is left of the limits, ``models`` is what it lists.
    """

    wire: WireName = "openai_chat"
    prefix: str = "/v1"
    needs_key: bool = True
    dialect: Literal["openai", "xai", "deepseek", "mistral"] | None = None
    id_header: str = "x-request-id"
    limit_headers: Literal["openai", "anthropic", "mistral"] | None = "openai"
    models: tuple[str, ...] = ("simulated",)


PLAIN = Style(needs_key=False)
STYLES: Mapping[str, Style] = {
    "openai": Style(
        dialect="openai", models=("gpt-6-luna", "gpt-6-sol", "gpt-6.1-terra", "gpt-5.4-mini", "gpt-5.4-pro")
    ),
    "anthropic": Style(
        wire="anthropic_messages",
        prefix="",
        id_header="request-id",
        limit_headers="anthropic",
        models=("claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"),
    ),
    "google": Style(
        wire="gemini",
        prefix="",
        id_header="",
        limit_headers=None,
        models=("gemini-3.5-flash-lite", "gemini-3.8-flash", "gemini-4-argon"),
    ),
    "xai": Style(dialect="xai", limit_headers=None, models=("grok-4.3", "grok-4.5", "grok-4.7")),
    "deepseek": Style(
        dialect="deepseek",
        prefix="",
        id_header="x-ds-trace-id",
        limit_headers=None,
        models=("deepseek-flash", "deepseek-v4-pro"),
    ),
    "mistral": Style(
        dialect="mistral",
        id_header="mistral-correlation-id",
        limit_headers="mistral",
        models=("mistral-small-2603", "mistral-medium-3-5", "mistral-large-4"),
    ),
}
_OF_WIRE: Mapping[WireName, Style] = {
    "anthropic_messages": replace(PLAIN, wire="anthropic_messages", id_header="request-id", limit_headers="anthropic"),
    "gemini": replace(PLAIN, wire="gemini", id_header="", limit_headers=None),
}


def style_of(provider: str, wire: WireName = "openai_chat") -> Style:
    """The ways of a provider; those of its format when it is not in the table."""
    return STYLES.get(provider) or _OF_WIRE.get(wire, PLAIN)
