"""Answers that were bought before: never asked for again, never taken for what they are not."""

import json
import logging
import threading
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pandas as pd
import pytest

import llmkit

MODELS = ["openai:gpt-6-luna", "anthropic:claude-haiku-5-5", "google:gemini-2.5-flash"]
PROMPTS = [f"question {n}" for n in range(8)]
SCHEMA = {
    "type": "object",
    "properties": {"mood": {"type": "string", "enum": ["good", "bad"]}},
    "required": ["mood"],
    "additionalProperties": False,
}


def asked(sim):
    """How many requests the server has seen."""
    return sim.stats()["requests"]


def same(run, earlier):
    """The rows of both runs for the same question."""
    return earlier.probes.merge(run.probes, on=["scenario_id", "model", "sample"], suffixes=("_old", ""))


def test_a_study_that_grows_pays_for_what_is_new(kit, sim):
    """A model and a sample more: the estimate and the server count exactly the new requests, old rows keep all."""
    first = kit.run(PROMPTS, MODELS, samples=2, temperature=0.5, seed=7).result()
    models = [*MODELS, kit.catalog.defaults()["mistral"].reference]
    more = {"models": models, "samples": 3, "temperature": 0.5, "seed": 7}
    new = len(PROMPTS) * (3 + len(MODELS))
    assert kit.estimate(PROMPTS, **more, reuse=True).df["requests"].tolist() == [8, 8, 8, 24]
    before = asked(sim)
    run = kit.run(PROMPTS, **more, reuse=True).result()
    assert asked(sim) - before == new
    rows = same(run, first)
    assert len(rows) == len(first.probes)
    assert (rows["status"] == "ok").all()
    assert (rows["reused_from"] == rows["probe_id_old"]).all()
    assert (rows["response"] == rows["response_old"]).all()
    assert (rows["original_cost"] == rows["estimated_cost_old"]).all()
    assert (rows["estimated_cost"] == 0).all()
    assert (rows["cost_source"] == "reused").all()
    assert (rows["input_tokens"] == rows["input_tokens_old"]).all()
    assert (rows["attempts"] == 0).all()
    fresh = run.probes[run.probes["reused_from"].isna()]
    assert len(fresh) == len(run.attempts) == new
    assert fresh["original_cost"].isna().all()
    costs = run.costs()
    assert costs["original_cost"].sum() == pytest.approx(float(first.total_cost))
    assert costs["estimated_cost"].sum() == pytest.approx(float(run.total_cost))
    assert (run.reprice()["difference"].dropna() == 0).all()


def test_nothing_is_asked_when_all_is_there(kit, sim):
    """The run is complete at once, and costs nothing; so does the estimate."""
    kit.run(PROMPTS, MODELS[:1]).result()
    before = asked(sim)
    assert kit.estimate(PROMPTS, MODELS[:1], reuse=True).total == 0
    run = kit.run(PROMPTS, MODELS[:1], reuse=True, budget=1).result()
    assert (asked(sim), run.status, run.total_cost) == (before, "completed", Decimal(0))
    assert (run.probes["status"] == "ok").all()
    assert len(run.turns) == len(PROMPTS)
    again = kit.run(PROMPTS, MODELS[:1], reuse=True).result()  # from where they were bought, not from their copies
    assert set(again.probes["reused_from"]) == set(run.probes["reused_from"])


@pytest.mark.parametrize(
    "change",
    [
        {"temperature": 0.5},
        {"max_tokens": 50},
        {"system": "Be brief."},
        {"seed": 1},
        {"schema": SCHEMA},
        {"options": {"top_p": 0.5}},
    ],
)
def test_another_request_is_another_question(kit, sim, change):
    """Whatever changes what would be sent is asked."""
    kit.run("hello", MODELS[2]).result()
    before = asked(sim)
    kit.run("hello", MODELS[2], **change, reuse=True).result()
    assert asked(sim) == before + 1


def test_conversations_are_reused_as_far_as_they_agree(kit, sim):
    """A third prompt is asked after two turns that were bought; a changed second one after the first."""
    first = kit.run(PROMPTS, MODELS[:2], followups=["Why?"]).result()
    before = asked(sim)
    longer = kit.run(PROMPTS, MODELS[:2], followups=["Why?", "Really?"], reuse=True).result()
    assert asked(sim) - before == 16
    assert longer.probes["turns"].tolist() == [3] * 16
    assert longer.probes["attempts"].tolist() == [1] * 16
    assert longer.probes["original_cost"].sum() == pytest.approx(float(first.total_cost))
    assert 0 < longer.total_cost < longer.probes["original_cost"].sum() + float(longer.total_cost)
    estimate = kit.estimate(PROMPTS, MODELS[:2], followups=["Why not?"], reuse=True)
    assert estimate.df["requests"].tolist() == [8, 8]
    other = kit.run(PROMPTS, MODELS[:2], followups=["Why not?"], reuse=True).result()
    assert asked(sim) - before == 32
    old, new = (run.turns[run.turns["turn"] == 1]["response"].tolist() for run in (first, other))
    assert old == new


def test_only_asks_nothing_and_resume_asks_the_rest(kit, sim, tmp_path, monkeypatch):
    """What is not there stays pending, also half a conversation, and needs no key."""
    kit.run(PROMPTS[:4], MODELS[:1]).result()
    before = asked(sim)
    estimate = kit.estimate(PROMPTS, MODELS[:1], followups=["Why?"], reuse="only")
    assert (estimate.total, estimate.high, estimate.pending, estimate.reused) == (0, 0, 8, 4)
    assert "stored answers; 8 probes not asked" in repr(estimate)
    run = kit.run(PROMPTS, MODELS[:1], followups=["Why?"], reuse="only").result()
    assert (asked(sim), run.estimate) == (before, 0)
    assert run.probes["status"].tolist() == ["pending"] * 8
    assert len(run.turns) == 4
    resumed = kit.resume(run.id).result()
    assert asked(sim) == before + 12
    assert (resumed.probes["status"] == "ok").all()
    assert resumed.probes["reused_from"].notna().tolist() == [True] * 4 + [False] * 4
    with llmkit.open(tmp_path / "no_keys.duckdb") as without:
        nothing = without.estimate("hello", reuse="only")
        assert "; based on nothing, for lack of stored answers; " in repr(nothing)
        assert without.run("hello", MODELS[:1], reuse="only").result().probes["status"].tolist() == ["pending"]
        run = without.run("hello", reuse="only").result()
        assert nothing.df["model"].tolist() == run.probes["model"].tolist()


def test_a_cancelled_run_is_resumed_with_what_it_reused(kit, sim):
    """What was reused is neither asked nor paid for after the run was stopped."""
    first = kit.run(PROMPTS, MODELS[:2]).result()
    before = asked(sim)
    with llmkit.simulator.serve(latency=30) as slow:
        kit.use_simulator(slow)
        handle = kit.run(PROMPTS, MODELS[:2], followups=["Why?"], reuse=True)
        handle.cancel(grace=0)
        handle.result()
    kit.use_simulator(sim)
    run = kit.resume(handle.run_id).result()
    assert asked(sim) - before == 16
    assert run.probes["original_cost"].sum() == pytest.approx(float(first.total_cost))
    assert (run.probes["turns"] == 2).all()
    assert (run.probes["status"] == "ok").all()


def test_rehearsals_and_real_runs_do_not_share_answers(tmp_path, sim):
    """The same question to the same address, once as a rehearsal and once in earnest."""
    with llmkit.open(tmp_path / "k.duckdb", simulate=True) as kit:
        kit.use_simulator(sim)
        kit.catalog.add_provider("lab", base_url=sim.url_for("lab"))
        model = kit.catalog.add_model("lab:m", cost_input_per_million=1, cost_output_per_million=1).reference
        kit.run("hello", model).result()
    with llmkit.open(tmp_path / "k.duckdb") as kit:
        for reused in (False, True):
            run = kit.run("hello", model, reuse=True).result()
            assert run.probes["reused_from"].notna().tolist() == [reused]


def test_answers_that_are_too_old_are_asked_again(kit, sim):
    """In days; an instant is too short for any."""
    kit.run("hello", MODELS[:1]).result()
    before = asked(sim)
    kit.run("hello", MODELS[:1], reuse=True, reuse_within=1).result()
    assert asked(sim) == before
    kit.run("hello", MODELS[:1], reuse=True, reuse_within="0.0000000001").result()
    assert asked(sim) == before + 1


def test_the_same_question_twice_takes_two_answers(kit, sim):
    """Scenarios with one text stay independent: what was bought twice is reused twice, a third one is asked."""
    kit.run(pd.DataFrame({"prompt": ["hello"] * 2}), MODELS[:1]).result()
    before = asked(sim)
    run = kit.run(pd.DataFrame({"prompt": ["hello"] * 3}), MODELS[:1], reuse=True).result()
    assert asked(sim) == before + 1
    assert run.probes["reused_from"].nunique() == 2


@pytest.fixture
def lab(kit):
    """A provider on this machine that answers ``lab.text`` in ``lab.version``, and counts its requests."""

    class Lab:
        text, version, requests, model = "{}", "m-1", 0, "lab:m"

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            lab.requests += 1
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": lab.text}}
            usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
            body = json.dumps({"id": "x", "model": lab.version, "choices": [choice], "usage": usage}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Say nothing."""

    lab, server = Lab(), ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    kit.catalog.add_provider("lab", base_url=f"http://127.0.0.1:{server.server_port}/v1", requests_per_minute=10_000)
    kit.catalog.add_model("lab:m", cost_input_per_million=1, cost_output_per_million=1)
    kit.close()
    yield lab
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_answer_that_is_not_as_asked_is_not_reused(lab, database):
    """One that failed its schema would fail again; one that is as asked is reused."""
    with llmkit.open(database) as kit:
        lab.text = '{"mood": "ugly"}'
        assert kit.run("hello", lab.model, schema=SCHEMA).result().probes["status"].tolist() == ["failed"]
        before, lab.text = lab.requests, '{"mood": "good"}'
        run = kit.run("hello", lab.model, schema=SCHEMA, reuse=True).result()
        assert run.probes["answer.mood"].tolist() == ["good"]
        assert lab.requests == before + 1
        again = kit.run("hello", lab.model, schema=SCHEMA, reuse=True).result()
        assert again.probes["answer.mood"].tolist() == ["good"]
        assert lab.requests == before + 1
        assert again.probes["reused_from"].tolist() == run.probes["probe_id"].tolist()


@pytest.mark.parametrize("how", ["budget", "month", "balance"])
def test_what_asks_nothing_needs_no_money(lab, database, recwarn, how):
    """A run whose answers are all there, or that takes only what is there, is held up by no budget and no debt."""
    with llmkit.open(database) as kit:
        kit.run(PROMPTS, lab.model, max_tokens=10).result()
        before, budget = lab.requests, "0.0000001" if how == "budget" else None
        if how == "month":
            kit.set_budget(f"{datetime.now(UTC):%Y-%m}", "0.0000001")
        if how == "balance":
            kit.catalog.set_balance("lab", -1)
        recwarn.clear()
        whole = kit.run(PROMPTS, lab.model, max_tokens=10, reuse=True, budget=budget).result()
        part = kit.run(["new", *PROMPTS], lab.model, max_tokens=10, reuse="only", budget=budget).result()
        assert not recwarn
        assert (whole.probes["status"] == "ok").all()
        assert part.probes["status"].tolist() == ["pending", *["ok"] * len(PROMPTS)]
        assert lab.requests == before
        with pytest.raises(llmkit.BudgetExceeded):
            kit.run(["new", *PROMPTS], lab.model, max_tokens=10, reuse=True, budget=budget)


def test_a_model_that_answers_in_another_version_is_noticed(lab, database, caplog):
    """At the first fresh answer, once, and in what the run says of itself."""
    with llmkit.open(database) as kit, caplog.at_level(logging.WARNING, "llmkit"):
        kit.run(PROMPTS, lab.model).result()
        same_version = kit.run(PROMPTS, lab.model, samples=2, reuse=True).result()
        assert not caplog.records
        assert not same_version.notes
        lab.version = "m-2"
        run = kit.run(PROMPTS, lab.model, samples=3, reuse=True).result()
    (record,) = caplog.records
    assert (record.message, record.model, record.version, record.reused) == (
        "version changed",
        lab.model,
        "m-2",
        ["m-1"],
    )
    assert len(run.notes) == 1
    assert "m-2" in repr(run)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"reuse": "sometimes"}, "reuse"),
        ({"reuse": 1.5}, "reuse"),
        ({"reuse": None}, "reuse"),
        ({"reuse_within": 3}, "reuse_within"),
        ({"reuse": True, "reuse_within": -1}, "reuse_within"),
        ({"reuse": True, "reuse_within": "a while"}, "reuse_within"),
        ({"reuse": True, "reuse_within": float("nan")}, "reuse_within"),
    ],
)
def test_what_makes_no_sense_is_refused(kit, sim, arguments, field):
    """In a sentence, before anything is sent."""
    for call in (kit.run, kit.estimate):
        with pytest.raises(llmkit.ValidationError) as caught:
            call("hello", MODELS[:1], **arguments)
        assert caught.value.field == field
    assert asked(sim) == 0
