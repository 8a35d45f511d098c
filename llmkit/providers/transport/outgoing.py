"""A request that knows where it goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from llmkit.providers.credentials import Key


class Outgoing(NamedTuple):
    """A request as it is sent; the key is turned into headers by ``authorize`` at the last moment.

    ``origin`` is canonical and ``path`` has no slash before it, so that nothing in a path changes where it goes.
    """

    method: str
    origin: str
    path: str
    headers: tuple[tuple[str, str], ...]
    content: bytes
    key: Key | None
    authorize: Callable[[str], Mapping[str, str]]
    longest_reply: int | None = None
    is_simulated: bool = False
