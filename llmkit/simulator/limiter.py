"""A provider's limits: three kinds of rate limits and a limit on requests in flight. The clock is passed in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Literal

from llmkit.simulator.questions import Rejected
from llmkit.simulator.stats import MINUTE

LimiterKind = Literal["token_bucket", "sliding_window", "fixed_window"]
Unit = Literal["requests", "tokens"]
_ROUNDING = 1e-5  # units: waiting exactly as long as announced must suffice despite float rounding


@dataclass(frozen=True, slots=True)
class Left:
    """What is left of a limit; ``limit`` is the most that there can be, and ``reset`` the seconds until there is."""

    per_minute: int
    limit: int
    remaining: int
    reset: float


class Rate(ABC):
    """A limit on an amount per minute, of which at most ``limit`` can be left; times are in seconds."""

    def __init__(self, per_minute: int, limit: int) -> None:
        self.per_minute, self._limit = per_minute, limit

    def wait(self, amount: float, now: float) -> float:
        """Seconds until ``amount`` would be admitted; 0 means now. An amount above the limit waits for all of it."""
        missing = self._used(now) + min(amount, self._limit) - self._limit
        return self._until_freed(missing, now) if missing > _ROUNDING else 0.0

    def left(self, now: float) -> Left:
        """What is left."""
        used = self._used(now)
        reset = self._until_freed(used, now) if used else 0.0
        return Left(self.per_minute, self._limit, max(0, int(self._limit - used)), reset)

    @abstractmethod
    def take(self, amount: float, now: float) -> None:
        """Use an amount, even if it is more than is left."""

    @abstractmethod
    def _used(self, now: float) -> float:
        """How much counts as used."""

    @abstractmethod
    def _until_freed(self, amount: float, now: float) -> float:
        """Seconds until this much of what is used no longer counts."""


class TokenBucket(Rate):
    """Refills ``per_minute`` up to ``burst``."""

    def __init__(self, per_minute: int, burst: int, now: float) -> None:
        super().__init__(per_minute, burst)
        self._rate, self._taken, self._at = per_minute / MINUTE, 0.0, now

    def take(self, amount: float, now: float) -> None:
        """See ``Rate.take``."""
        self._taken, self._at = self._used(now) + amount, now

    def _used(self, now: float) -> float:
        return max(0.0, self._taken - self._rate * (now - self._at))

    def _until_freed(self, amount: float, now: float) -> float:
        return amount / self._rate


class Window(Rate):
    """At most ``per_minute`` in any 60 s, or with ``fixed`` in each minute of the clock."""

    def __init__(self, per_minute: int, *, fixed: bool) -> None:
        super().__init__(per_minute, per_minute)
        self._fixed, self._sum = fixed, 0.0
        self._log: deque[tuple[float, float]] = deque()  # when an amount no longer counts, and the amount

    def take(self, amount: float, now: float) -> None:
        """See ``Rate.take``."""
        self._sum += amount
        self._log.append((now + MINUTE - (now % MINUTE if self._fixed else 0), amount))

    def _used(self, now: float) -> float:
        while self._log and self._log[0][0] <= now:
            self._sum -= self._log.popleft()[1]
        return self._sum

    def _until_freed(self, amount: float, now: float) -> float:
        totals = accumulate(taken for _, taken in self._log)
        ends = (end for (end, _), total in zip(self._log, totals, strict=True) if total >= amount)
        return next(ends, now) - now


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one provider; ``None`` is no limit. ``burst`` is the size of the token bucket for requests; if not
    given, a second's worth, but at least ``max_concurrent`` (or 5).
    """

    rpm: int | None = None
    max_concurrent: int | None = None
    tpm: int | None = None
    kind: LimiterKind = "token_bucket"
    burst: int | None = None

    def rates(self) -> dict[Unit, tuple[LimiterKind, int, int]]:
        """The rates that are limited: how, to how much per minute, and the size of the token bucket."""
        bucket = self.burst or max(self.max_concurrent or 5, (self.rpm or 0) // 60)
        limits: dict[Unit, tuple[int | None, int]] = {
            "requests": (self.rpm, bucket),
            "tokens": (self.tpm, self.tpm or 0),
        }
        return {unit: (self.kind, limit, size) for unit, (limit, size) in limits.items() if limit is not None}


class Limiter:
    """The limits of one provider with their current state."""

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits = limits
        self.rates = {unit: _rate(*rate, now) for unit, rate in limits.rates().items()}

    def changed(self, limits: Limits, now: float) -> Limiter:
        """A limiter with new limits; unchanged rates keep their state."""
        changed, was = Limiter(limits, now), self.limits.rates()
        changed.rates |= {unit: self.rates[unit] for unit, rate in limits.rates().items() if was.get(unit) == rate}
        return changed

    def admit(self, tokens: int, now: float, in_flight: int = 0, model: str = "") -> None:
        """Admit a request with this many input tokens, or raise ``Rejected``. A refused request uses nothing."""
        refused = partial(Rejected, kind="rate_limit", model=model)
        most = self.limits.max_concurrent
        if most is not None and in_flight >= most:
            raise refused(unit="concurrent", limit=most, retry_after=1.0)
        amounts: dict[Unit, int] = {"requests": 1, "tokens": tokens}
        for unit, rate in self.rates.items():
            if (wait := rate.wait(amounts[unit], now)) > 0:
                raise refused(unit=unit, limit=rate.per_minute, retry_after=wait)
        for unit, rate in self.rates.items():
            rate.take(amounts[unit], now)

    def spend(self, tokens: int, now: float) -> None:
        """Count tokens that become known later: the output."""
        if "tokens" in self.rates:
            self.rates["tokens"].take(tokens, now)

    def left(self, now: float) -> dict[str, Left]:
        """What is left of ``requests`` and ``tokens``, as far as they are limited."""
        return {unit: rate.left(now) for unit, rate in self.rates.items()}


def _rate(kind: LimiterKind, per_minute: int, bucket: int, now: float) -> Rate:
    if kind == "token_bucket":
        return TokenBucket(per_minute, bucket, now)
    return Window(per_minute, fixed=kind == "fixed_window")
