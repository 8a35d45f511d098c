"""An admitted request: what it holds, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from llmkit.limiter.budget import Purse
from llmkit.limiter.pace import PaceState, outcome, settle


@dataclass(eq=False, slots=True, kw_only=True)
class Admission:
    """Permission to send one request, valid within the block of ``admit``.

    ``started_at`` is when it was admitted or, later, sent (seconds since the epoch), ``waited_s`` how long it waited
    for admission, and ``waits`` the seconds by reason.
    """

    model: str
    started_at: float
    waited_s: float
    tokens: int = 0
    waits: Mapping[str, float] = field(default_factory=dict)
    on_sent: Callable[[Admission], object] = lambda _: None
    adaptive: bool = False
    purse: Purse | None = None
    used: int | None = None
    ok: bool | None = None

    @property
    def wait_reason(self) -> str | None:
        """The reason of most of the waiting; ``None`` without any."""
        return max(self.waits, key=lambda reason: self.waits[reason]) if self.waits else None

    def sent(self) -> None:
        """Report that the request is sent only now, because the server counts it from now on."""
        self.on_sent(self)

    def settle(self, *, tokens: int | None, cost: Decimal | None, ok: bool | None) -> None:
        """Report how the request ended, within its block.

        ``tokens`` is what it used and ``cost`` its cost in US dollars; if ``None`` (unknown), the reserved tokens count
        as used, and the worst case as spent. ``ok`` is True when the provider served it (whatever the answer), False
        when it hit a rate limit, and None when neither is known.
        """
        self.used, self.ok = tokens, ok
        if self.purse is not None:
            self.purse.settle(cost)

    def waive(self) -> None:
        """Report that nothing was sent."""
        self.settle(tokens=0, cost=Decimal(0), ok=None)

    def ended(self, state: PaceState, now: float) -> PaceState:
        """The pace after the request; without ``settle``, the reserved tokens count as used."""
        used = self.tokens if self.used is None else self.used
        return outcome(settle(state, now, self.started_at, self.tokens, used), now, self.ok, self.started_at)
