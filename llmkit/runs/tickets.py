"""The requests that wait at a batch desk, their batches, and the intervals of polling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import anyio

from llmkit.records import Failure, HttpResponse, Request
from llmkit.store import Event

LOOKS = (5.0, 60.0)
"""Seconds between the first polls of a batch, and the most between later ones."""
REHEARSED = 0.01
"""The factor on these intervals with a simulator."""
SKEW = timedelta(minutes=5)
"""The most that a provider's clock may differ from ours."""
KEPT = timedelta(days=2)
"""How long every provider remembers a batch; simulators end with their kits."""
PAGES = 20
"""The most pages of a provider's list that are searched for a batch."""

Key = tuple[int, int, int]
"""Position, turn and attempt."""


@dataclass(eq=False, slots=True)
class Ticket:
    """A request that waits at the desk. ``begin`` counts its attempt, made at that time; ``line`` makes its journal
    line, given the batch's name; ``saved`` is called when that is on disk.
    """

    key: Key
    request: Request
    begin: Callable[[datetime], None]
    line: Callable[[str], Event]
    saved: Callable[[], None]
    reply: HttpResponse | Failure | None = None
    answered: anyio.Event = field(default_factory=anyio.Event)


@dataclass(eq=False, slots=True)
class Batch:
    """Requests submitted together under a name; ``batch_id`` is the provider's id, once known.

    ``is_doubtful``: it may have been submitted already.
    """

    name: str
    started_at: datetime
    tickets: dict[str, Ticket] = field(default_factory=dict)
    batch_id: str | None = None
    is_doubtful: bool = False
    is_followed: bool = False


def looks(poll_s: float | None, simulated: bool) -> tuple[float, float]:
    """Seconds between polls of a batch, at first and at most; ``poll_s`` is the user's own choice."""
    wished = LOOKS if poll_s is None else (poll_s, poll_s)
    return (wished[0] * REHEARSED, wished[1] * REHEARSED) if simulated and poll_s is None else wished


def waiting_words(back: int, total: int) -> str:
    """The status of a run that waits for batches."""
    return f"waiting for batch, {back:,} of {total:,} back"
