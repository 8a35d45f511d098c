"""What the runner talks to: one gate for all providers."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack, asynccontextmanager
from decimal import Decimal
from pathlib import Path

import anyio

from llmkit.limiter.admission import Admission
from llmkit.limiter.budget import Budget, Reservation
from llmkit.limiter.pace import RATE_LIMITED, Limits
from llmkit.limiter.provider_queue import ProviderQueue, Sleep
from llmkit.limiter.shared_files import Clock
from llmkit.limiter.waiters import OnWait, Waiter
from llmkit.limiter.waits import Wait
from llmkit.records import RateInfo

BUDGET = "budget"


class Gate:
    """Lets requests through, no faster than their providers allow.

    ``directory`` holds the small files that processes share (made when missing, for this user only). ``clock`` gives
    seconds since the epoch. ``admit`` is for coroutines; everything else may be called from any thread and never waits.
    """

    def __init__(self, directory: Path, *, clock: Clock = time.time, sleep: Sleep = anyio.sleep) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory, self._clock, self._sleep = directory, clock, sleep
        self._lanes: dict[str, ProviderQueue] = {}
        self._lock = threading.Lock()

    def set_limits(self, provider: str, limits: Limits, models: Mapping[str, Limits] | None = None) -> None:
        """Set a provider's limits, and those of models (by reference) that have their own; in force at once.

        Requests under way go on when a limit is lowered; fewer follow.
        """
        self._lane(provider).set_limits(limits, models or {})

    def limits(self, provider: str) -> Limits:
        """The limits of a provider; one request at a time and 60 a minute until they are set."""
        return self._lane(provider).limits

    @asynccontextmanager
    async def admit(
        self,
        provider: str,
        *,
        run_id: str,
        model: str,
        tokens: int = 0,
        budget: Budget | None = None,
        worst_case: Decimal | None = None,
        on_wait: OnWait | None = None,
        adaptive: bool = False,
    ) -> AsyncGenerator[Admission]:
        """Wait until a request to ``model`` (its reference) may be sent; it is under way until the block is left.

        Runs take turns; within a run, who comes first goes first. ``tokens`` is an estimate of input and output,
        ``worst_case`` the most that the request may cost. ``on_wait(reason, until)`` is called whenever it has to wait
        for something new; it must not wait or raise. ``adaptive`` keeps fewer requests in flight than the limit while
        more would not be served faster; other runs of this kernel wait their turn behind it.

        Raises:
            BudgetExceeded: the budget does not cover the worst case.
        """
        asked_at = self._clock()
        waits: Counter[str] = Counter()
        lane = self._lane(provider)
        admission: Admission | None = None
        while admission is None:
            waiter = Waiter(
                run_id=run_id,
                model=model,
                tokens=tokens,
                adaptive=adaptive,
                asked_at=asked_at,
                on_wait=on_wait,
                waits=waits,
            )
            admission = await self._enter(lane, waiter, budget, worst_case)
        try:
            yield admission
        finally:
            lane.leave(admission)

    def pause(self, provider: str, seconds: float, reason: str = RATE_LIMITED) -> bool:
        """Let nothing through to a provider for ``seconds``, then one request, and the rest when that was served.

        Returns False, and changes nothing, while a pause is under way already.
        """
        return self._lane(provider).pause(seconds, reason)

    def observe(self, provider: str, rate_info: RateInfo, *, model: str = "", sent_at: float | None = None) -> None:
        """Take in what a response's headers say is left, to slow down before it is used up.

        ``model`` is whose allowance it is (``""``: the whole provider's), ``sent_at`` the ``started_at`` of the
        request that was answered; by default the one that is under way for longest.
        """
        self._lane(provider).observe(rate_info, model, sent_at)

    def waiting(self) -> dict[str, Wait]:
        """What each provider that has requests waiting waits for."""
        lanes = dict(self._lanes)
        return {name: wait for name, lane in sorted(lanes.items()) if (wait := lane.waiting()) is not None}

    def close(self) -> None:
        """Close the files."""
        for lane in tuple(self._lanes.values()):
            lane.close()

    async def _enter(
        self, lane: ProviderQueue, waiter: Waiter, budget: Budget | None, worst_case: Decimal | None
    ) -> Admission | None:
        """Reserve the money, then wait in the lane. ``None``: meanwhile others cost more than their worst case, so that
        the money is not there any more.
        """
        if budget is None:
            return await lane.enter(waiter)
        with ExitStack() as undo:
            reservation = await self._reserve(budget, worst_case, waiter.waits, waiter.on_wait)
            undo.callback(reservation.release)
            admission = await lane.enter(waiter)
            if budget.is_overdrawn:
                admission.waive()
                lane.leave(admission)
                return None
            admission.reservation = reservation
            undo.pop_all()
            return admission

    async def _reserve(
        self, budget: Budget, worst_case: Decimal | None, waits: Counter[str], on_wait: OnWait | None
    ) -> Reservation:
        asked_at = self._clock()
        if on_wait is not None and worst_case is not None and budget.must_wait(worst_case):
            on_wait(BUDGET, None)
        reservation = await budget.reserve(worst_case)
        if (waited := self._clock() - asked_at) > 0:
            waits[BUDGET] += waited  # type: ignore[assignment]  # a Counter of seconds
        return reservation

    def _lane(self, provider: str) -> ProviderQueue:
        with self._lock:
            if provider not in self._lanes:
                self._lanes[provider] = ProviderQueue(self._directory, provider, self._clock, self._sleep)
            return self._lanes[provider]
