"""Limits hold whatever clients do, and say what is left of them."""

import asyncio
from collections import Counter
from typing import get_args

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sim_client import MODELS, ask, request_for

from llmkit.errors import ValidationError
from llmkit.simulator import serve
from llmkit.simulator.limiter import Limiter, LimiterKind, Limits, TokenBucket, Window
from llmkit.simulator.questions import Rejected


def _rush(sim, provider, n):
    """Statuses of n requests at once."""

    async def one(session):
        async with session.post(**request_for(sim, provider)) as response:
            await response.read()
            return response.status

    async def main():
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            return Counter(await asyncio.gather(*(one(session) for _ in range(n))))

    return asyncio.run(main())


@pytest.mark.parametrize("provider", MODELS)
def test_never_more_at_once_than_allowed(provider):
    """Of a rush, as many as may run at once are answered; the others are refused in the provider's own way."""
    with serve(latency=0.3, max_concurrent={provider: 3}) as sim:
        assert _rush(sim, provider, 20) == {200: 3, 429: 17}
        stats = sim.stats()["by_provider"][provider]
        assert (stats["max_in_flight"], stats["ok"], stats["rejected"]) == (3, 3, 17)
        assert ask(sim, provider).status_code == 200


@pytest.mark.parametrize("limiter", get_args(LimiterKind))
def test_never_more_a_minute_than_allowed(limiter):
    """However fast they come, no more are answered than the minute has."""
    with serve(latency=0, rpm=10, burst=10, limiter=limiter) as sim:
        statuses = _rush(sim, "openai", 40)
        # a minute of the clock may end, or a bucket regain one, in the middle of the rush
        assert 10 <= statuses[200] <= (20 if limiter == "fixed_window" else 11)
        assert statuses[200] + statuses[429] == 40
        assert sim.stats()["by_provider"]["openai"]["max_starts_per_minute"] == 40
        assert ask(sim, "xai").status_code == 200


def test_tokens_a_minute_are_limited():
    """Once the minute's tokens are used up, requests are refused for the tokens."""
    with serve(latency=0, tpm=2000) as sim:
        statuses = [ask(sim, prompt="x" * 2000) for _ in range(6)]
        refused = next(each for each in statuses if each.status_code == 429)
        assert statuses[0].status_code == 200
        assert "tokens per min" in refused.json()["error"]["message"]
        assert int(refused.headers["x-ratelimit-remaining-tokens"]) < 510


def test_headers_say_what_is_left():
    """Each provider in its own names; those that say nothing say nothing."""
    with serve(latency=0, rpm=60, tpm=100_000, burst=60) as sim:
        told = {provider: ask(sim, provider).headers for provider in MODELS}
        assert told["openai"]["x-ratelimit-limit-requests"] == "60"
        assert told["openai"]["x-ratelimit-remaining-requests"] == "59"
        assert told["openai"]["x-ratelimit-reset-requests"].endswith("s")
        assert told["anthropic"]["anthropic-ratelimit-requests-remaining"] == "59"
        assert told["anthropic"]["anthropic-ratelimit-requests-reset"].endswith("Z")
        assert told["mistral"]["x-ratelimit-remaining-req-minute"] == "59"
        for silent in ("google", "xai", "deepseek"):
            assert not any("ratelimit" in name for name in told[silent])


def test_a_refusal_says_when_to_come_back():
    """The wait is about what the bucket needs for one more."""
    with serve(latency=0, rpm=12, burst=1) as sim:
        assert ask(sim).status_code == 200
        refused = ask(sim)
        assert refused.status_code == 429
        assert 4000 <= int(refused.headers["retry-after-ms"]) <= 5000
        assert refused.headers["retry-after"] == "5"
        assert "Limit 12" in refused.json()["error"]["message"]


def test_limits_change_while_it_runs():
    """A raised limit lets the next request through; other values are checked first."""
    with serve(latency=0, rpm=1, burst=1) as sim:
        assert [ask(sim).status_code for _ in range(2)] == [200, 429]
        sim.set(rpm=600)
        assert ask(sim).status_code == 200
        for wrong in ({"rpm": 0}, {"max_concurrent": {"xai": -1}}, {"limiter": "leaky"}, {"speed": 3}):
            with pytest.raises(ValidationError):
                sim.set(**wrong)


def test_max_starts_looks_at_any_window():
    """The most requests in any stretch of the given length."""
    with serve(latency=0) as sim:
        for _ in range(5):
            ask(sim)
        assert sim.max_starts("openai") == 5
        assert sim.max_starts("openai", 1e-6) == 1
        assert sim.max_starts("nobody") == 0


STEPS = st.lists(st.tuples(st.floats(0, 20), st.integers(1, 5)), max_size=60)
KINDS = {
    "token_bucket": lambda: TokenBucket(10, 10, 0.0),
    "sliding_window": lambda: Window(10, fixed=False),
    "fixed_window": lambda: Window(10, fixed=True),
}


@pytest.mark.parametrize("kind", get_args(LimiterKind))
@given(steps=STEPS)
def test_rates_hold_for_any_arrivals(kind, steps):
    """Sliding: no 60 s have more than the limit. Fixed: no minute of the clock. Bucket: limit and burst at most."""
    rate, now, taken = KINDS[kind](), 0.0, []
    for pause, amount in steps:
        now += pause
        if rate.wait(amount, now) == 0:
            rate.take(amount, now)
            taken.append((now, amount))
    most = {"token_bucket": 20 + 1e-6, "sliding_window": 10, "fixed_window": 20}[kind]
    for start, _ in taken:
        assert sum(amount for at, amount in taken if start <= at < start + 60) <= most
    if kind == "fixed_window":
        minutes = Counter()
        for at, amount in taken:
            minutes[int(at // 60)] += amount
        assert all(total <= 10 for total in minutes.values())


@pytest.mark.parametrize("kind", get_args(LimiterKind))
@given(steps=STEPS)
def test_the_wait_is_enough_and_needed(kind, steps):
    """After the wait one is let through; a little before, one is not."""
    rate, now = KINDS[kind](), 1_790_000_000.0
    for pause, amount in steps:
        now += pause
        wait = rate.wait(amount, now)
        if wait > 0:
            assert rate.wait(amount, now + wait * 0.9) > 0
            now += wait
            assert rate.wait(amount, now) == 0
        rate.take(amount, now)
        assert 0 <= rate.left(now).remaining <= 10


def test_changing_one_limit_keeps_the_other():
    """What is used up of the requests stays used up when only the tokens change."""
    limiter = Limiter(Limits(rpm=60, burst=2, tpm=1000), 0.0)
    limiter.admit(10, 0.0)
    limiter.admit(10, 0.0)
    changed = limiter.changed(Limits(rpm=60, burst=2, tpm=5000), 0.0)
    with pytest.raises(Rejected) as refused:
        changed.admit(10, 0.0)
    assert refused.value.unit == "requests"
    changed.changed(Limits(rpm=120, burst=2), 0.0).admit(10, 0.0)
