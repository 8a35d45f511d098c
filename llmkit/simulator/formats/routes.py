"""Which provider and which format a URL means, whatever prefix the base URL has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from llmkit.records import WireName
from llmkit.simulator.formats.provider_styles import STYLES, style_of

Action = Literal["answer", "list_models"]
# the first segment of these is not the name of a provider
_NOT_A_PROVIDER = re.compile(r"v\d+(alpha|beta)?$|chat$|completions$|responses$|messages$|models$")
_GENERATE = re.compile(r"/models/(?P<model>.+):generateContent$")
_USUAL: Mapping[WireName, str] = {
    "openai_chat": "openai",
    "openai_responses": "openai",
    "anthropic_messages": "anthropic",
    "gemini": "google",
}


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes. ``model`` is the one in the URL (Gemini), else empty."""

    provider: str
    wire: WireName
    action: Action
    model: str = ""


def route(method: str, path: str, headers: Mapping[str, str]) -> Route | None:
    """The route of a decoded path, or ``None``. Header names are lower case.

    The first segment names the provider; without one the format tells (OpenAI, Anthropic or Google).
    """
    named = path.strip("/").split("/")[0]
    provider = "" if _NOT_A_PROVIDER.match(named) else named
    if method == "GET" and path.endswith("/models"):
        wire = STYLES[provider].wire if provider in STYLES else _wire_of_list(path, headers)
        return Route(provider or _USUAL[wire], wire, "list_models")
    question, model = _wire(path) if method == "POST" else (None, "")
    return None if question is None else Route(provider or _USUAL[question], question, "answer", model)


def base_path(provider: str) -> str:
    """What comes between the origin and the path that a wire appends: ``/openai/v1``, ``/anthropic``."""
    return f"/{quote(provider, safe='')}{style_of(provider).prefix}"


def _wire(path: str) -> tuple[WireName | None, str]:
    if found := _GENERATE.search(path):
        return "gemini", found["model"].removeprefix("models/")
    if path.endswith("/chat/completions"):
        return "openai_chat", ""
    if path.endswith("/responses"):
        return "openai_responses", ""
    return ("anthropic_messages", "") if path.endswith("/messages") else (None, "")


def _wire_of_list(path: str, headers: Mapping[str, str]) -> WireName:
    if "/v1beta/" in path:
        return "gemini"
    return "anthropic_messages" if "anthropic-version" in headers or "x-api-key" in headers else "openai_chat"
