"""A provider's limits: three kinds of rate limits and a limit on requests in flight. The clock is passed in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

LimiterKind = Literal["token_bucket", "sliding_window", "fixed_window"]
LIMITERS: tuple[str, ...] = get_args(LimiterKind)
MINUTE = 60.0
_ROUNDING = 1e-5  # units: waiting exactly as long as announced must suffice despite float rounding


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a limit; ``reset`` is the seconds until it is fully restored."""

    limit: int
    remaining: int
    reset: float


class Rate(Protocol):
    """A limit on an amount per minute; times are in seconds."""

    def wait(self, amount: float, now: float) -> float:
        """Seconds until ``amount`` would be admitted; 0 means now. An amount above the limit waits for all of it."""

    def take(self, amount: float, now: float) -> None:
        """Use an amount, even if it is more than is left."""

    def left(self, now: float) -> Left:
        """What is left."""


class TokenBucket:
    """Refills ``limit`` per minute up to ``burst``. ``Left.limit`` is the bucket's size."""

    def __init__(self, limit: int, burst: int, now: float) -> None:
        self._rate, self._burst = limit / MINUTE, float(burst)
        self._tokens, self._at = self._burst, now

    def wait(self, amount: float, now: float) -> float:
        """See ``Rate``."""
        missing = min(amount, self._burst) - self._refilled(now)
        return missing / self._rate if missing > _ROUNDING else 0.0

    def take(self, amount: float, now: float) -> None:
        """See ``Rate``."""
        self._tokens = self._refilled(now) - amount

    def left(self, now: float) -> Left:
        """See ``Rate``."""
        tokens = self._refilled(now)
        return Left(int(self._burst), max(0, int(tokens)), (self._burst - tokens) / self._rate)

    def _refilled(self, now: float) -> float:
        self._tokens = min(self._burst, self._tokens + self._rate * (now - self._at))
        self._at = now
        return self._tokens


class SlidingWindow:
    """At most ``limit`` in any 60 s."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._log: deque[tuple[float, float]] = deque()
        self._used = 0.0

    def wait(self, amount: float, now: float) -> float:
        """See ``Rate``."""
        self._expire(now)
        missing = self._used + min(amount, self._limit) - self._limit
        for at, taken in self._log:
            if missing <= 0:
                break
            missing -= taken
            if missing <= 0:
                return at + MINUTE - now
        return 0.0

    def take(self, amount: float, now: float) -> None:
        """See ``Rate``."""
        self._expire(now)
        self._log.append((now, amount))
        self._used += amount

    def left(self, now: float) -> Left:
        """See ``Rate``."""
        self._expire(now)
        reset = self._log[-1][0] + MINUTE - now if self._log else 0.0
        return Left(self._limit, max(0, int(self._limit - self._used)), reset)

    def _expire(self, now: float) -> None:
        while self._log and self._log[0][0] <= now - MINUTE:
            self._used -= self._log.popleft()[1]


class FixedWindow:
    """At most ``limit`` in each minute of the clock."""

    def __init__(self, limit: int) -> None:
        self._limit, self._used, self._window = limit, 0.0, -1

    def wait(self, amount: float, now: float) -> float:
        """See ``Rate``."""
        self._turn(now)
        return 0.0 if self._used + min(amount, self._limit) <= self._limit else MINUTE - now % MINUTE

    def take(self, amount: float, now: float) -> None:
        """See ``Rate``."""
        self._turn(now)
        self._used += amount

    def left(self, now: float) -> Left:
        """See ``Rate``."""
        self._turn(now)
        return Left(self._limit, max(0, int(self._limit - self._used)), MINUTE - now % MINUTE if self._used else 0.0)

    def _turn(self, now: float) -> None:
        if (window := int(now // MINUTE)) != self._window:
            self._window, self._used = window, 0.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one provider; ``None`` is no limit. ``burst`` is the size of the token bucket for requests."""

    rpm: int | None = None
    max_concurrent: int | None = None
    tpm: int | None = None
    kind: LimiterKind = "token_bucket"
    burst: int | None = None

    @property
    def bucket(self) -> int:
        """The bucket's size: ``burst``, else a second's worth but at least ``max_concurrent`` (5 if unset)."""
        return self.burst or max(self.max_concurrent or 5, (self.rpm or 0) // 60)


@dataclass(frozen=True, slots=True)
class Refused:
    """A request over a limit: which one, its value, and the seconds until a retry can succeed."""

    limit: Literal["requests", "tokens", "concurrent"]
    value: int
    wait: float


@dataclass(slots=True)
class Limiter:
    """The limits of one provider with their current state."""

    limits: Limits
    now: float
    in_flight: int = 0
    requests: Rate | None = field(init=False)
    tokens: Rate | None = field(init=False)

    def __post_init__(self) -> None:
        limits = self.limits
        self.requests = _rate(limits.kind, limits.rpm, limits.bucket, self.now)
        self.tokens = _rate(limits.kind, limits.tpm, limits.tpm or 0, self.now)

    def admit(self, tokens: int, now: float) -> Refused | None:
        """Admit a request with this many input tokens, or return why not. A refused request uses nothing."""
        limits = self.limits
        if limits.max_concurrent is not None and self.in_flight >= limits.max_concurrent:
            return Refused("concurrent", limits.max_concurrent, 1.0)
        if self.requests is not None and (wait := self.requests.wait(1, now)) > 0:
            return Refused("requests", limits.rpm or 0, wait)
        if self.tokens is not None and (wait := self.tokens.wait(tokens, now)) > 0:
            return Refused("tokens", limits.tpm or 0, wait)
        if self.requests is not None:
            self.requests.take(1, now)
        self.spend(tokens, now)
        self.in_flight += 1
        return None

    def spend(self, tokens: int, now: float) -> None:
        """Count tokens that become known later: the output."""
        if self.tokens is not None:
            self.tokens.take(tokens, now)

    def changed(self, limits: Limits, now: float) -> Limiter:
        """A limiter with new limits; requests stay in flight, and unchanged limits keep their state."""
        other = Limiter(limits, now, self.in_flight)
        if (limits.kind, limits.rpm, limits.bucket) == (self.limits.kind, self.limits.rpm, self.limits.bucket):
            other.requests = self.requests
        if (limits.kind, limits.tpm) == (self.limits.kind, self.limits.tpm):
            other.tokens = self.tokens
        return other


def _rate(kind: LimiterKind, limit: int | None, burst: int, now: float) -> Rate | None:
    if limit is None:
        return None
    if kind == "token_bucket":
        return TokenBucket(limit, burst, now)
    return SlidingWindow(limit) if kind == "sliding_window" else FixedWindow(limit)
