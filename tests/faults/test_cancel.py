"""Stopping a run: what is on its way may arrive, what does not is marked, and the rest can be asked later."""

import math
import re
import threading
from collections import Counter

import pytest
from waiting import until

import llmkit
from llmkit.runs import background

MODEL = "openai:gpt-6-luna"


def running(kit, sim, prompts=20, model=MODEL, **options):
    """A run with five requests on their way, which are held."""
    sim.set(latency=math.inf)
    handle = kit.run([f"question {n}" for n in range(prompts)], model, **options)
    assert sim.wait_until(lambda: sim.count("in_flight") == 5, timeout=60)
    return handle


def test_answers_on_their_way_arrive_within_the_grace(kit, sim):
    """Five are on their way: they are saved as ok, everything else is cancelled, and resume asks only that."""
    handle = running(kit, sim)
    handle.cancel(grace=60)
    sim.set(latency=0)
    run = handle.result(60)
    assert run.status == handle.status == "cancelled"
    assert Counter(run.probes["status"]) == {"ok": 5, "cancelled": 15}
    assert set(run.probes.loc[run.probes["status"] == "cancelled", "error_code"]) == {"CANCELLED"}
    assert run.probes.loc[run.probes["status"] == "cancelled", "retryable"].all()
    assert sim.count("requests") == 5
    resumed = kit.resume(run.id).result(60)
    assert Counter(resumed.probes["status"]) == {"ok": 20}
    assert resumed.status == "completed"
    assert sim.count("requests") == 20


def test_after_the_grace_requests_are_cut_and_may_have_been_billed(kit, sim):
    """What has not arrived is cut at once; its attempts say that they may have been billed."""
    handle = running(kit, sim)
    handle.cancel(grace=0)
    run = handle.result(60)
    assert run.status == "cancelled"
    assert int(run.attempts["maybe_billed"].sum()) == len(run.attempts) == 5
    assert set(run.attempts["error_code"]) == {"CANCELLED"}
    assert Counter(run.probes["status"])["ok"] == 0
    assert set(run.probes["status"]) <= {"cancelled", "failed"}
    assert run.costs()["maybe_billed"].tolist() == [5]
    sim.set(latency=0)
    resumed = kit.resume(run.id).result(60)
    assert Counter(resumed.probes["status"]) == {"ok": 20}
    assert int(resumed.attempts["maybe_billed"].sum()) == 5
    assert repr(resumed).endswith(" and 5 unpriced>")
    assert re.search(r"Cost: \S+, and up to \S+ for 5 requests whose outcome is unknown\.", resumed.report())


def test_requests_to_a_free_model_that_are_cut_were_not_billed(kit, sim):
    """Neither their rows nor their messages say that they may have been."""
    kit.catalog.add_model("openai:free", cost_input_per_million=0, cost_output_per_million=0)
    handle = running(kit, sim, model="openai:free")
    handle.cancel(grace=0)
    attempts = handle.result(60).attempts
    assert not attempts["maybe_billed"].any()
    assert set(attempts["error_message"]) == {"The run was cancelled while this request was in flight."}


def test_a_run_that_has_ended_keeps_the_process_no_longer(kit, sim):
    """What cuts off late answers ends with the run, not after the grace: the background thread can stop at once."""
    handle = running(kit, sim)
    handle.cancel(grace=3_600)
    sim.set(latency=0)
    assert handle.result(60).status == "cancelled"
    kit.close()
    background.stop()
    for thread in threading.enumerate():
        if thread.name == "llmkit-runs":
            thread.join(60)
            assert not thread.is_alive()


def test_cancelling_twice_or_too_late_does_no_harm(kit, sim):
    """A second cancel may shorten the grace; one after the end changes nothing."""
    handle = running(kit, sim)
    handle.cancel(grace=300)
    handle.cancel(grace=0)
    run = handle.result(60)
    assert run.status == "cancelled"
    handle.cancel()
    sim.set(latency=0)
    finished = kit.run("a question", MODEL)
    assert finished.result(60).status == "completed"
    finished.cancel()
    finished.cancel(grace=0)
    assert finished.status == finished.result().status == "completed"
    assert kit.load(run.id).status == "cancelled"


def test_a_run_that_got_all_its_answers_within_the_grace_is_completed(kit, sim):
    """Cancelled while its last requests were on their way, it has nothing left to resume."""
    handle = running(kit, sim, prompts=5)
    handle.cancel(grace=60)
    sim.set(latency=0)
    run = handle.result(60)
    assert (run.status, Counter(run.probes["status"])) == ("completed", {"ok": 5})


def test_a_run_whose_last_requests_are_cut_is_cancelled(kit, sim):
    """None was left to ask, but what was cut has no answer."""
    handle = running(kit, sim, prompts=5)
    handle.cancel(grace=0)
    assert handle.result(60).status == "cancelled"


def test_conversations_go_on_at_the_turn_that_they_had_reached(kit, sim):
    """Cancelled between its turns, a conversation is resumed with the turns that are missing, and no other is sent."""
    handle = running(kit, sim, prompts=5, followups=["why?", "really?"])
    sim.set(latency=lambda received: math.inf if received.turn == "2" else 0.0)
    assert sim.wait_until(lambda: sim.count("billed") == sim.count("in_flight") == 5, timeout=60)
    handle.cancel(grace=60)
    sim.set(latency=0)
    run = handle.result(60)
    turns = Counter(run.turns["turn"])
    assert turns == {1: 5, 2: 5}
    before = {probe: list(seen) for probe, seen in sim.stats()["billed_by_probe"].items()}
    resumed = kit.resume(run.id).result(60)
    assert Counter(resumed.turns["turn"]) == {1: 5, 2: 5, 3: 5}
    for probe, seen in sim.stats()["billed_by_probe"].items():
        assert sorted(seen) == ["1", "2", "3"], (probe, before[probe], seen)
    last = max((request for request in sim.requests if request.turn == "3"), key=lambda request: request.at)
    said = [message["content"] for message in last.body["messages"] if message["role"] == "assistant"]
    assert said == resumed.turns.loc[resumed.turns["probe_id"] == last.probe, "response"].tolist()[:2]


def test_a_cancelled_wait_is_over_at_once(kit, sim):
    """While the provider is paused for an hour, cancelling ends the run without waiting for anything."""
    sim.script("openai", [llmkit.simulator.Fault(kind="rate_limit", retry_after=3000.0)])
    kit.catalog.update_provider("openai", max_parallel_requests=1)
    handle = kit.run(["one", "two"], MODEL)
    assert until(lambda: "rate limited" in handle.progress.waiting.get("openai", ""))
    handle.cancel(grace=0)
    run = handle.result(60)
    assert run.status == "cancelled"
    assert set(run.probes["status"]) == {"cancelled"}


def test_a_wait_that_times_out_leaves_the_run_going(kit, sim):
    """result(timeout) says that it continues, and later gives the run."""
    sim.set(latency=math.inf)
    handle = kit.run("a question", MODEL)
    with pytest.raises(llmkit.NotFinished, match="continues in the background"):
        handle.result(timeout=0.01)
    sim.set(latency=0)
    assert handle.result(60).status == "completed"


def test_ctrl_c_in_a_script_saves_what_arrives(zygote, sim, catalog):
    """SIGINT while a script waits for its run: KeyboardInterrupt at once, and the answers on their way are saved."""
    sim.set(latency=0.3)
    child = zygote.start(catalog, prompts=200, models=[MODEL])
    assert sim.wait_until(lambda: len(child.answered()) >= 5, timeout=60)
    child.interrupt()
    child.wait()
    assert child.count("interrupted") == 1
    billed = sim.count("billed")
    with llmkit.open(catalog, simulate=True) as kit:
        run = kit.load(child.run_id())
        assert run.status == "cancelled"
        assert len(run.turns) + int(run.attempts["maybe_billed"].sum()) >= billed
        assert set(child.answered()) <= {(row.probe_id, str(row.turn)) for row in run.turns.itertuples()}
        assert (run.probes["status"] == "cancelled").any()
