"""Two members at one provider: each takes its portion of the limits, and the server sees one client that keeps them."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from waiting import until

import llmkit
from llmkit.limiter import Use, portion

MODEL = "openai:gpt-6-luna"
USES = st.builds(Use, st.integers(0, 5), st.integers(0, 5))


@given(st.integers(1, 20), st.lists(USES, max_size=4), st.integers(0, 10_000))
def test_portions_never_exceed_what_is_left(limit, uses, now):
    """Whatever others still have, nobody gets more than the rest, nor more than an equal part."""
    others = {f"other{number}": use for number, use in enumerate(uses)}
    slots = portion(limit, "me", others, now)
    assert 0 <= slots <= max(0, limit - sum(max(use) for use in others.values()))
    assert slots <= -(-limit // (len(others) + 1))


@given(st.integers(1, 20), st.integers(1, 6))
def test_portions_use_the_whole_limit_and_leave_nobody_out(limit, count):
    """Together they are the limit; with fewer requests at a time than members, everybody has a turn."""
    names = [f"member{number}" for number in range(count)]
    turns = [
        [portion(limit, name, {other: Use() for other in names if other != name}, now * 10.0) for name in names]
        for now in range(count)
    ]
    assert all(sum(turn) == limit for turn in turns)
    assert all(any(turn[place] for turn in turns) for place in range(count))


@given(st.integers(1, 6), st.integers(0, 14), st.integers(0, 10_000))
def test_portions_stay_as_they_are_while_each_has_one(count, more, now):
    """A portion that changed to and fro would leave a part of the limit unused: the minute before counts for both."""
    others = {f"other{number}": Use() for number in range(count - 1)}
    assert portion(count + more, "me", others, now) == portion(count + more, "me", others, 0)


def opened(member, sim, **limits):
    """Two members of one machine each, whose provider has these limits."""
    kits = [member("anna"), member("ben")]
    for kit in kits:
        kit.use_simulator(sim)
    kits[0].catalog.update_provider("openai", **limits)
    assert until(lambda: all(kit.catalog.provider("openai").requests_per_minute == 600 for kit in kits))
    return kits


def ask(kits, sim, prompts, seconds=None):
    """Have all ask at once, for some time or to the end; how many answers came, and how many requests were refused."""
    handles = [kit.run([f"{number} {n}" for n in range(prompts)], MODEL) for number, kit in enumerate(kits)]
    assert sim.wait_until(lambda: sim.count("ok") >= 1, 60)
    if seconds:
        threading.Event().wait(seconds)
        for handle in handles:
            handle.cancel(grace=5)
    for handle in handles:
        handle.result(200)
    return sorted(served.at for served in sim.requests if served.status == 200)


def test_two_members_keep_one_limit(member):
    """As fast as a server allows that forgives a stall of a second and a half: both have their part, hardly anything is
    refused, never too many at once. Each with the whole limit, a third would be refused.
    """
    with llmkit.simulator.serve(rpm=600, burst=25, max_concurrent=10, limiter="token_bucket", seed=3) as sim:
        kits = opened(member, sim, max_parallel_requests=10, requests_per_minute=600)
        ask(kits, sim, 60)
        assert sim.count("ok") == 120
        assert sim.count("rejected") <= 0.01 * sim.count("requests")
        assert sim.stats()["by_provider"]["openai"]["max_in_flight"] <= 10


def test_one_request_at_a_time_goes_round(member):
    """Where there is one at a time for two members, the other one waits, and both come to their end."""
    with llmkit.simulator.serve(latency=0.05, max_concurrent=1, seed=3) as sim:
        kits = opened(member, sim, max_parallel_requests=1, requests_per_minute=600)
        ask(kits, sim, 8)
        assert (sim.count("ok"), sim.count("rejected")) == (16, 0)
        assert sim.stats()["by_provider"]["openai"]["max_in_flight"] == 1


def test_who_is_gone_leaves_all_of_it_to_the_others(member, sim):
    """A member alone has the whole limit again when the other one has left."""
    kits = opened(member, sim, max_parallel_requests=10, requests_per_minute=600)
    sim.set(latency=3)  # whoever comes first has all of it, until its requests are answered
    handles = [kit.run([f"{number} {n}" for n in range(400)], MODEL) for number, kit in enumerate(kits)]
    assert until(lambda: [kit._gate.queue("openai").limits.max_parallel for kit in kits] == [5, 5])
    assert sim.wait_until(lambda: sim.count("in_flight") == 10, 60)
    handles[1].cancel(grace=0)
    handles[1].wait()
    kits[1].close()
    assert until(lambda: kits[0]._gate.queue("openai").limits.max_parallel == 10)
    handles[0].cancel(grace=0)
    handles[0].wait()


@pytest.mark.soak
@pytest.mark.parametrize("limiter", ["token_bucket", "sliding_window"])
def test_two_members_use_what_a_server_allows(member, limiter):
    """In 60 s at least 85% of what the server allows is used, and at most 1% of the requests are refused."""
    with llmkit.simulator.serve(rpm=600, max_concurrent=10, limiter=limiter, seed=3) as sim:
        kits = opened(member, sim, max_parallel_requests=10, requests_per_minute=600)
        arrived = ask(kits, sim, 2_000, 65)
        used = sum(at < arrived[0] + 60 for at in arrived)
        refused = sim.count("rejected") / sim.count("requests")
        most = sim.stats()["by_provider"]["openai"]["max_in_flight"]
        print({"limiter": limiter, "used": used, "of": 600, "refused": refused, "max_in_flight": most})
        assert used >= 0.85 * 600
        assert refused <= 0.01
        assert most <= 10
