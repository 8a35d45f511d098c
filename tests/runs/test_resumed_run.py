"""A run that goes on with more money, or at other prices."""

import math
import shutil
import warnings
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

import llmkit

LUNA = "openai:gpt-6-luna"
PROMPTS = [f"Write a poem about the number {n}." for n in range(30)]


@pytest.fixture
def stopped(kit):
    """A run that its budget ended."""
    whole = kit.run(PROMPTS, LUNA, max_tokens=200).result(60).total_cost
    with pytest.warns(UserWarning, match=r"covers only \d+% of that"):
        run = kit.run(PROMPTS, LUNA, max_tokens=200, budget=whole / 2).result(60)
    assert run.status == "budget"
    return run


def test_a_run_that_its_budget_ended_says_so(stopped):
    """Its words, its view and its panel name the budget and what was skipped, and none says that all is done."""
    skipped = (stopped.probes["status"] == "skipped").sum()
    assert f"{skipped} probes of 30" in repr(stopped)
    text = stopped.view()._repr_mimebundle_()["text/html"]
    assert "30 of 30" not in text.replace("30 of 30 probes done", "")
    assert "kit.resume" in stopped.message


def test_a_larger_budget_asks_the_rest(kit, stopped):
    """It is the run's own from then on; what is spent counts against it."""
    spent = stopped.total_cost
    with pytest.raises(llmkit.BudgetExceeded, match="leaves nothing"):
        kit.resume(stopped.id, budget=spent / 2)
    with pytest.raises(llmkit.ValidationError, match="positive"):
        kit.resume(stopped.id, budget=-1)
    run = kit.resume(stopped.id, budget=spent * 10).result(60)
    assert run.status == "completed"
    assert set(run.probes["status"]) == {"ok"}
    assert spent < run.total_cost <= spent * 10
    assert Decimal(run.settings["budget"]) == spent * 10


def test_a_resumed_run_asks_at_the_price_of_the_day(kit, stopped):
    """A warning says which price was changed; each answer keeps the one that it was billed at, to the last digit."""
    before = stopped.turns
    kit.catalog.update_model(LUNA, cost_output_per_million=50)
    with pytest.warns(UserWarning, match=r"price of openai:gpt-6-luna was changed.*\$50\.00 out"):
        run = kit.resume(stopped.id, budget=100).result(60)
    turns = run.turns.set_index("probe_id")
    assert (turns.loc[before["probe_id"], "cost"].to_numpy() == before["cost"].to_numpy()).all()
    assert set(turns["cost_output_per_million"]) == {0.5, 50.0}
    again = run.reprice()
    assert (again["cost_after"] == again["cost_before"]).all()
    assert again.attrs["total"] == run.total_cost
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kit.resume(run.id).result(60)


def test_a_clock_that_was_set_back_moves_no_answer_to_another_price(kit, stopped, monkeypatch):
    """What was asked before a resumption keeps its price, and what is asked after it gets the new one."""

    class AnHourAgo(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) - timedelta(hours=1)

    asked = dict.fromkeys(stopped.turns["probe_id"], 0.5)
    for module in ("store.events", "runs.runner", "runs.attempt"):
        monkeypatch.setattr(f"llmkit.{module}.datetime", AnHourAgo)
    kit.catalog.update_model(LUNA, cost_output_per_million=50)
    with pytest.warns(UserWarning, match="was changed"):
        run = kit.resume(stopped.id, budget=100).result(60)
    prices = run.turns.set_index("probe_id")["cost_output_per_million"].to_dict()
    assert prices == dict.fromkeys(prices, 50.0) | asked
    again = run.reprice()
    assert (again["cost_after"] == again["cost_before"]).all()


def test_a_resumption_adds_up_wherever_it_was_interrupted(kit, sim, database, tmp_path):
    """Whichever of its lines came last, a database made of them has the cost, tokens and answers of its requests."""
    sim.set(faults={"malformed_json": 1})
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    run = kit.run("Count!", LUNA, max_tokens=60, schema=schema).result(60)
    kit.resume(run.id).result(60)
    kit.close()
    journal = database.with_name("k.duckdb.journal")
    resumed = max(journal.glob(f"*{run.id}*.jsonl"))
    lines = resumed.read_bytes().splitlines(keepends=True)
    found = []
    for kept in range(2, len(lines)):
        path = tmp_path / str(kept) / "k.duckdb"
        cut = shutil.copytree(journal, path.with_name(journal.name)) / resumed.name
        cut.write_bytes(b"".join(lines[:kept]))
        with llmkit.open(path, simulate=True, adopt=True) as rebuilt:
            run = rebuilt.load(run.id)
            (probe,) = run.probes.to_dict("records")
            paid = rebuilt.sql("SELECT cost, usage FROM attempts WHERE cost IS NOT NULL")
            assert float(run.total_cost) == pytest.approx(paid["cost"].sum())
            assert probe["output_tokens"] == sum(usage["output_tokens"] for usage in paid["usage"])
            assert probe["turns"] == len(run.turns) == 1
            assert probe["cost_source"] == "computed"
            found.append((probe["status"], probe["attempts"]))
    assert set(found) == {("pending", 1), ("pending", 2), ("failed", 2)}


def test_a_rejected_answer_counts_until_another_replaces_it(kit, sim):
    """A run that was resumed, and cancelled before it could ask again, has the turn, cost and time of the answer."""
    kit.catalog.update_provider("openai", max_parallel_requests=1)
    sim.script("openai", ["malformed_json"])
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    run = kit.run("Count!", LUNA, max_tokens=60, schema=schema).result(60)
    (before,) = run.probes.to_dict("records")
    sim.set(latency=math.inf)
    other = kit.run("Wait!", LUNA)
    assert sim.wait_until(lambda: sim.count("in_flight") == 1)
    handle = kit.resume(run.id)
    handle.cancel()
    sim.set(latency=0)
    run = handle.result(60)
    other.result(60)
    (after,) = run.probes.to_dict("records")
    assert (before["status"], after["status"]) == ("failed", "cancelled")
    assert before["turns"] == after["turns"] == len(run.turns) == 1
    for name in ("response", "estimated_cost", "latency_s", "output_tokens", "attempts"):
        assert before[name] == after[name], name
    run = kit.resume(run.id).result(60)
    assert run.probes[["status", "turns", "attempts"]].to_numpy().tolist() == [["ok", 1, 2]]
