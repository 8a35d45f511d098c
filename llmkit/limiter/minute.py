"""Starts and tokens of the last minute, by quarter of a second."""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

MINUTE = 60.0
JITTER = 0.05  # seconds by which requests usually overtake each other on the way to the server
LATE = 0.5  # the same on a busy machine, before connections are warm
BUCKET = 0.25  # seconds: the resolution of the minute
STARTS, TOKENS = 0, 1  # positions in a bucket

RING = 244  # buckets: a minute, the late ones, and the current one
RING_BYTES = 8 * RING
_BUCKET = Struct("<II")
_MOST = 2**32 - 1


class Minute(NamedTuple):
    """A ring of buckets, their totals, and the oldest one that counts, in quarters of a second since the epoch.

    A bucket counts until even its last start, arriving late at the server, is a minute old. Then it is reset, so that
    an update takes the same time however many buckets there are.
    """

    first: int = 0
    starts: int = 0
    tokens: int = 0
    ring: bytes = bytes(RING_BYTES)

    def at(self, now: float) -> Minute:
        """The minute without buckets that are expired at ``now``."""
        first = int((now - MINUTE - LATE) // BUCKET)
        if first <= self.first:
            return self
        if first - self.first >= RING or not self.starts:
            return Minute(first)
        starts, tokens, ring = self.starts, self.tokens, bytearray(self.ring)
        for index in range(self.first, first):
            old_starts, old_tokens = self._bucket(index)
            starts, tokens = starts - old_starts, tokens - old_tokens
            _BUCKET.pack_into(ring, _place(index), 0, 0)
        return Minute(first, starts, tokens, bytes(ring))

    def wait(self, now: float, what: int, amount: int, limit: int) -> float:
        """Seconds until ``amount`` more of ``what`` (STARTS or TOKENS) fit under ``limit``; anything fits into an empty
        minute.
        """
        current = self.at(now)
        too_much = (current.tokens if what else current.starts) + min(amount, limit) - limit
        index = current.first
        while too_much > 0 and index < current.first + RING:
            too_much -= current._bucket(index)[what]
            index += 1
        return index * BUCKET + MINUTE + LATE - now if index > current.first else 0.0

    def started(self, now: float, tokens: int) -> Minute:
        """The minute with one more start."""
        return self.at(now)._added(int(now // BUCKET), 1, tokens)

    def sent(self, now: float, started_at: float, tokens: int) -> Minute:
        """Move a request of ``started_at`` to ``now``, when it was sent, because the server counts from then."""
        current, before, index = self.at(now), int(started_at // BUCKET), int(now // BUCKET)
        if index <= before or not current._remembers(before):
            return self
        return current._added(before, -1, -tokens)._added(index, 1, tokens)

    def corrected(self, now: float, started_at: float, more_tokens: int) -> Minute:
        """Add the tokens that a request of ``started_at`` used in excess of its estimate (negative: less)."""
        current, index = self.at(now), int(started_at // BUCKET)
        return current._added(index, 0, more_tokens) if more_tokens and current._remembers(index) else self

    def _remembers(self, index: int) -> bool:
        return self.first <= index < self.first + RING and self._bucket(index)[STARTS] > 0

    def _bucket(self, index: int) -> tuple[int, int]:
        starts, tokens = _BUCKET.unpack_from(self.ring, _place(index))
        return starts, tokens

    def _added(self, index: int, starts: int, tokens: int) -> Minute:
        place, (old_starts, old_tokens) = _place(index), self._bucket(index)
        new_starts, new_tokens = max(0, old_starts + starts), min(max(0, old_tokens + tokens), _MOST)
        return Minute(
            self.first,
            self.starts + new_starts - old_starts,
            self.tokens + new_tokens - old_tokens,
            self.ring[:place] + _BUCKET.pack(new_starts, new_tokens) + self.ring[place + _BUCKET.size :],
        )


def _place(index: int) -> int:
    return index % RING * _BUCKET.size


EMPTY = Minute()
