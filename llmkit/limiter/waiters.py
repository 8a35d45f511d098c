"""Waiting requests and their order: runs take turns, and within a run requests are served in order."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field

from llmkit.limiter.admission import Admission


@dataclass(eq=False, slots=True, kw_only=True)
class Waiter:
    """A request at the gate; ``turn`` is done when it is admitted.

    ``waits`` holds the seconds, by reason, that it waited before it was queued; ``before`` how long each reason had
    blocked others by then.
    """

    run_id: str
    model: str
    tokens: int
    adaptive: bool
    asked_at: float
    ticket: int = 0
    turn: asyncio.Future[Admission] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    waits: Mapping[str, float] = field(default_factory=dict)
    before: Mapping[str, float] = field(default_factory=dict)


class Queue:
    """Waiters by run, in the order in which runs take turns; within a run by model, so that one may pass another."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, dict[str, deque[Waiter]]] = OrderedDict()
        self._tickets = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Waiter]:
        return (waiter for models in self._runs.values() for waiters in models.values() for waiter in waiters)

    def add(self, waiter: Waiter) -> None:
        """Append a waiter to its run's queue."""
        self._tickets += 1
        self._count += 1
        waiter.ticket = self._tickets
        self._runs.setdefault(waiter.run_id, {}).setdefault(waiter.model, deque()).append(waiter)

    def remove(self, waiter: Waiter, *, served: bool = False) -> None:
        """Remove a waiter, if it is in the queue; if it was served, its run moves behind the others."""
        models = self._runs.get(waiter.run_id, {})
        waiters = models.get(waiter.model, deque())
        if waiter not in waiters:
            return
        waiters.remove(waiter)
        self._count -= 1
        if served:
            self._runs.move_to_end(waiter.run_id)
        if not waiters:
            del models[waiter.model]
        if not models:
            del self._runs[waiter.run_id]

    def turn(self, blocked: Container[str]) -> Waiter | None:
        """The next waiter, skipping models that must wait."""
        for models in self._runs.values():
            heads = [waiters[0] for model, waiters in models.items() if model not in blocked]
            if heads:
                return min(heads, key=lambda waiter: waiter.ticket)
        return None
