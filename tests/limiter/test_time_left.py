"""Time left: arithmetic over limits, held against providers simulated by the arithmetic that lets requests go."""

import copy
import functools
import heapq

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmkit.limiter.pace import Limits, PaceState, next_start, start
from llmkit.limiter.time_left import Watch, seconds_left

WITHIN = 0.3
BEGIN = 1_000_000.0
STRANGE = st.builds(
    Limits,
    max_parallel=st.integers(1, 12),
    requests_per_minute=st.sampled_from([5, 10, 30, 60, 300, 3000]),
)


def asked(requests, limits, latency, tokens=0):
    """What happens at a provider: ``(time, +1)`` when a request starts and ``(time, -1)`` when it is answered."""
    state, now, flying, events = PaceState(), BEGIN, [], []
    for _ in range(requests):
        while len(flying) >= limits.max_parallel or next_start(state, limits, now, tokens)[0] > 0:
            wait = next_start(state, limits, now, tokens)[0]
            full = len(flying) >= limits.max_parallel
            now = max(now + wait, flying[0] if full else 0.0) + 1e-6
            while flying and flying[0] <= now:
                heapq.heappop(flying)
        state = start(state, limits, now, tokens)
        heapq.heappush(flying, now + latency)
        events += [(now, 1), (now + latency, -1)]
    return sorted(events)


def guesses(requests, limits, latency, tokens=0):
    """``(time left, guess)`` after each answer."""
    events = asked(requests, limits, latency, tokens)
    watch, left, flying, pairs = Watch(BEGIN), requests, 0, []
    for at, change in events:
        flying += change
        if change > 0:
            watch.started(at, limits)
            continue
        left -= 1
        watch.ended(latency, ok=True)
        pairs.append((events[-1][0] - at, watch.left(left, flying, limits, at, tokens=tokens)))
    return pairs


@given(limits=STRANGE, latency=st.floats(0.05, 40), requests=st.integers(20, 300))
@example(limits=Limits(7, 10), latency=26.0, requests=57)  # bursts of 7 and 3 in turn
@example(limits=Limits(10, 60), latency=34.6, requests=140)
def test_time_left_is_near_the_truth_from_a_tenth_on(limits, latency, requests):
    """Whatever holds a provider back, its pace or its answers: within 30%, and at the very end within one answer."""
    pairs = guesses(requests, limits, latency)
    slack = latency + 60 / limits.requests_per_minute
    for true, guess in pairs[requests // 10 :]:
        assert abs(guess - true) <= WITHIN * true + slack, (true, guess)


PROVIDER = st.tuples(STRANGE, st.floats(0.05, 40), st.integers(20, 150))


@settings(max_examples=50)
@given(providers=st.lists(PROVIDER, min_size=6, max_size=6))
@example(providers=[(Limits(7, 10), 26.0, 57), *(5 * [(Limits(5, 300), 2.0, 57)])])
def test_a_run_over_six_providers_takes_as_long_as_the_slowest(providers):
    """From a tenth of the run on, what the panel says is within 30% of the truth, give or take one answer."""
    views = [timeline(requests, limits, latency) for limits, latency, requests in providers]
    end = max(view[-1][0] for view in views)
    slack = max(latency + 60 / limits.requests_per_minute for limits, latency, _ in providers)
    for at in (BEGIN + share * (end - BEGIN) for share in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)):
        seen = (next(left for when, left in reversed(view) if when <= at) for view in views if view[0][0] <= at)
        guess = max((left(at) for left in seen), default=None)
        assert guess is None or abs(guess - (end - at)) <= WITHIN * (end - at) + slack, (guess, end - at)


def timeline(requests, limits, latency):
    """``(time, how long is left as a function of the time)`` after each event at a provider."""
    watch, left, flying, views = Watch(BEGIN), requests, 0, []
    for at, change in asked(requests, limits, latency):
        flying += change
        if change > 0:
            watch.started(at, limits)
        else:
            left -= 1
            watch.ended(latency, ok=True)
        views.append((at, functools.partial(copy.deepcopy(watch).left, left, flying, limits)))
    return views


@given(limits=STRANGE, latency=st.floats(0.05, 40), requests=st.integers(1, 300))
def test_before_the_start_it_is_near_the_truth_too(limits, latency, requests):
    """The forecast needs nothing but the limits and how long an answer takes."""
    truth = asked(requests, limits, latency)[-1][0] - BEGIN
    guess = seconds_left(requests, limits, latency=latency)
    assert abs(guess - truth) <= WITHIN * truth + latency + 60 / limits.requests_per_minute


def test_tokens_per_minute_count():
    """A hundred requests of 1,000 tokens at 10,000 a minute take nine minutes after the first."""
    limits = Limits(5, 1000, 10_000)
    assert seconds_left(100, limits, latency=1, tokens=1000) == pytest.approx(541)
    for true, guess in guesses(100, limits, 1.0, tokens=1000)[10:]:
        assert abs(guess - true) <= WITHIN * true + 2


def test_a_slow_minute_is_not_forty_seconds():
    """38 requests left at 10 a minute are close to four minutes."""
    assert seconds_left(38, Limits(1, 10), latency=0.5, is_rested=False) == pytest.approx(228.5)


def test_a_provider_that_is_stricter_than_its_limits_is_noticed():
    """Once it has refused a request, the pace is measured from there, without the burst that it let through before."""
    limits, watch = Limits(4, 600), Watch(0.0)
    for at in (0.0, 0.1, 0.2, 0.3):
        watch.started(at, limits)
        watch.ended(0.1, ok=True)
    watch.started(0.4, limits)
    watch.ended(0.0, ok=False)
    watch.refused(0.4)
    for at in (2.4, 4.4, 6.4):
        watch.started(at, limits)
        watch.ended(0.1, ok=True)
    assert watch.left(30, 0, limits, 6.4) == pytest.approx(30 * 2 * 8 / 7, rel=0.1)


def test_pauses_are_noticed():
    """Who has not been let through for a minute is slower than the limit allows."""
    limits, watch = Limits(4, 60), Watch(0.0)
    for at in range(4):
        watch.started(float(at), limits)
        watch.ended(1.0, ok=True)
    assert watch.left(40, 0, limits, 100.0) == pytest.approx(39 / (4 / 100) + 1)


def test_nothing_left_takes_no_time():
    """A provider that is done is not waited for."""
    assert seconds_left(0, Limits(1, 1), latency=30) == 0
