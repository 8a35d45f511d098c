"""Find the provider and format of a URL, whatever the prefix of the base URL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote

from llmkit.simulator.formats import FORMATS, Format
from llmkit.simulator.formats.served_batches import Call
from llmkit.simulator.formats.served_openai import DIALECTS, dialect_of

WRONG_KEY = "invalid"
# first segments of a path that are not the name of a provider
_NOT_A_PROVIDER = re.compile(r"v\d+(alpha|beta)?$|chat$|completions$|responses$|messages$|models$|files$|batch(es)?$")
_OWN: Mapping[str, Format] = {each.provider: each for each in FORMATS.values() if each.provider not in DIALECTS}
"""Providers with their own format."""


@dataclass(frozen=True, slots=True)
class Route:
    """The destination of a request. ``model`` is the one in the URL (Gemini), else empty."""

    provider: str
    format: Format
    action: Literal["answer", "list_models", "batch"]
    model: str = ""
    call: Call | None = None
    """The batch operation, if any."""

    def takes_key(self, headers: Mapping[str, str], query: Mapping[str, str]) -> bool:
        """Whether the request's key is accepted: any but ``invalid``. Unknown providers need none."""
        key = self.format.key(headers, query)
        return key != WRONG_KEY and (bool(key) or not _is_known(self.provider))

    @property
    def models(self) -> tuple[str, ...]:
        """The models that the provider lists."""
        return _OWN[self.provider].models if self.provider in _OWN else dialect_of(self.provider).models


def route(method: str, path: str, headers: Mapping[str, str]) -> Route | None:
    """The route of a decoded path, or ``None``. Header names are lower case.

    The first segment names the provider; without one, the format implies it (OpenAI, Anthropic or Google).
    """
    segment = path.strip("/").split("/")[0]
    provider = "" if _NOT_A_PROVIDER.match(segment) else segment
    if method == "GET" and path.endswith("/models"):
        format_ = _of_list(provider, path, headers)
        return Route(provider or format_.provider, format_, "list_models")
    for each in FORMATS.values():
        api = each.batches(provider or each.provider)
        if api is not None and (call := api.call(method, path)):
            return Route(provider or each.provider, each, "batch", call=call)
    for each in FORMATS.values() if method == "POST" else ():
        if match := each.path.search(path):
            return Route(provider or each.provider, each, "answer", match.groupdict().get("model", ""))
    return None


def base_path(provider: str) -> str:
    """The part between the origin and the path that a wire appends: ``/openai/v1``, ``/anthropic``."""
    prefix = _OWN[provider].prefix if provider in _OWN else dialect_of(provider).prefix
    return f"/{quote(provider, safe='')}{prefix}"


def _is_known(provider: str) -> bool:
    return provider in _OWN or provider in DIALECTS


def _of_list(provider: str, path: str, headers: Mapping[str, str]) -> Format:
    usual = _OWN.get(provider, FORMATS["openai_chat"])
    if _is_known(provider):
        return usual
    return next((each for each in FORMATS.values() if each.lists(path, headers)), usual)
