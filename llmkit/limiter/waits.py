"""Why requests wait, in words and in seconds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

SLOT = "slot"
PORTION = "colleagues use the limits"
GLANCE = 0.25  # the most seconds between two looks: another process may have paused, settled, or ended a trial
GLANCE_FOR_SLOT = 0.02  # the same while other processes hold slots that we wait for
GLANCE_FOR_FILE = 0.002  # the same while another process holds the file


@dataclass(frozen=True, slots=True)
class Block:
    """Why nothing may start, until when (seconds since the epoch, ``None`` if unknown), and how soon to look again in
    any case.
    """

    reason: str
    until: float | None = None
    glance: float = GLANCE

    def rest(self, now: float) -> float:
        """Seconds until the next look."""
        return self.glance if self.until is None else min(self.glance, self.until - now)


class Blocks:
    """What blocks each model (``""``: all of them), and for how many seconds each reason has."""

    def __init__(self) -> None:
        self._now: Mapping[str, Block] = {}
        self._since = 0.0
        self._seconds: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))

    def become(self, blocks: Mapping[str, Block], now: float) -> None:
        """Replace the blocks from ``now`` on."""
        self._count(now)
        self._now = blocks

    def any(self) -> Block | None:
        """Some block, if there is any."""
        return next(iter(self._now.values()), None)

    def waited(self, model: str, now: float) -> dict[str, float]:
        """For how many seconds each reason has blocked a model until ``now``."""
        self._count(now)
        waited = dict(self._seconds[""])
        for reason, seconds in self._seconds[model].items():
            waited[reason] = waited.get(reason, 0.0) + seconds
        return waited

    def _count(self, now: float) -> None:
        passed, self._since = max(0.0, now - self._since), now
        for model, block in self._now.items():
            self._seconds[model][block.reason] += passed
