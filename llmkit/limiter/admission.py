"""A request that was let through: what it holds, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from llmkit.limiter.budget import Reservation
from llmkit.limiter.pace import PaceState, outcome, settle
from llmkit.limiter.purse import Advance


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
    on_sent: Callable[[Admission], object]
    adaptive: bool = False
    reservation: Reservation | Advance | None = None
    used: int | None = None
    ok: bool | None = None

    @property
    def wait_reason(self) -> str | None:
        """What most of the waiting was for; ``None`` when there was none."""
        return max(self.waits, key=lambda reason: self.waits[reason]) if self.waits else None

    def sent(self) -> None:
        """Say that the request is sent now, and not when it was let through: that is when the server counts it."""
        self.on_sent(self)

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

    def ended(self, state: PaceState, now: float) -> PaceState:
        """What a pace is after it; what was not settled stands as used."""
        used = self.tokens if self.used is None else self.used
        return outcome(settle(state, now, self.started_at, self.tokens, used), now, self.ok, self.started_at)
