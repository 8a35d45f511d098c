"""What a provider's rate-limit headers say is left, and how far apart that asks us to start.

Servers count in different ways, and the headers do not say which. What they do show is whether the moment at which
the allowance will be whole again stands still (a fixed window: nothing comes back before it ends) or moves on with
every request (a token bucket or a sliding window: a little comes back all the time).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import isfinite
from operator import attrgetter
from struct import Struct
from typing import Self

from llmkit.limiter.minute import MINUTE
from llmkit.records import RateInfo

LOW = 0.02  # of the limit: below this, what comes back is shared out more and more sparingly
MOST_SPARING = 8.0  # times the refill interval; more would stand still, and a standing client learns nothing
SETTLED = 5.0  # seconds over which a moment that does not move is believed to stand still
ROUNDING = 1.5  # seconds: many servers round the reset to whole seconds

_ALLOWANCE = Struct("<5d?2d")
_LAST_START = Struct("<d")
SEEN_BYTES = 2 * _ALLOWANCE.size + _LAST_START.size


@dataclass(frozen=True, slots=True)
class Allowance:
    """One allowance (requests or tokens) as last reported for the moment ``at``; times are seconds since the epoch.

    ``remaining`` is lowered by what was started since. ``refill`` is what comes back a second on average until
    ``whole_at``, when the server says that nothing will be used up any more. ``rolling`` tells a server that gives back
    continuously from one that does so at ``whole_at`` only; ``anchor_at`` and ``anchor_whole`` are the earlier report
    with which this is told.
    """

    limit: float
    remaining: float
    at: float
    whole_at: float
    refill: float
    rolling: bool = False
    anchor_at: float = 0.0
    anchor_whole: float = 0.0

    @classmethod
    def reported(
        cls,
        before: Allowance | None,
        limit: int,
        remaining: int,
        reset: float | None,
        *,
        now: float,
        sent_at: float,
        since: float,
    ) -> Allowance:
        """The allowance after a response that leaves ``remaining`` of ``limit``, whole again in ``reset`` seconds.

        The server counted when the request came in, at about ``sent_at``; ``since`` is what was started after it.
        A server that gives no reset (Mistral) is taken to refill its limit once a minute. None is believed for longer
        than a minute: then one request asks anew, whatever a header meant.
        """
        used = max(0, limit - remaining)
        whole_at = now + (used * MINUTE / limit if reset is None else max(0.0, reset))
        if before is None or before.limit != limit:
            rolling, anchor_at, anchor_whole = reset is None, now, whole_at
        elif whole_at - before.anchor_whole > (now - before.anchor_at) / 2 + ROUNDING:
            rolling, anchor_at, anchor_whole = True, now, whole_at
        elif now - before.anchor_at > SETTLED:
            rolling, anchor_at, anchor_whole = False, now, whole_at
        else:
            rolling, anchor_at, anchor_whole = before.rolling, before.anchor_at, before.anchor_whole
        refill = used / max(whole_at - now, 0.001)
        believed = min(whole_at, now + MINUTE)
        return cls(float(limit), remaining - since, sent_at, believed, refill, rolling, anchor_at, anchor_whole)

    def is_sound(self, now: float) -> bool:
        """Whether it can have been reported until ``now``; what was kept in a file may be anything."""
        return all(map(isfinite, _figures(self))) and self.whole_at <= now + MINUTE + ROUNDING and self.refill >= 0

    def less(self, amount: float) -> Allowance:
        """The allowance after a start that uses up ``amount``."""
        return replace(self, remaining=self.remaining - amount)

    def left(self, now: float) -> float:
        """What should be left at ``now``."""
        if now >= self.whole_at:
            return self.limit
        came_back = self.refill * (now - self.at) if self.rolling else 0.0
        return min(self.limit, self.remaining + came_back)

    def wait(self, now: float, last_start: float) -> float:
        """Seconds that a start should wait, the last one having been at ``last_start``; 0 when there is no need."""
        if now >= self.whole_at:
            return 0.0
        left = self.left(now)
        if left < 1 and not self.rolling:
            return self.whole_at - now
        return min(self.whole_at, max(now, last_start + self._spacing(left, now))) - now

    def wait_for(self, amount: float, now: float) -> float:
        """Seconds until ``amount`` is left; an amount above the limit waits until the allowance is whole."""
        missing = min(amount, self.limit) - self.left(now)
        if missing <= 0:
            return 0.0
        time_left = self.whole_at - now
        return min(time_left, missing / self.refill) if self.rolling and self.refill else time_left

    def _spacing(self, left: float, now: float) -> float:
        """Seconds between starts that make what is left last until more comes back."""
        if not self.rolling:
            return (self.whole_at - now) / left
        low = LOW * self.limit
        if left >= low or not self.refill:
            return 0.0
        return (min(MOST_SPARING, low / left) if left > 0 else MOST_SPARING) / self.refill


@dataclass(frozen=True, slots=True)
class Seen:
    """What the headers of a model (or of a whole provider) last said, and when a request to it last started."""

    requests: Allowance | None = None
    tokens: Allowance | None = None
    last_start: float = 0.0

    def __bool__(self) -> bool:
        return self.requests is not None or self.tokens is not None

    def is_sound(self, now: float) -> bool:
        """Whether all of it can have been seen until ``now``."""
        told = [allowance for allowance in (self.requests, self.tokens) if allowance is not None]
        return self.last_start <= now + MINUTE and all(allowance.is_sound(now) for allowance in told)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read the ``SEEN_BYTES`` that ``to_bytes`` wrote; without a limit there was no allowance."""
        rows = (_ALLOWANCE.unpack_from(data), _ALLOWANCE.unpack_from(data, _ALLOWANCE.size))
        requests, tokens = (Allowance(*row) if row[0] > 0 else None for row in rows)
        return cls(requests, tokens, *_LAST_START.unpack_from(data, 2 * _ALLOWANCE.size))

    def to_bytes(self) -> bytes:
        """The fields as ``SEEN_BYTES`` bytes."""
        return _packed(self.requests) + _packed(self.tokens) + _LAST_START.pack(self.last_start)

    def used(self, tokens: int, now: float) -> Seen:
        """After a request of about ``tokens`` started."""
        return self and Seen(self.requests and self.requests.less(1), self.tokens and self.tokens.less(tokens), now)

    def reported(self, info: RateInfo, now: float, sent_at: float, since: int) -> Seen:
        """After a response; unchanged when it says nothing. See :meth:`Allowance.reported`."""
        requests, tokens = self.requests, self.tokens
        if info.requests_limit and info.requests_remaining is not None:
            figures = info.requests_limit, info.requests_remaining, info.requests_reset
            requests = Allowance.reported(requests, *figures, now=now, sent_at=sent_at, since=since)
        if info.tokens_limit and info.tokens_remaining is not None:
            figures = info.tokens_limit, info.tokens_remaining, info.tokens_reset
            tokens = Allowance.reported(tokens, *figures, now=now, sent_at=sent_at, since=0)
        return Seen(requests, tokens, max(self.last_start, sent_at))


NOTHING_SEEN = Seen()


_figures = attrgetter(*(item.name for item in fields(Allowance)))


def _packed(allowance: Allowance | None) -> bytes:
    return bytes(_ALLOWANCE.size) if allowance is None else _ALLOWANCE.pack(*_figures(allowance))
