"""What stands in the way of those who wait, in words and in seconds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

SLOT = "slot"
GLANCE = 0.25  # seconds at most between two looks: another process may have paused, settled, or ended a trial
GLANCE_FOR_SLOT = 0.02  # the same while other processes hold slots that we wait for
GLANCE_FOR_FILE = 0.002  # the same while another process holds the file


@dataclass(frozen=True, slots=True)
class Wait:
    """What a provider's waiting requests wait for: ``until`` is seconds since the epoch, ``None`` when unknown."""

    reason: str
    until: float | None
    waiters: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class Block:
    """Why nobody may go, until when, and how soon to look again in any case."""

    reason: str
    until: float | None = None
    glance: float = GLANCE

    def rest(self, now: float) -> float:
        """Seconds until the next look."""
        return self.glance if self.until is None else min(self.glance, self.until - now)


class Reasons:
    """How long each reason has been in the way."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._block: Block | None = None
        self._since = 0.0

    def note(self, block: Block | None, now: float) -> None:
        """From ``now`` on it is ``block``; the time until now goes to the one before."""
        if self._block is not None:
            waited = max(0.0, now - self._since)
            self.seconds[self._block.reason] += waited  # type: ignore[assignment]  # a Counter of seconds
        self._block, self._since = block, now
