"""Providers as pure state machines: they count requests as real ones do, and say in headers what is left."""

from __future__ import annotations

import heapq
import random
from collections import deque
from dataclasses import dataclass, field

from llmkit.limiter.pace import Limits, PaceState, headroom, next_start, observe, outcome, pause, start
from llmkit.records import RateInfo


@dataclass
class TokenBucket:
    """Refills ``limit`` a minute up to ``capacity``; the reset is when the bucket will be full."""

    limit: int
    capacity: float
    tokens: float = -1.0
    at: float = 0.0

    def __post_init__(self) -> None:
        self.tokens = self.capacity

    def take(self, now: float) -> tuple[bool, RateInfo, float]:
        """Count a request: whether it is served, the headers, and seconds until the next one may be."""
        rate = self.limit / 60
        self.tokens = min(self.capacity, self.tokens + rate * (now - self.at))
        self.at = now
        ok = self.tokens >= 1
        self.tokens -= ok
        reset = (self.capacity - self.tokens) / rate
        info = RateInfo(requests_limit=int(self.capacity), requests_remaining=int(self.tokens), requests_reset=reset)
        return ok, info, (1 - self.tokens) / rate


@dataclass
class SlidingWindow:
    """At most ``limit`` in the last 60 s; the reset is the next expiry, or when all has expired (``whole``)."""

    limit: int
    whole: bool = False
    log: deque[float] = field(default_factory=deque)

    def take(self, now: float) -> tuple[bool, RateInfo, float]:
        """Count a request: whether it is served, the headers, and seconds until the next one may be."""
        while self.log and self.log[0] <= now - 60:
            self.log.popleft()
        ok = len(self.log) < self.limit
        if ok:
            self.log.append(now)
        reset = self.log[-1 if self.whole else 0] + 60 - now
        left = self.limit - len(self.log)
        info = RateInfo(requests_limit=self.limit, requests_remaining=left, requests_reset=reset)
        return ok, info, self.log[0] + 60 - now


@dataclass
class FixedWindow:
    """At most ``limit`` in each minute of the clock."""

    limit: int
    count: int = 0
    window: int = -1

    def take(self, now: float) -> tuple[bool, RateInfo, float]:
        """Count a request: whether it is served, the headers, and seconds until the next one may be."""
        if int(now // 60) != self.window:
            self.window, self.count = int(now // 60), 0
        ok = self.count < self.limit
        self.count += ok
        reset = 60 - now % 60
        info = RateInfo(requests_limit=self.limit, requests_remaining=self.limit - self.count, requests_reset=reset)
        return ok, info, reset


Server = TokenBucket | SlidingWindow | FixedWindow


@dataclass
class Outcome:
    served: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)

    def share_refused(self) -> float:
        """The part of our requests that was answered 429."""
        return len(self.refused) / max(1, len(self.served) + len(self.refused))


def simulate(
    server: Server,
    limits: Limits,
    *,
    seconds: float,
    others_per_minute: float = 0.0,
    jitter: float = 0.03,
    latency: float = 0.25,
    headers: bool = True,
    begin: float = 1_000_017.0,
    seed: int = 0,
) -> Outcome:
    """A client with always something to ask, against a server that another client may use too, on a clock of events."""
    rng = random.Random(seed)
    events: list[tuple[float, int, str, float, object]] = []
    state, result = PaceState(), Outcome()
    in_flight: list[float] = []
    ticket = 0

    def at(when: float, what: str, started: float = 0.0, extra: object = None) -> None:
        nonlocal ticket
        ticket += 1
        heapq.heappush(events, (when, ticket, what, started, extra))

    at(begin, "wake")
    if others_per_minute:
        at(begin + rng.random(), "other")
    waking = begin
    while events and events[0][0] < begin + seconds:
        now, _, what, started, extra = heapq.heappop(events)
        if what == "other":
            server.take(now)
            at(now + rng.expovariate(others_per_minute / 60), "other")
        elif what == "arrive":
            ok, info, retry_after = server.take(now)
            (result.served if ok else result.refused).append(now)
            at(now + (latency * rng.uniform(0.6, 1.4) if ok else 0.01), "answer", started, (ok, info, retry_after))
        elif what == "answer":
            ok, info, retry_after = extra
            if headers:
                since = sum(other > started for other in in_flight)
                state = observe(state, info, now, sent_at=started, since=since)
            if not ok:
                state = pause(state, now, max(retry_after, 0.0))
            state = outcome(state, now, ok, started)
            in_flight.remove(started)
        if what == "wake" and now < waking:
            continue
        while len(in_flight) < limits.max_parallel:
            wait = max(next_start(state, limits, now)[0], headroom(state.seen, now)[0])
            if wait > 0:
                waking = now + max(wait, 0.0005)  # timers are no finer
                at(waking, "wake")
                break
            state = start(state, limits, now)
            in_flight.append(now)
            result.starts.append(now)
            at(now + rng.uniform(0, jitter), "arrive", now)
    return result
