"""A request that knows where it goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from llmkit.providers.credentials import Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A request as it is sent; the key is turned into headers by ``authorize`` at the last moment."""

    method: str
    url: str
    headers: Mapping[str, str]
    content: bytes | None
    key: Key | None
    authorize: Callable[[str], Mapping[str, str]]
    is_simulated: bool = False
