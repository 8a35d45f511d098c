"""What a run would have cost: at the prices noted, at those of another day, on another model."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from local_provider import LOCAL

import llmkit
from llmkit.money import pricing
from llmkit.records import Usage


def exact_costs(kit, run):
    """Each probe's cost as the database holds it."""
    rows = kit.snapshot().execute(
        "SELECT probe_id, estimated_cost FROM probes WHERE run_id = ? ORDER BY position", [run.id]
    )
    return dict(rows.fetchall())


def test_at_the_noted_prices_every_row_comes_out_as_it_was(kit, sim):
    """All providers (one reports its costs itself), conversations, and attempts that failed and were billed."""
    sim.script("openai", ["empty", "refusal"])
    prompts = [llmkit.Scenario(prompt=f"Question {n}", followups=("And why?",)) for n in range(3)]
    run = kit.run(prompts, samples=2).result(60)
    assert (run.probes["wasted_cost"] > 0).sum() == 2
    again = run.reprice()
    assert len(again) == 3 * len(kit.catalog.defaults()) * 2
    assert again["cost_after"].tolist() == again["cost_before"].tolist()
    assert again["source"].tolist() == again["source_before"].tolist()
    assert set(again["source"]) == {"computed", "provider_reported"}
    assert again.attrs["total"] == run.total_cost == sum(exact_costs(kit, run).values())
    assert again.attrs["difference"] == 0


def test_the_noted_prices_stand_whatever_happens_to_the_catalog(paying):
    """A changed price, and changed default costs of the provider, change no finished run and no repricing of it."""
    paying.catalog.add_model(
        "local:unpriced", cost_input_per_million=None, cost_output_per_million=None, max_output_tokens=100
    )
    paying.catalog.update_provider("local", default_cost_input_per_million="0.3", default_cost_output_per_million="0.7")
    with pytest.warns(UserWarning, match="local:unpriced has no price: it is billed at the default costs of local"):
        run = paying.run(["a", "b"], [LOCAL, "local:unpriced"]).result(60)
    before = exact_costs(paying, run)
    paying.catalog.update_model(LOCAL, cost_input_per_million=99, cost_output_per_million=99)
    paying.catalog.update_provider("local", default_cost_input_per_million=99, default_cost_output_per_million=99)
    again = run.reprice()
    assert again.groupby("model")["source"].unique().map(list).to_dict() == {
        LOCAL: ["computed"],
        "local:unpriced": ["provider_default"],
    }
    assert again["cost_after"].tolist() == [float(cost) for cost in before.values()]
    assert again.attrs["total"] == sum(before.values()) == run.total_cost
    assert run.reprice(as_of=datetime.now(UTC)).attrs["total"] > 10 * run.total_cost


def test_as_of_takes_the_dated_price_of_that_day(paying):
    """Prices of the past, of now and of the announced future, each from its own entry."""
    run = paying.run(["a", "b", "c"], LOCAL).result(60)
    paying.catalog.update_model(LOCAL, cost_input_per_million=2, cost_output_per_million=8)
    later = datetime.now(UTC) + timedelta(days=30)
    paying.catalog.update_model(LOCAL, cost_input_per_million=10, cost_output_per_million=40, valid_from=later)
    cost = run.total_cost
    assert run.reprice(as_of="2026-01-01").attrs["total"] == cost
    assert run.reprice(as_of=datetime.now(UTC)).attrs["total"] == 2 * cost
    assert run.reprice(as_of=later.date() + timedelta(days=1)).attrs["total"] == 10 * cost
    assert run.reprice(as_of=later.date() + timedelta(days=1)).attrs["difference"] == 9 * cost


def test_another_model_bills_the_same_tokens_at_its_price(kit):
    """All models' tokens at one model's price: reported costs give way to computed ones."""
    run = kit.run(["a", "b"]).result(60)
    other = kit.catalog.model("openai:gpt-4.1")
    again = run.reprice(model="openai:gpt-4.1")
    tokens = run.probes[["input_tokens", "cached_input_tokens", "output_tokens"]].sum()
    expected = pricing.cost(
        Usage(**{name: int(count) for name, count in tokens.items()}), other.price, datetime.now(UTC)
    )
    assert set(again["priced_as"]) == {"openai:gpt-4.1"}
    assert set(again["source"]) == {"computed"}
    assert again.attrs["total"] == expected.amount
    with pytest.raises(llmkit.ModelNotFound, match=r"gpt-4\.1"):
        run.reprice(model="openai:gpt-4.l")
    with pytest.raises(llmkit.ValidationError, match="as_of"):
        run.reprice(as_of="yesterday")


def test_the_hour_of_each_request_is_the_noted_one(paying, sim):
    """With another price in each second, what a request cost is what its noted moment says."""
    seconds = [datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=n) for n in range(41)]
    windows = [
        {"weekdays": [1, 2, 3, 4, 5, 6, 7], "start": start.time().isoformat(), "end": end.time().isoformat(),
         "cost_input_per_million": number, "cost_output_per_million": number}
        for number, (start, end) in enumerate(pairwise(seconds), 1)
    ]  # fmt: skip
    paying.catalog.update_model(LOCAL, price_windows=windows)
    paying.catalog.update_provider("local", max_parallel_requests=1)
    sim.set(latency=0.1)
    run = paying.run([f"q{n}" for n in range(15)], LOCAL).result(60)
    assert run.reprice()["cost_after"].tolist() == run.probes["estimated_cost"].tolist()
    assert run.turns["cost_input_per_million"].nunique() > 1
    noted = paying.snapshot().execute("SELECT started_at, cost, usage FROM attempts ORDER BY started_at")
    price = paying.catalog.model(LOCAL).price
    for started_at, cost, usage in noted.fetchall():
        assert pricing.cost(Usage.from_row(json.loads(usage)), price, started_at.replace(tzinfo=UTC)).amount == cost


def test_probes_that_nobody_billed_stay_as_they_are(kit, sim):
    """What failed before it cost anything, or may have, has no other price than it had."""
    sim.set(faults={"auth": 1.0})
    run = kit.run("a", "openai:gpt-6-luna").result(60)
    row = run.reprice(model="openai:gpt-4.1").iloc[0]
    assert row["status"] == "failed"
    assert (row["cost_before"], row["cost_after"]) == (0, 0)


def test_a_run_of_an_unpriced_model_gets_a_cost_once_there_is_a_price(paying):
    """Unknown stays unknown at the noted prices, and is not taken for nothing."""
    paying.catalog.add_model("local:new", cost_input_per_million=None, cost_output_per_million=None)
    run = paying.run("a", "local:new").result(60)
    assert run.reprice()[["cost_before", "cost_after", "difference"]].isna().all(axis=None)
    assert run.reprice()["source"].tolist() == ["unpriced"]
    assert run.reprice(model=LOCAL).attrs["total"] > 0
    assert run.total_cost == Decimal(0)
