"""What was started in the last minute: starts and tokens by quarter of a second."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

MINUTE = 60.0
JITTER = 0.05  # seconds by which one request usually overtakes another on its way to the server
LATE = 0.2  # seconds by which it does so on a busy machine
BUCKET = 0.25  # seconds: how finely the minute is remembered
STARTS, TOKENS = 1, 2  # positions in a bucket


@dataclass(frozen=True, slots=True)
class Minute:
    """A log of ``(index, starts, tokens)``, oldest first; ``index`` counts quarters of a second since the epoch.

    A bucket is remembered until even its last start, arriving late at the server, is a minute old.
    """

    log: tuple[tuple[int, int, int], ...] = ()

    @classmethod
    def from_rows(cls, rows: Iterable[Iterable[Any]]) -> Self:
        """Read the log as JSON holds it."""
        return cls(tuple((int(index), int(starts), int(tokens)) for index, starts, tokens in rows))

    def at(self, now: float) -> Minute:
        """The log without what is forgotten at ``now``."""
        log = self.log
        kept = next((i for i, bucket in enumerate(log) if _forgotten_at(bucket) > now), len(log))
        return Minute(log[kept:]) if kept else self

    def wait(self, now: float, what: int, amount: int, limit: int) -> float:
        """Seconds until ``amount`` more of ``what`` (STARTS or TOKENS) fit under ``limit``.

        Into an empty minute everything fits.
        """
        log = self.at(now).log
        too_much = sum(bucket[what] for bucket in log) + min(amount, limit) - limit
        for bucket in log:
            if too_much <= 0:
                break
            too_much -= bucket[what]
            if too_much <= 0:
                return _forgotten_at(bucket) - now
        return 0.0

    def started(self, now: float, tokens: int) -> Minute:
        """The log with one start more."""
        return self.at(now)._added(int(now // BUCKET), 1, tokens)

    def sent(self, now: float, started_at: float, tokens: int) -> Minute:
        """The log after a request of ``started_at`` was sent only now: the server's minute begins now as well."""
        current, before, index = self.at(now), int(started_at // BUCKET), int(now // BUCKET)
        if index <= before or all(bucket[0] != before for bucket in current.log):
            return self
        return current._added(before, -1, -tokens)._added(index, 1, tokens)

    def corrected(self, now: float, started_at: float, more_tokens: int) -> Minute:
        """The log after a request of ``started_at`` turned out to use so many tokens more (or, negative, less)."""
        current, index = self.at(now), int(started_at // BUCKET)
        if not more_tokens or all(bucket[0] != index for bucket in current.log):
            return self
        return current._added(index, 0, more_tokens)

    def _added(self, index: int, starts: int, tokens: int) -> Minute:
        # From the newest backwards: the clock may have gone back a little, and corrections are to recent starts.
        place = len(self.log)
        while place and self.log[place - 1][0] > index:
            place -= 1
        if place and self.log[place - 1][0] == index:
            place -= 1
            _, old_starts, old_tokens = self.log[place]
            bucket = (index, old_starts + starts, max(0, old_tokens + tokens))
            return Minute((*self.log[:place], bucket, *self.log[place + 1 :]))
        return Minute((*self.log[:place], (index, starts, max(0, tokens)), *self.log[place:]))


def _forgotten_at(bucket: tuple[int, int, int]) -> float:
    return (bucket[0] + 1) * BUCKET + MINUTE + LATE
