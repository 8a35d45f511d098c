"""A request that was let through: what it holds, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from llmkit.limiter.budget import Reservation
from llmkit.limiter.pace import PaceState, outcome, sent, settle
from llmkit.limiter.shared_files import Clock, PaceFile, Slot


@dataclass(eq=False, slots=True, kw_only=True)
class Admission:
    """The right to send one request, from ``admit`` until its block is left.

    ``started_at`` is when it was let through, or sent (seconds since the epoch), ``waited_s`` how long it waited to be
    let through, and ``waits`` how many seconds of that were for what.
    """

    model: str
    started_at: float
    tokens: int
    waited_s: float
    waits: Mapping[str, float]
    slots: list[tuple[PaceFile, Slot]]
    clock: Clock
    adaptive: bool = False
    reservation: Reservation | None = None
    used: int | None = None
    ok: bool | None = None

    @property
    def wait_reason(self) -> str | None:
        """What most of the waiting was for; ``None`` when there was none."""
        return max(self.waits, key=lambda reason: self.waits[reason]) if self.waits else None

    def sent(self) -> None:
        """Say that the request is sent now, and not when it was let through: that is when the server counts it."""
        before, self.started_at = self.started_at, self.clock()
        for pace, _ in self.slots:
            pace.later(partial(sent, now=self.started_at, started_at=before, tokens=self.tokens))

    def settle(self, *, tokens: int | None, cost: Decimal | None, ok: bool | None) -> None:
        """Say how the request ended, before its block is left.

        ``tokens`` is what it used and ``cost`` what it cost in US dollars; ``None`` is unknown: then the reserved
        tokens count as used, and the worst case as spent. ``ok`` is True when the provider served it (whatever it
        answered), False when it refused for its limits, and None when neither is known.
        """
        self.used, self.ok = tokens, ok
        if self.reservation is not None:
            self.reservation.settle(cost)

    def waive(self) -> None:
        """Say that nothing was sent."""
        self.settle(tokens=0, cost=Decimal(0), ok=None)

    def close(self, now: float) -> None:
        """Give everything back; what was not settled stands as used."""
        for pace, slot in self.slots:
            pace.change(lambda state: self._ended(state, now))
            slot.release()
        if self.reservation is not None:
            self.reservation.settle(None)

    def _ended(self, state: PaceState, now: float) -> PaceState:
        used = self.tokens if self.used is None else self.used
        return outcome(settle(state, now, self.started_at, self.tokens, used), now, self.ok, self.started_at)
