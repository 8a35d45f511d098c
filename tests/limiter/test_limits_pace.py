"""When a request may start, without waiting for it: the clock is a number."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.limiter.pace import (
    RATE_LIMITED,
    REQUESTS_LEFT,
    REQUESTS_PER_MINUTE,
    STATE_BYTES,
    TOKENS_LEFT,
    TOKENS_PER_MINUTE,
    TRIAL,
    Limits,
    PaceState,
    headroom,
    healed,
    is_paused,
    next_start,
    observe,
    outcome,
    pause,
    sent,
    settle,
    start,
)
from llmkit.limiter.slots import Share
from llmkit.records import Provider, RateInfo

T0 = 1_800_000_000.0
LIMITS = Limits(5, 600, 10_000)


def started(state, limits, now, tokens=0, count=1):
    """The state after so many starts that all may happen now."""
    for _ in range(count):
        assert next_start(state, limits, now, tokens) == (0.0, "")
        state = start(state, limits, now, tokens)
    return state


def test_a_burst_goes_at_once_and_the_rest_is_paced():
    """The first max_parallel requests start together, the next a pace and the spread of a burst later, then evenly."""
    state = started(PaceState(), LIMITS, T0, count=5)
    wait, reason = next_start(state, LIMITS, T0)
    assert (round(wait, 4), reason) == (0.15, REQUESTS_PER_MINUTE)
    state = started(state, LIMITS, T0 + 0.15)
    assert next_start(state, LIMITS, T0 + 0.15)[0] == pytest.approx(0.1, abs=1e-4)


def test_a_single_lane_is_paced_exactly():
    """With one request at a time there is no burst, and starts are 60 / requests_per_minute seconds apart."""
    limits = Limits(1, 30)
    state = started(PaceState(), limits, T0)
    assert next_start(state, limits, T0)[0] == pytest.approx(2.0, abs=1e-4)


@given(
    parallel=st.integers(1, 8),
    rpm=st.integers(1, 120),
    gaps=st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.02, 0.4, 3.0, 17.0]), min_size=1, max_size=150),
    new_rpm=st.integers(1, 120),
)
def test_no_minute_and_no_burst_holds_more_than_allowed(parallel, rpm, gaps, new_rpm):
    """Whatever comes when, no 60 s hold more starts than allowed, and every stretch at most a burst and its pace."""
    state, now, starts, limits = PaceState(), T0, [], Limits(parallel, rpm)
    for number, gap in enumerate(gaps):
        now += gap
        if number == 2 * len(gaps) // 3:  # an edit in the form
            limits = Limits(parallel, new_rpm)
        while (wait := next_start(state, limits, now)[0]) > 0:
            now += max(wait, 1e-4)
        state = start(state, limits, now)
        starts.append(now)
    most = max(rpm, new_rpm)
    for first, begin in enumerate(starts):
        assert sum(begin <= later < begin + 60 for later in starts[first:]) <= most
        for count, later in enumerate(starts[first:], start=1):
            assert count <= parallel + (later - begin) * most / 60 + 1e-3


@given(st.lists(st.tuples(st.integers(0, 900), st.floats(0, 1)), min_size=1, max_size=60))
def test_no_minute_holds_more_tokens_than_allowed(requests):
    """Reservations and their corrections together never exceed tokens_per_minute in any 60 s."""
    limits, state, now, used = Limits(5, 600, 1000), PaceState(), T0, []
    for estimate, part in requests:
        while (wait := next_start(state, limits, now, estimate)[0]) > 0:
            now += max(wait, 1e-4)
        state = start(state, limits, now, estimate)
        actual = int(estimate * part)
        state = settle(state, now + 0.01, now, estimate, actual)
        used.append((now, actual))
        now += 0.02
    for begin, _ in used:
        assert sum(tokens for when, tokens in used if begin <= when < begin + 60) <= 1000


def test_a_request_above_the_token_limit_goes_alone():
    """A request that could never fit waits until the minute is empty, and then goes."""
    state = started(PaceState(), LIMITS, T0, tokens=10)
    wait, reason = next_start(state, LIMITS, T0 + 1, 50_000)
    assert 59 < wait < 59.8
    assert reason == TOKENS_PER_MINUTE
    assert next_start(state, LIMITS, T0 + 1 + wait, 50_000) == (0.0, "")


def test_unused_tokens_are_given_back():
    """What an answer did not use is free for the next request at once, and what it used too much is taken."""
    state = started(PaceState(), LIMITS, T0, tokens=9_000)
    assert next_start(state, LIMITS, T0 + 1, 2_000)[1] == TOKENS_PER_MINUTE
    assert next_start(settle(state, T0 + 1, T0, 9_000, 100), LIMITS, T0 + 1, 2_000) == (0.0, "")
    assert next_start(settle(state, T0 + 1, T0, 9_000, 10_000), LIMITS, T0 + 1, 1)[1] == TOKENS_PER_MINUTE


def test_a_request_counts_from_when_it_was_sent():
    """A request that was let through and sent three seconds later holds its place in the minute that much longer."""
    limits = Limits(1, 1)
    state = started(PaceState(), limits, T0)
    late = sent(state, T0 + 3, T0, 0)
    assert 60 < next_start(state, limits, T0)[0] < 60.8
    assert 60 < next_start(late, limits, T0 + 3)[0] < 60.8


def test_settling_what_is_forgotten_changes_nothing():
    """An answer that took longer than the memory of the pace is not booked into another moment."""
    state = started(PaceState(), LIMITS, T0, tokens=100)
    assert settle(state, T0 + 300, T0, 100, 5_000) == state


def test_a_pause_holds_everything_and_cannot_be_restarted():
    """Nothing starts in a pause; a second pause while it lasts neither restarts nor extends the clock."""
    state = pause(PaceState(), T0, 30.0)
    assert pause(state, T0 + 20, 60.0) is state
    assert is_paused(state, T0 + 29.9)
    assert next_start(state, LIMITS, T0 + 10) == (20.0, RATE_LIMITED)
    assert next_start(state, LIMITS, T0 + 30) == (0.0, "")


def test_after_a_pause_one_goes_first():
    """When the pause is over one request goes; the others wait until it was served, and then there is no burst."""
    state = started(pause(PaceState(), T0, 30.0), LIMITS, T0 + 30)
    assert next_start(state, LIMITS, T0 + 31)[1] == TRIAL
    served = outcome(state, T0 + 31, True, T0 + 30)
    served = started(served, LIMITS, T0 + 31)
    while (wait := next_start(served, LIMITS, T0 + 31)[0]) == 0:
        served = start(served, LIMITS, T0 + 31)
    assert 0 < wait < 0.5


@pytest.mark.parametrize("ok", [None, False])
def test_a_trial_that_was_not_served_is_followed_by_another(ok):
    """When the one that went first brought no answer, again one goes first; a refusal holds it for the next pause."""
    state = outcome(started(pause(PaceState(), T0, 30.0), LIMITS, T0 + 30), T0 + 31, ok, T0 + 30)
    assert is_paused(state, T0 + 31) == (ok is False)
    if ok is False:
        state = pause(state, T0 + 31.01, 60.0)
        assert state.pause_until == T0 + 91.01
    later = max(state.pause_until, T0 + 31)
    state = started(state, LIMITS, later)
    assert next_start(state, LIMITS, later + 1)[1] == TRIAL


def test_an_answer_from_before_the_pause_does_not_end_the_trial():
    """Requests that were under way when the pause began say nothing about the one that went first after it."""
    state = started(PaceState(), LIMITS, T0, count=2)
    state = started(pause(state, T0 + 1, 5.0), LIMITS, T0 + 6)
    assert outcome(state, T0 + 6.5, True, T0) is state


def test_a_trial_that_never_reports_is_given_up():
    """When the process that sent it was killed, another request goes first after the timeout."""
    state = started(pause(PaceState(), T0, 5.0), LIMITS, T0 + 5)
    wait, reason = next_start(state, LIMITS, T0 + 6)
    assert reason == TRIAL
    state = started(state, LIMITS, T0 + 6 + wait)
    assert next_start(state, LIMITS, T0 + 7 + wait)[1] == TRIAL


def test_each_pause_lowers_the_pace_and_time_brings_it_back():
    """After a pause starts are further apart; a minute later they are as before."""
    open_again = outcome(start(pause(PaceState(), T0, 1.0), LIMITS, T0 + 1), T0 + 1, True, T0 + 1)
    assert next_start(open_again, LIMITS, T0 + 1)[0] == pytest.approx(0.1 / 0.7, rel=0.01)
    state = started(open_again, LIMITS, T0 + 90, count=5)
    assert next_start(state, LIMITS, T0 + 90)[0] == pytest.approx(0.15, abs=0.01)


@pytest.mark.parametrize("seconds", [-5.0, 0.0, math.inf, 1e12])
def test_absurd_pauses_are_bounded(seconds):
    """No server can stop us for ever, or into the past."""
    state = pause(PaceState(), T0, seconds)
    assert T0 <= state.pause_until <= T0 + 86_400


def test_a_state_from_the_future_is_forgotten():
    """After the clock was set back, a state written later than now would stop everything; it is dropped."""
    state = pause(started(PaceState(), LIMITS, T0 + 7200, count=5), T0 + 7200, 60)
    assert healed(state, T0) == PaceState()
    assert healed(state, T0 + 7201) is state


@given(data=st.binary(max_size=80))
def test_anything_can_be_read_from_the_file(data):
    """A torn or foreign file is a fresh state, never an error."""
    assert isinstance(PaceState.from_bytes(data), PaceState)


@given(data=st.binary(min_size=STATE_BYTES, max_size=STATE_BYTES), kept=st.integers(0, STATE_BYTES))
def test_nothing_that_was_not_written_is_believed(data, kept):
    """Whatever a file holds instead, such as moments in a thousand years, is no state; what was written is one."""
    info = RateInfo(requests_limit=9, requests_remaining=0)
    state = observe(started(PaceState(), LIMITS, T0, 77, count=3), info, T0, sent_at=T0)
    sound = state.to_bytes()
    assert PaceState.from_bytes(sound + data) == state
    damaged = sound[:kept] + data[kept:]
    assert PaceState.from_bytes(damaged) == (state if damaged == sound else PaceState())


@pytest.mark.parametrize("reset", [None, -5.0, 0.0, 59.0, 3600.0, 1e9, 1e308])
def test_what_headers_ask_for_lasts_a_minute_at_most(reset):
    """A limit is one of a minute: after that one request asks anew, whatever the header meant."""
    info = RateInfo(requests_limit=9, requests_remaining=0, requests_reset=reset, tokens_limit=9, tokens_remaining=0)
    seen = observe(PaceState(), info, T0, sent_at=T0).seen
    assert headroom(seen, T0)[0] <= 60
    assert headroom(seen, T0 + 60)[0] == 0


def test_the_state_survives_the_file():
    """What is written is read back to the last digit, headers and trials included."""
    state = started(PaceState(), LIMITS, T0 + 0.123456789, 77, count=3)
    state = observe(
        state,
        RateInfo(requests_limit=600, requests_remaining=5, requests_reset=59.5, tokens_limit=9, tokens_remaining=1),
        T0 + 1,
        sent_at=T0 + 1,
    )
    shares = (Share(4, T0, T0 - 1), Share(), Share(0, 0.0, T0 + 2))
    state = start(pause(state, T0 + 2, 3.0), LIMITS, T0 + 5)._replace(shares=shares)
    assert PaceState.from_bytes(state.to_bytes()) == state
    torn = state.to_bytes()[:-20]
    assert PaceState.from_bytes(torn) == PaceState()


def test_nought_counts_as_one():
    """A limit of 0 in a catalog must not stop a run for ever."""
    provider = Provider(
        name="p",
        display_name="P",
        wire="openai_chat",
        base_url="http://localhost",
        max_parallel_requests=0,
        requests_per_minute=0,
        tokens_per_minute=0,
    )
    assert Limits.of(provider) == Limits(1, 1, 1)


def test_headers_slow_what_they_are_about():
    """When the headers say that nothing is left, the next request waits for it, and no longer."""
    info = RateInfo(requests_limit=60, requests_remaining=0, requests_reset=12.0)
    state = observe(PaceState(), info, T0 + 0.1, sent_at=T0 + 0.1)
    state = start(state, None, T0 + 0.2)
    wait, reason = headroom(state.seen, T0 + 0.2)
    assert (wait > 5, reason) == (True, REQUESTS_LEFT)
    assert headroom(state.seen, T0 + 13) == (0.0, "")


def test_tokens_that_are_left_are_used():
    """A request goes when the tokens that are left are enough for it, and else waits for more."""
    info = RateInfo(tokens_limit=1000, tokens_remaining=10, tokens_reset=30.0)
    state = observe(PaceState(), info, T0, sent_at=T0)
    wait, reason = headroom(state.seen, T0, tokens=500)
    assert (0 < wait <= 30, reason) == (True, TOKENS_LEFT)
    assert headroom(state.seen, T0, tokens=5) == (0.0, "")


def test_headers_that_say_nothing_change_nothing():
    """Without numbers there is nothing to learn."""
    state = started(PaceState(), LIMITS, T0)
    assert observe(state, RateInfo(), T0 + 1, sent_at=T0 + 1) is state


def test_what_is_under_way_is_not_counted_twice():
    """Requests sent after the one that was answered will use up what its headers say is left."""
    info = RateInfo(requests_limit=100, requests_remaining=3, requests_reset=30.0)
    two_left = observe(PaceState(), info, T0 + 1, sent_at=T0, since=1)
    none_left = observe(PaceState(), info, T0 + 1, sent_at=T0, since=3)
    assert headroom(two_left.seen, T0 + 20) == (0.0, "")
    assert headroom(none_left.seen, T0 + 20) == (11.0, REQUESTS_LEFT)
