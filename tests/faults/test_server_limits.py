"""Runs against servers that enforce 600 requests a minute and five at a time, counted in three ways, in real time."""

import threading
from typing import get_args

import httpx
import pytest

import llmkit
from llmkit.simulator.limiter import LimiterKind

MODEL = "openai:gpt-6-luna"
LIMITER = pytest.mark.parametrize("limiter", get_args(LimiterKind))


@pytest.fixture
def burst():
    """A strict server, which allows a second's worth at once."""
    return


@pytest.fixture
def server(catalog, limiter, burst):
    """A server that counts, and a kit whose catalog knows its limits."""
    with llmkit.simulator.serve(rpm=600, max_concurrent=5, limiter=limiter, burst=burst, seed=3) as sim:
        with llmkit.open(catalog, simulate=True) as kit:
            kit.use_simulator(sim)
            kit.catalog.update_provider("openai", max_parallel_requests=5, requests_per_minute=600)
            yield kit, sim


@pytest.mark.parametrize(("limiter", "burst"), [("token_bucket", 20)])
def test_a_server_that_counts_refuses_hardly_anything(server):
    """A run as fast as the server allows, which forgives a stall of a second: at most 1% of the requests are refused.

    Unpaced, they would be here in a second and a half, and some twenty of them refused.
    """
    kit, sim = server
    run = kit.run([f"question {n}" for n in range(50)], MODEL).result(120)
    assert set(run.probes["status"]) == {"ok"}
    assert sim.count("rejected") <= 0.01 * sim.count("requests")
    assert sim.stats()["by_provider"]["openai"]["max_in_flight"] <= 5


@pytest.mark.soak
@LIMITER
def test_what_a_server_allows_is_used(server, limiter):
    """In 60 s at least 97% of what the server allows is used, and at most 1% of the requests are refused."""
    kit, sim = server
    handle = kit.run([f"question {n}" for n in range(2_000)], MODEL)
    assert sim.wait_until(lambda: sim.count("ok") >= 1, timeout=30)
    threading.Event().wait(60)
    handle.cancel(grace=5)
    handle.result(60)
    arrived = sorted(served.at for served in sim.requests if served.status == 200)
    used = sum(at < arrived[0] + 60 for at in arrived)
    refused = sim.count("rejected") / sim.count("requests")
    print({"limiter": limiter, "used": used, "of": 600, "share": used / 600, "refused": refused})
    assert used >= 0.97 * 600
    assert refused <= 0.01


@pytest.mark.soak
@LIMITER
def test_beside_another_client_the_run_completes(server, limiter):
    """While another client uses half of the allowance, all 450 probes are answered, with less than 5% refused."""
    kit, sim = server
    over, theirs = threading.Event(), []

    def other():
        url = f"{sim.url_for('openai')}/chat/completions"
        body = {"model": "gpt-6-luna", "messages": [{"role": "user", "content": "theirs"}]}
        with httpx.Client(headers={"authorization": "Bearer other"}) as client:
            while not over.wait(60 / 300):
                theirs.append(client.post(url, json=body).status_code)

    client = threading.Thread(target=other)
    client.start()
    try:
        run = kit.run([f"question {n}" for n in range(450)], MODEL).result(400)
    finally:
        over.set()
        client.join()
    ours = run.attempts["status_code"]
    refused = (ours == 429).mean()
    seconds = (run.attempts["started_at"].max() - run.attempts["started_at"].min()).total_seconds()
    print({"limiter": limiter, "refused": refused, "attempts": len(ours), "seconds": round(seconds),
           "theirs": len(theirs), "theirs_refused": theirs.count(429)})  # fmt: skip
    assert set(run.probes["status"]) == {"ok"}
    assert refused < 0.05
