"""Find the provider and format of a URL, whatever the prefix of the base URL."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from llmkit.simulator.formats.served_anthropic import Anthropic
from llmkit.simulator.formats.served_batches import Action, Routes
from llmkit.simulator.formats.served_format import Format, Server
from llmkit.simulator.formats.served_gemini import Gemini
from llmkit.simulator.formats.served_openai import DIALECTS, Chat, Responses

FORMATS: Sequence[type[Format]] = (Gemini, Anthropic, Responses, Chat)
WRONG_KEY = "invalid"
# first segments of a path that are not the name of a provider
_NOT_A_PROVIDER = re.compile(r"v\d+(alpha|beta)?$|chat$|completions$|responses$|messages$|models$|files$|batch(es)?$")
_LISTS = tuple({each.list_path for each in FORMATS})
_OWN = {each.usual: each for each in FORMATS if each.usual not in DIALECTS}
"""Providers with their own format."""


@dataclass(frozen=True, slots=True)
class Route:
    """The destination of a request. ``reference`` is the model (Gemini), batch or file in the URL, else empty."""

    format: Format
    action: Action
    reference: str = ""

    def takes_key(self, headers: Mapping[str, str], query: Mapping[str, str]) -> bool:
        """Whether the request's key is accepted: any but ``invalid``. Unknown providers need none."""
        key = self.server.key(headers, query)
        return key != WRONG_KEY and (bool(key) or not _is_known(self.provider))

    @property
    def server(self) -> Server:
        """The provider that answers."""
        return self.format.server

    @property
    def provider(self) -> str:
        """Its name."""
        return self.server.provider


def route(method: str, path: str, headers: Mapping[str, str]) -> Route | None:
    """The route of a decoded path, or ``None``. Header names are lower case.

    The first segment names the provider; without one, the format implies it (OpenAI, Anthropic or Google).
    """
    segment = path.strip("/").split("/")[0]
    provider = "" if _NOT_A_PROVIDER.match(segment) else segment
    if method == "GET" and path.endswith(_LISTS):
        kind = _of_list(provider, path, headers)
        return Route(kind(provider or kind.usual), "list_models")
    for kind in FORMATS:
        each = kind(provider or kind.usual)
        of_batches: Routes = () if each.server.batches is None else each.server.batches.routes
        for verb, pattern, action in (*of_batches, ("POST", each.path, "answer")):
            if verb == method and (match := re.search(pattern, path)):
                return Route(each, action, next(iter(match.groups()), ""))
    return None


def unknown_url(url: str) -> dict[str, Any]:
    """The body of the 404 where there is no route."""
    return {"error": {"message": f"Unknown request URL: {url}.", "code": None}}


def base_path(provider: str) -> str:
    """The part between the origin and the path that a wire appends: ``/openai/v1``, ``/anthropic``."""
    return f"/{quote(provider, safe='')}{server_of(provider).prefix}"


def server_of(provider: str) -> Server:
    """A provider by its name; one that is not known speaks OpenAI's formats."""
    return _OWN.get(provider, Chat)(provider).server


def _is_known(provider: str) -> bool:
    return provider in _OWN or provider in DIALECTS


def _of_list(provider: str, path: str, headers: Mapping[str, str]) -> type[Format]:
    if _is_known(provider):
        return _OWN.get(provider, Chat)
    marks = {*path.split("/"), *headers}
    return next((each for each in FORMATS if each.list_marks & marks), Chat)
