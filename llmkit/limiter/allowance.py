"""What is left according to a provider's rate-limit headers, and the spacing of starts that follows from it.

Servers count in different ways, and the headers do not say which. But they show whether the moment at which the
allowance is fully restored is fixed (a fixed window: nothing is restored before it ends) or moves with every request
(a token bucket or a sliding window: the allowance is restored continuously).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from operator import attrgetter
from struct import Struct
from typing import Self

from llmkit.limiter.minute import MINUTE
from llmkit.records import RateInfo

LOW = 0.02  # share of the limit below which starts are spaced more and more widely
MOST_SPARING = 8.0  # times the refill interval; a client that stops entirely learns nothing
SETTLED = 5.0  # seconds without a move after which the moment is considered fixed
ROUNDING = 1.5  # seconds: many servers round the reset to whole seconds

_ALLOWANCE = Struct("<5d?2d")
_LAST_START = Struct("<d")
SEEN_BYTES = 2 * _ALLOWANCE.size + _LAST_START.size


@dataclass(frozen=True, slots=True)
class Allowance:
    """An allowance (of requests or tokens) as last reported for the time ``at``; times are seconds since the epoch.

    ``remaining`` is reduced by what was started since. ``refill`` is the mean restoration per second until
    ``whole_at``, when the server says that it is fully restored. ``rolling`` is true for a server that restores
    continuously, false for one that does so only at ``whole_at``; ``anchor_at`` and ``anchor_whole`` are the earlier
    report that this is judged by.
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
        """The allowance after a response that leaves ``remaining`` of ``limit``, restored in ``reset`` seconds.

        The server counted when the request arrived, at about ``sent_at``; ``since`` is what was started after it. A
        server without a reset (Mistral) is assumed to refill its limit once a minute. No report is trusted for more
        than a minute: then one request finds out again, whatever a header meant.
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

    def less(self, amount: float) -> Allowance:
        """The allowance after a start that uses ``amount``."""
        return replace(self, remaining=self.remaining - amount)

    def left(self, now: float) -> float:
        """The amount expected to be left at ``now``."""
        if now >= self.whole_at:
            return self.limit
        came_back = self.refill * (now - self.at) if self.rolling else 0.0
        return min(self.limit, self.remaining + came_back)

    def wait(self, now: float, last_start: float) -> float:
        """Seconds that the next start should wait after one at ``last_start``; 0 for none."""
        if now >= self.whole_at:
            return 0.0
        left = self.left(now)
        if left < 1 and not self.rolling:
            return self.whole_at - now
        return min(self.whole_at, max(now, last_start + self._spacing(left, now))) - now

    def wait_for(self, amount: float, now: float) -> float:
        """Seconds until ``amount`` is left; an amount above the limit waits until the allowance is fully restored."""
        missing = min(amount, self.limit) - self.left(now)
        if missing <= 0:
            return 0.0
        time_left = self.whole_at - now
        return min(time_left, missing / self.refill) if self.rolling and self.refill else time_left

    def _spacing(self, left: float, now: float) -> float:
        """Seconds between starts such that the rest lasts until more is restored."""
        if not self.rolling:
            return (self.whole_at - now) / left
        low = LOW * self.limit
        if left >= low or not self.refill:
            return 0.0
        return (min(MOST_SPARING, low / left) if left > 0 else MOST_SPARING) / self.refill


@dataclass(frozen=True, slots=True)
class Seen:
    """The last headers of a model, and the time of the last start."""

    requests: Allowance | None = None
    tokens: Allowance | None = None
    last_start: float = 0.0

    def __bool__(self) -> bool:
        return self.requests is not None or self.tokens is not None

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read the ``SEEN_BYTES`` that ``to_bytes`` wrote; a limit of 0 means no allowance."""
        rows = (_ALLOWANCE.unpack_from(data), _ALLOWANCE.unpack_from(data, _ALLOWANCE.size))
        requests, tokens = (Allowance(*row) if row[0] > 0 else None for row in rows)
        return cls(requests, tokens, *_LAST_START.unpack_from(data, 2 * _ALLOWANCE.size))

    def to_bytes(self) -> bytes:
        """The fields as ``SEEN_BYTES`` bytes."""
        return _packed(self.requests) + _packed(self.tokens) + _LAST_START.pack(self.last_start)

    def used(self, tokens: int, now: float) -> Seen:
        """The state after a request of about ``tokens`` started."""
        return self and Seen(self.requests and self.requests.less(1), self.tokens and self.tokens.less(tokens), now)

    def reported(self, info: RateInfo, now: float, sent_at: float, since: int) -> Seen:
        """The state after a response; unchanged without headers. See :meth:`Allowance.reported`."""
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
