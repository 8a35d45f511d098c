"""Processes that are killed: nothing acknowledged is lost, nothing saved is asked again, and resume gets to the end."""

import itertools
import math
import random
import shutil
import warnings
from collections import Counter

import pytest
from waiting import until

import llmkit

MODELS = ["openai:gpt-6-luna", "anthropic:claude-haiku-5-5"]
PROMPTS, TURNS = 8, 2
TOTAL = PROMPTS * len(MODELS)


def hold_after(sim, answers):
    """Answer so many requests and hold those that come then."""
    arrivals = itertools.count()
    sim.set(latency=lambda _: 0.002 if next(arrivals) < answers else math.inf)


def survive(zygote, sim, catalog, kills, seed):
    """Run, kill ``kills`` times at random moments, resume to the end; returns the figures."""
    chance = random.Random(seed)
    acknowledged, saved_before, asked_again = set(), set(), 0
    child = zygote.start(catalog, prompts=PROMPTS, models=MODELS, followups=["and why?"])
    run_id, killed = None, 0
    while True:
        goal = sim.stats()["billed"] + chance.randrange(0, 10)
        if killed < kills:
            until(lambda goal=goal, child=child: sim.count("billed") >= goal or child.ended())
            child.kill()
            killed += 1
        else:
            child.wait()
        run_id = run_id or child.run_id()
        acknowledged |= set(child.answered())
        asked_again += sum(pair in saved_before for pair in child.answered())
        if killed >= kills and child.ended():
            assert child.ended() == "end completed"
            break
        if run_id is None:  # killed before the run was on the disk: nothing was asked
            child = zygote.start(catalog, prompts=PROMPTS, models=MODELS, followups=["and why?"])
            continue
        with llmkit.open(catalog, simulate=True) as kit:
            saved_before = {(row.probe_id, str(row.turn)) for row in kit.load(run_id).turns.itertuples()}
        child = zygote.start(catalog, resume=run_id)
    with llmkit.open(catalog, simulate=True) as kit:
        run = kit.load(run_id)
        turns = {(row.probe_id, str(row.turn)) for row in run.turns.itertuples()}
        attempts = run.attempts
        lost = Counter(
            (row.probe_id, str(row.turn)) for row in attempts[attempts["maybe_billed"].astype(bool)].itertuples()
        )
        billed = Counter(
            (probe, turn)
            for probe, seen in sim.stats()["billed_by_probe"].items()
            for turn in seen
            if probe[:20] == run_id
        )
        return {
            "kills": killed,
            "acknowledged": len(acknowledged),
            "lost": len(acknowledged - turns),
            "asked_again": asked_again,
            "billed_twice_unexplained": sum(count - 1 > lost[pair] for pair, count in billed.items()),
            "maybe_billed": sum(lost.values()),
            "ok": int((run.probes["status"] == "ok").sum()),
            "rows": len(run.probes),
        }


def test_killed_runs_lose_nothing_and_finish(zygote, sim, catalog, tmp_path):
    """25 SIGKILLs at random moments over several runs; every run ends with every probe answered."""
    total = Counter()
    for seed in range(5):
        path = tmp_path / f"run-{seed}" / "k.duckdb"
        shutil.copytree(catalog.parent, path.parent)
        figures = survive(zygote, sim, path, kills=5, seed=seed)
        assert (figures["lost"], figures["asked_again"], figures["billed_twice_unexplained"]) == (0, 0, 0), figures
        assert figures["ok"] == figures["rows"] == TOTAL
        total.update(figures)
    print(dict(total))
    assert total["kills"] == 25


@pytest.mark.soak
def test_a_hundred_kills(zygote, sim, catalog, tmp_path):
    """The same with 100 SIGKILLs; prints the figures."""
    total = Counter()
    for seed in range(100, 110):
        path = tmp_path / f"run-{seed}" / "k.duckdb"
        shutil.copytree(catalog.parent, path.parent)
        figures = survive(zygote, sim, path, kills=10, seed=seed)
        total.update(figures)
    print("100 kills:", dict(total))
    assert total["kills"] == 100
    assert (total["lost"], total["asked_again"], total["billed_twice_unexplained"]) == (0, 0, 0)
    assert total["ok"] == total["rows"] == 10 * TOTAL


def test_a_killed_run_is_listed_as_interrupted(zygote, sim, catalog):
    """kit.runs() says interrupted, and how many probes are done, pending and unknown; resume warns of the unknown."""
    hold_after(sim, 10)
    child = zygote.start(catalog, prompts=40, models=MODELS[:1])
    assert until(lambda: len(child.answered()) >= 10 and sim.count("in_flight") == 5)
    child.kill()
    sim.set(latency=0)
    with llmkit.open(catalog, simulate=True) as kit:
        row = kit.runs().iloc[0]
        assert row["status"] == kit.load(row["run_id"]).status == "interrupted"
        assert row["ok"] >= 10
        assert row["ok"] + row["pending"] == row["n_probes"] == 40
        assert row["unknown"] == 5
        run = kit.load(row["run_id"])
        assert run.attempts["maybe_billed"].sum() == run.probes["maybe_billed"].sum() == row["unknown"]
        assert run.costs()["maybe_billed"].sum() == row["unknown"]
        assert " and 5 unpriced" in repr(run)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert set(kit.resume(row["run_id"]).result(60).probes["status"]) == {"ok"}
        assert any("may have been billed" in str(entry.message) for entry in caught)
        with pytest.raises(llmkit.RunNotFound):
            kit.resume("nonsense")


def test_what_a_killed_run_of_a_free_model_lost_was_not_billed(zygote, sim, catalog):
    """Nowhere, before it is resumed and later: it is asked again, which costs nothing."""
    with llmkit.open(catalog, simulate=True) as kit:
        kit.catalog.add_model("openai:free", cost_input_per_million=0, cost_output_per_million=0)
    hold_after(sim, 10)
    child = zygote.start(catalog, prompts=40, models=["openai:free"])
    assert until(lambda: len(child.answered()) >= 10 and sim.count("in_flight") == 5)
    child.kill()
    sim.set(latency=0)
    with llmkit.open(catalog, simulate=True) as kit:
        run = kit.load(child.run_id())
        lost = run.attempts["error_code"] == "UNKNOWN"
        assert (lost.sum(), run.probes["attempts"].sum()) == (5, len(run.attempts))
        assert kit.runs()["unknown"].tolist() == run.costs()["maybe_billed"].tolist() == [0]
        assert not run.attempts["maybe_billed"].any()
        assert not run.probes["maybe_billed"].any()
        assert "outcome is unknown" not in run.report()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run = kit.resume(run.id).result(60)
        assert [str(each.message) for each in caught if "billed" in str(each.message)] == []
        assert set(run.attempts["error_message"].dropna()) == {"The process ended while this request was in flight."}


def test_what_an_interrupted_conversation_cost_is_counted(zygote, sim, catalog):
    """A killed run has the cost, the tokens and the lost answers of all its requests, their probes finished or not."""
    hold_after(sim, 20)
    sim.set(faults={"disconnect": [False, False, True]})
    child = zygote.start(catalog, prompts=10, models=MODELS[:1], followups=["and?", "why?", "really?"])
    assert until(lambda: len(child.answered()) >= 8)
    child.kill()
    with llmkit.open(catalog, simulate=True) as kit:
        run = kit.load(child.run_id())
        answered = kit.sql("SELECT sum(cost)::VARCHAR AS cost FROM attempts WHERE run_id = ?", [run.id])
        assert str(run.total_cost) == answered["cost"][0]
        assert (run.probes["status"] == "pending").any()
        assert run.costs()["estimated_cost"].sum() == pytest.approx(float(run.total_cost))
        assert run.probes["turns"].sum() == len(run.turns)
        assert run.probes["output_tokens"].sum() == run.turns["output_tokens"].sum()
        lost = run.attempts[run.attempts["maybe_billed"]]
        pending = run.probes[run.probes["status"] == "pending"]
        assert run.probes["maybe_billed"].sum() == len(lost) > 0
        assert pending["maybe_billed"].sum() == lost["probe_id"].isin(pending["probe_id"]).sum()


def test_a_run_is_not_taken_up_twice(zygote, sim, catalog):
    """While another process runs it, resuming is refused with a sentence."""
    sim.set(latency=60)
    child = zygote.start(catalog, prompts=20, models=MODELS[:1])
    assert until(lambda: child.run_id() and sim.count("in_flight") == 5)
    with llmkit.open(catalog, simulate=True) as kit:
        assert kit.load(child.run_id()).status == "running"
        with pytest.raises(llmkit.ValidationError, match="is running in another"):
            kit.resume(child.run_id())
    child.kill()


def test_what_may_have_been_billed_is_counted_exactly(zygote, sim, catalog):
    """Every tenth connection is cut after the server billed: as many attempts say so as the server cut."""
    sim.set(faults={"disconnect": 0.1})
    child = zygote.start(catalog, prompts=60, models=MODELS)
    child.wait()
    assert child.ended() == "end completed"
    cut = sim.stats()["faults"]["disconnect"]
    assert cut > 3
    with llmkit.open(catalog, simulate=True) as kit:
        run = kit.load(child.run_id())
        assert int(run.attempts["maybe_billed"].sum()) == cut
        assert set(run.probes["status"]) == {"ok"}
        costs = run.costs()
        assert int(costs["maybe_billed"].sum()) == cut
        assert (costs.loc[costs["maybe_billed"] > 0, "maybe_billed_cost"] > 0).all()
