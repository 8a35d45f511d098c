"""Share a provider's slots between processes: a free slot goes to the process that needs it most."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

RECENT = 0.25  # seconds for which a process counts as wanting a slot
TURN = 0.5  # seconds without a start after which a process with as many slots as ours takes precedence

MOST_PROCESSES = 64


class Share(NamedTuple):
    """One process's share of the slots: requests in flight, its last unsuccessful look, and its last start."""

    in_flight: int = 0
    wanted_at: float = 0.0
    started_at: float = 0.0

    @property
    def is_active(self) -> bool:
        """Whether the process has slots or wants one."""
        return self.in_flight > 0 or self.wanted_at > 0


NO_SHARE = Share()
Shares = tuple[Share, ...]  # by the number of the process


def may_take(mine: Share, others: Iterable[Share], now: float) -> bool:
    """Whether a free slot is ours rather than that of a process that wants it and has fewer, or has waited longer."""
    for other in others:
        if other.wanted_at < now - RECENT or other.in_flight > mine.in_flight:
            continue
        if other.in_flight < mine.in_flight or other.started_at < min(mine.started_at, now - TURN):
            return False
    return True


def with_share(shares: Shares, number: int, share: Share) -> Shares:
    """The shares with that of one process replaced."""
    padded = shares + (NO_SHARE,) * (number + 1 - len(shares))
    return (*padded[:number], share, *padded[number + 1 :])
