"""What a run does when the provider says that it is too much: one waits for all, one goes first, and rows say so."""

import math
import time

import pandas as pd
import pytest
from waiting import until

import llmkit
from llmkit.limiter.pace import TRIAL
from llmkit.providers.transport import RetryPolicy
from llmkit.simulator import Fault

MODEL, OTHER = "openai:gpt-6-luna", "mistral:mistral-small-2603"
PAUSED = "rate limited by the provider"


def test_after_a_refusal_300_probes_send_one_request(kit, sim):
    """All 300 are refused at once; when the pause is over one request goes, and the others wait for its answer."""
    kit.catalog.update_provider("openai", max_parallel_requests=300)
    sim.set(latency=math.inf)
    refused = Fault(kind="rate_limit", retry_after=1.0)
    sim.script("openai", [refused] * 300)
    handle = kit.run([f"question {n}" for n in range(300)], MODEL)
    assert sim.wait_until(lambda: sim.count("in_flight") == 300, timeout=60)
    arrived = time.time()
    sim.set(latency=lambda request: 0 if request.at < arrived else math.inf)
    assert sim.wait_until(lambda: sim.count("requests") > 300, timeout=60)
    assert until(lambda: TRIAL in handle.progress.waiting.get("openai", ""))
    assert (sim.count("rejected"), sim.count("requests")) == (300, 301)
    sim.set(latency=0)
    run = handle.result(120)
    assert set(run.probes["status"]) == {"ok"}
    assert sim.count("rejected") == 300


def test_a_provider_that_asks_for_hours_is_not_asked_on(kit, sim):
    """One request is refused; the other probes are skipped with the wait that was asked for, and resume asks all."""
    kit.catalog.update_provider("openai", max_parallel_requests=1, requests_per_minute=10_000)
    sim.script("openai", [Fault(kind="rate_limit", retry_after=7201.0)])
    run = kit.run([f"question {n}" for n in range(20)], [MODEL, OTHER]).result(60)
    openai = run.probes[run.probes["provider"] == "openai"]
    assert openai["status"].value_counts().to_dict() == {"failed": 1, "skipped": 19}
    assert set(openai["error_code"]) == {"RATE_LIMITED"}
    assert openai["error_message"].str.contains("asks to wait 121 minutes").all()
    assert set(run.probes.loc[run.probes["provider"] != "openai", "status"]) == {"ok"}
    assert sim.count("rejected") == 1
    assert set(kit.resume(run.id).result(60).probes["status"]) == {"ok"}


def test_the_schedule_of_waits_is_in_the_attempts(kit, sim):
    """Each attempt says how long it waited and what for; after the last retry the row is failed, and may be resumed."""
    sim.script("mistral", [Fault(kind="rate_limit", retry_after=None)] * 5)
    waits, announced = (0.2, 0.3, 0.4, 0.5), []

    def listen(event):
        if event.kind == "waiting":
            announced.append(event.seconds)

    run = kit.run("a question", OTHER, retry=RetryPolicy(rate_limit_waits=waits), on_event=listen).result(60)
    attempts = run.attempts
    assert announced == list(waits)
    assert attempts["error_code"].tolist() == ["RATE_LIMITED"] * 5
    assert attempts["status_code"].tolist() == [429] * 5
    assert attempts["wait_reason"].tolist()[1:] == [PAUSED] * 4
    assert attempts["waited_s"].iloc[1:].gt(0).all()
    answered = attempts["started_at"] + pd.to_timedelta(attempts["latency_s"], unit="s")
    between = (attempts["started_at"] - answered.shift(1)).dt.total_seconds().iloc[1:]
    assert all(pause >= wait - 0.001 for pause, wait in zip(between, waits, strict=True))
    probe = run.probes.iloc[0]
    assert (probe["status"], probe["error_code"], probe["retryable"]) == ("failed", "RATE_LIMITED", True)
    assert probe["attempts"] == 5
    assert probe["estimated_cost"] == 0
    assert sim.count("requests") == 5
    resumed = kit.resume(run.id).result(60)
    assert resumed.probes["status"].tolist() == ["ok"]
    assert resumed.probes["attempts"].tolist() == [6]


def test_one_refusal_pauses_its_provider_for_all_and_no_other(kit, sim):
    """Other runs of that provider wait as well; other providers go on meanwhile."""
    sim.set(latency=0)
    sim.script("openai", [Fault(kind="rate_limit", retry_after=60.0)])
    first = kit.run("a question", MODEL, retry=RetryPolicy(scale=1 / 60))
    assert sim.wait_until(lambda: sim.count("rejected") == 1, timeout=60)
    second = kit.run(["one", "two"], [MODEL, OTHER])
    first, second = first.result(60), second.result(60)
    assert set(second.probes["status"]) == set(first.probes["status"]) == {"ok"}
    models = second.probes.set_index("probe_id")["model"]
    reasons = second.attempts["wait_reason"].groupby(second.attempts["probe_id"].map(models)).agg(set)
    assert PAUSED in reasons[MODEL]
    assert PAUSED not in reasons[OTHER]


@pytest.mark.parametrize(("fault", "code"), [("overloaded", "OVERLOADED"), ("server_error", "SERVER_ERROR")])
def test_what_a_server_cannot_do_now_is_asked_again(kit, sim, fault, code):
    """Two broken answers and then a good one: the row is ok, and shows three attempts."""
    sim.script("openai", [fault, fault])
    run = kit.run("a question", MODEL, retry=RetryPolicy.fast()).result(60)
    assert run.attempts["error_code"].fillna("").tolist() == [code, code, ""]
    assert run.probes["status"].tolist() == ["ok"]


def test_progress_says_what_a_provider_waits_for(kit, sim):
    """While the provider is paused, the handle says so in words."""
    sim.script("openai", [Fault(kind="rate_limit", retry_after=30.0)])
    handle = kit.run("a question", MODEL)
    assert sim.wait_until(lambda: sim.count("rejected") == 1, timeout=60)
    events = []
    handle.listen(events.append)
    assert until(lambda: PAUSED in handle.progress.waiting.get("openai", ""))
    handle.cancel(grace=0)
    assert handle.result(60).status == "cancelled"
    assert isinstance(events[-1], llmkit.RunEvent)
