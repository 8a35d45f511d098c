"""Forecast how long the remaining requests to a provider will take, from its limits and its latency. Pure."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from llmkit.limiter.minute import MINUTE
from llmkit.limiter.pace import Limits

_FEW = 20  # starts by which the actual pace is measured, if a minute has fewer
_BURSTS = 3  # or this many bursts, if they are more


def seconds_left(
    to_start: float,
    limits: Limits,
    *,
    latency: float,
    in_flight: int = 0,
    is_rested: bool = True,
    tokens: float = 0.0,
    starts_per_second: float | None = None,
    ages: Sequence[float] = (),
) -> float:
    """Seconds until ``to_start`` more requests, and those in flight, are answered.

    ``latency`` is the mean duration of an answer (s), ``tokens`` the mean tokens of a request. ``is_rested``: as many
    as may run in parallel start at once. ``starts_per_second`` is the recent pace, which reflects pauses and other
    users of the limits; ``ages`` is how long ago the latest requests started (s), the latest last.
    """
    at_once = limits.max_parallel if is_rested else 0
    waits = [
        max(0.0, to_start - at_once) * MINUTE / limits.requests_per_minute,
        _until_minute_has_room(math.ceil(to_start), limits.requests_per_minute, ages),
    ]
    if limits.tokens_per_minute is not None and tokens:
        per_minute = max(1, int(limits.tokens_per_minute / tokens))
        waits.append(_until_minute_has_room(math.ceil(to_start), per_minute, ages))
        if starts_per_second and starts_per_second * MINUTE > per_minute / 2:
            starts_per_second = None  # a minute's tokens are used up in a burst, and the rest that follows is no pace
    if starts_per_second:
        since = ages[-1] if ages else 0.0
        waits.append(max(0.0, to_start - 1) / starts_per_second + max(0.0, 1 / starts_per_second - since))
    rounds = to_start / limits.max_parallel
    rounds = rounds + 0.5 if in_flight else math.ceil(rounds)
    last = latency if to_start else latency / 2
    return max(max(waits) + last, rounds * latency) if to_start or in_flight else 0.0


def _until_minute_has_room(to_start: int, per_minute: int, ages: Sequence[float]) -> float:
    """Seconds until the last of them may start, if no minute may contain more than ``per_minute``."""
    if to_start < 1:
        return 0.0
    minutes, place = divmod(to_start - 1, per_minute)
    before = per_minute - place
    return MINUTE * minutes + (max(0.0, MINUTE - ages[-before]) if before <= len(ages) else 0.0)


class Watch:
    """Observations of the requests to one provider: starts and outcomes, with times (s)."""

    def __init__(self, since: float) -> None:
        self._starts: deque[float] = deque()
        self._since = since
        self._refused_at = 0.0
        self._begun = self._ended = self._failed = 0
        self._seconds = 0.0

    def started(self, at: float, limits: Limits) -> None:
        """Record that a request was sent."""
        self._begun += 1
        self._starts.append(at)
        while len(self._starts) > max(_FEW, _BURSTS * limits.max_parallel) and self._starts[0] < at - MINUTE:
            self._since = self._starts.popleft()

    def refused(self, at: float) -> None:
        """Record that the provider's own limit was reached: before that, its pace was that of a rested provider."""
        self._refused_at = self._refused_at or at

    def ended(self, seconds: float, *, ok: bool) -> None:
        """Record that a request was answered, or failed, after ``seconds``."""
        self._ended += 1
        self._failed += not ok
        self._seconds += seconds

    def left(self, requests: float, in_flight: int, limits: Limits, now: float, *, tokens: float = 0.0) -> float:
        """Seconds until ``requests`` more are answered, including expected retries."""
        answered = self._begun - self._failed
        again = self._begun / answered if answered > 0 else 1.0
        return seconds_left(
            max(0.0, requests - in_flight) * again,
            limits,
            latency=self._seconds / self._ended if self._ended else max(0.0, now - self._since),
            in_flight=in_flight,
            is_rested=not self._begun,
            tokens=tokens,
            starts_per_second=self._pace(limits, now),
            ages=[now - at for at in tuple(self._starts)],
        )

    def _pace(self, limits: Limits, now: float) -> float | None:
        """Starts per second. The burst that precedes the window of observation counts too."""
        if now > self._refused_at > self._since:
            return sum(at > self._refused_at for at in self._starts) / (now - self._refused_at)
        before = limits.max_parallel if self._begun > len(self._starts) else 0
        return (len(self._starts) + before) / (now - self._since) if self._starts and now > self._since else None
