"""The interface for the runner: one gate for all providers."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from llmkit.limiter.admission import Admission
from llmkit.limiter.budget import Purse
from llmkit.limiter.pace_file import Clock
from llmkit.limiter.portions import Portions
from llmkit.limiter.provider_queue import ProviderQueue
from llmkit.limiter.waiters import Waiter
from llmkit.limiter.waits import Block
from llmkit.records.forks import forgetting

BUDGET = "budget"


class Gate:
    """Admits requests no faster than their providers allow.

    ``directory`` holds the small files that processes share (created if missing, for this user only). ``clock`` returns
    seconds since the epoch. ``admit`` is for coroutines, of one event loop at a time; everything else may be called
    from any thread and never waits.
    """

    def __init__(self, directory: Path, *, clock: Clock = time.time) -> None:
        with contextlib.suppress(OSError):  # reported on admission
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory, self._clock = directory, clock
        self._queues: dict[str, ProviderQueue] = {}
        self._lock = threading.Lock()
        self.portions: Portions | None = None
        """What this process may use, if machines share limits and budgets."""
        _GATES.add(self)

    def queue(self, provider: str) -> ProviderQueue:
        """The queue of a provider, which is told its limits, and how the provider answers."""
        with self._lock:
            if provider not in self._queues:
                self._queues[provider] = ProviderQueue(self._directory, provider, self._clock, self.portions)
            return self._queues[provider]

    def share(self, portions: Portions) -> None:
        """Use these portions of all limits from now on; call again when they have changed."""
        self.portions = portions
        for queue in tuple(self._queues.values()):
            queue.share(portions)

    def uses(self) -> dict[str, tuple[int, int]]:
        """For every limit in use or wanted here, by provider or by model with its own limits: the number of parallel
        requests allowed, and in flight.
        """
        return {name: use for queue in tuple(self._queues.values()) for name, use in queue.uses().items()}

    def admit(
        self,
        provider: str,
        *,
        run_id: str,
        model: str,
        tokens: int = 0,
        purse: Purse | None = None,
        worst_case: Decimal | None = None,
        adaptive: bool = False,
    ) -> AbstractAsyncContextManager[Admission]:
        """Wait until a request to ``model`` (a reference) may be sent; it counts as in flight until the block ends.

        Runs take turns; within a run, requests are served in order. ``tokens`` is an estimate of input and output,
        ``worst_case`` the most that the request may cost. ``adaptive`` keeps fewer requests in flight than the limit
        while more would not be served faster; other runs of this kernel wait their turn behind it.

        Raises:
            BudgetExceeded: the budget does not cover the worst case.
        """
        queue = self.queue(provider)
        waiter = Waiter(run_id=run_id, model=model, tokens=tokens, adaptive=adaptive, asked_at=self._clock())
        return _Entry(queue, self._enter(queue, waiter, purse, worst_case))

    def waiting(self) -> dict[str, Block]:
        """What waiting requests wait for, by provider."""
        queues = sorted(self._queues.copy().items())
        return {name: block for name, queue in queues if (block := queue.waiting()) is not None}

    def close(self) -> None:
        """Close the files."""
        for queue in tuple(self._queues.values()):
            queue.close()

    async def _enter(
        self, queue: ProviderQueue, waiter: Waiter, purse: Purse | None, worst_case: Decimal | None
    ) -> Admission:
        """Reserve the money, then wait for the provider; repeat if the money is gone by then, because other requests
        cost more than their worst case, or if budgets have been set or a month has begun since.
        """
        if purse is None:
            return await queue.enter(waiter)
        while True:
            asked_at = self._clock()
            await purse.reserve(worst_case)
            if purse.has_waited:
                waited = self._clock() - asked_at
                waiter.waits = {**waiter.waits, BUDGET: waiter.waits.get(BUDGET, 0.0) + waited}
            try:
                admission = await queue.enter(waiter)
            except BaseException:
                purse.release()
                raise
            if worst_case == 0 or (purse.is_enough(worst_case) and not purse.budget.is_overdrawn):
                admission.purse = purse
                return admission
            purse.release()
            admission.waive()
            queue.leave(admission)
            waiter = replace(waiter, waits=admission.waits, turn=asyncio.get_running_loop().create_future())

    def _forget(self) -> None:
        """Start afresh in a forked child: everything in flight or waiting belongs to its parent."""
        self._queues, self._lock = {}, threading.Lock()


@dataclass(slots=True)
class _Entry(AbstractAsyncContextManager[Admission]):
    """The context manager of an admission. A generator would cost as much as the admission itself."""

    _queue: ProviderQueue
    _enter: Coroutine[None, None, Admission]
    _admission: Admission = field(init=False)

    async def __aenter__(self) -> Admission:
        self._admission = await self._enter
        return self._admission

    async def __aexit__(self, *_: object) -> None:
        self._queue.leave(self._admission)


_GATES = forgetting(Gate)
