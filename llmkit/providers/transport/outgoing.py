"""A request with its destination."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from llmkit.providers.credentials import Key


class Outgoing(NamedTuple):
    """A request as it is sent; ``authorize`` turns the key into headers at the last moment.

    ``origin`` is canonical and ``path`` has no leading slash, so that nothing in a path can change the destination.
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
