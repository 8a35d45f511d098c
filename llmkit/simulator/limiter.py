"""A provider's limits: three kinds of rate limits and a limit on requests in flight. The clock is passed in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import Literal

from llmkit.simulator.problems import Rejected
from llmkit.simulator.stats import MINUTE

LimiterKind = Literal["token_bucket", "sliding_window", "fixed_window"]
_ROUNDING = 1e-5  # units: waiting exactly as long as announced must suffice despite float rounding


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a limit; ``reset`` is the seconds until it is fully restored."""

    limit: int
    remaining: int
    reset: float


class Rate(ABC):
    """A limit on an amount per minute; times are in seconds."""

    def __init__(self, limit: int) -> None:
        self._limit, self._used = limit, 0.0

    def wait(self, amount: float, now: float) -> float:
        """Seconds until ``amount`` would be admitted; 0 means now. An amount above the limit waits for all of it."""
        self._forget(now)
        missing = self._used + min(amount, self._limit) - self._limit
        return self._until_freed(missing, now) if missing > _ROUNDING else 0.0

    def take(self, amount: float, now: float) -> None:
        """Use an amount, even if it is more than is left."""
        self._forget(now)
        self._used += amount

    def left(self, now: float) -> Left:
        """What is left."""
        self._forget(now)
        reset = self._until_freed(self._used, now) if self._used else 0.0
        return Left(self._limit, max(0, int(self._limit - self._used)), reset)

    @abstractmethod
    def _forget(self, now: float) -> None:
        """Give back what no longer counts."""

    @abstractmethod
    def _until_freed(self, amount: float, now: float) -> float:
        """Seconds until this much of what is used no longer counts."""


class TokenBucket(Rate):
    """Refills ``limit`` per minute up to ``burst``. ``Left.limit`` is the bucket's size."""

    def __init__(self, limit: int, burst: int, now: float) -> None:
        super().__init__(burst)
        self._rate, self._at = limit / MINUTE, now

    def _forget(self, now: float) -> None:
        self._used = max(0.0, self._used - self._rate * (now - self._at))
        self._at = now

    def _until_freed(self, amount: float, now: float) -> float:
        return amount / self._rate


class Window(Rate):
    """At most ``limit`` in any 60 s, or with ``fixed`` in each minute of the clock."""

    def __init__(self, limit: int, *, fixed: bool) -> None:
        super().__init__(limit)
        self._fixed = fixed
        self._log: deque[tuple[float, float]] = deque()  # when an amount no longer counts, and the amount

    def take(self, amount: float, now: float) -> None:
        """See ``Rate.take``."""
        super().take(amount, now)
        self._log.append((now + MINUTE - (now % MINUTE if self._fixed else 0), amount))

    def _forget(self, now: float) -> None:
        while self._log and self._log[0][0] <= now:
            self._used -= self._log.popleft()[1]

    def _until_freed(self, amount: float, now: float) -> float:
        totals = accumulate(taken for _, taken in self._log)
        ends = (end for (end, _), total in zip(self._log, totals, strict=True) if total >= amount)
        return next(ends, now) - now


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


@dataclass(slots=True)
class Limiter:
    """The limits of one provider with their current state."""

    limits: Limits
    now: float
    requests: Rate | None = field(init=False)
    tokens: Rate | None = field(init=False)

    def __post_init__(self) -> None:
        limits = self.limits
        self.requests = _rate(limits.kind, limits.rpm, limits.bucket, self.now)
        self.tokens = _rate(limits.kind, limits.tpm, limits.tpm or 0, self.now)

    def admit(self, tokens: int, now: float, in_flight: int = 0, model: str = "") -> None:
        """Admit a request with this many input tokens, or raise ``Rejected``. A refused request uses nothing."""
        limits = self.limits
        refused = partial(Rejected, kind="rate_limit", model=model)
        if limits.max_concurrent is not None and in_flight >= limits.max_concurrent:
            raise refused(unit="concurrent", limit=limits.max_concurrent, retry_after=1.0)
        if self.requests is not None and (wait := self.requests.wait(1, now)) > 0:
            raise refused(unit="requests", limit=limits.rpm, retry_after=wait)
        if self.tokens is not None and (wait := self.tokens.wait(tokens, now)) > 0:
            raise refused(unit="tokens", limit=limits.tpm, retry_after=wait)
        if self.requests is not None:
            self.requests.take(1, now)
        self.spend(tokens, now)

    def spend(self, tokens: int, now: float) -> None:
        """Count tokens that become known later: the output."""
        if self.tokens is not None:
            self.tokens.take(tokens, now)

    def left(self, now: float) -> dict[str, Left]:
        """What is left of ``requests`` and ``tokens``, as far as they are limited."""
        rates = {"requests": self.requests, "tokens": self.tokens}
        return {what: rate.left(now) for what, rate in rates.items() if rate is not None}

    def changed(self, limits: Limits, now: float) -> Limiter:
        """A limiter with new limits; unchanged ones keep their state."""
        other = Limiter(limits, now)
        if (limits.kind, limits.rpm, limits.bucket) == (self.limits.kind, self.limits.rpm, self.limits.bucket):
            other.requests = self.requests
        if (limits.kind, limits.tpm) == (self.limits.kind, self.limits.tpm):
            other.tokens = self.tokens
        return other


def _rate(kind: LimiterKind, limit: int | None, burst: int, now: float) -> Rate | None:
    if limit is None:
        return None
    return TokenBucket(limit, burst, now) if kind == "token_bucket" else Window(limit, fixed=kind == "fixed_window")
