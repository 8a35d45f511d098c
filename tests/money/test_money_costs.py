"""Cost tables: what they count, what they can be grouped by, and that they add up."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pandas as pd
import pytest
from local_provider import LOCAL

import llmkit
from llmkit.analysis.stored_progress import stored_progress
from llmkit.records import DatedPrice, Price

TWO = ["openai:gpt-6-luna", "mistral:mistral-small-2603"]
SHARES = ["share_input", "share_cached_input", "share_cache_write", "share_output", "share_reasoning"]


def test_tables_by_any_columns_add_up_to_the_run(kit):
    """Models, dimensions, months, answer fields: the same tokens and the same money, however they are cut."""
    scenarios = llmkit.scenarios_from_template("Rate [City] in [n] words", {"City": ["Łódź", "A/b's"], "n": [2, 10]})
    schema = {
        "type": "object",
        "properties": {"verdict": {"type": "string", "enum": ["yes", "no"]}, "score": {"type": "integer"}},
        "required": ["verdict", "score"],
        "additionalProperties": False,
    }
    run = kit.run(scenarios, TWO, schema=schema).result(60)
    whole = run.costs(by="run_id")
    assert len(whole) == 1
    for by in (
        "model",
        "City",
        "n",
        "month",
        "answer.verdict",
        "status",
        ["n", "City", "model"],
        ["day", "answer.score"],
    ):
        table = run.costs(by=by)
        for column in ("probes", "ok", "input_tokens", "output_tokens", "reasoning_tokens"):
            assert table[column].sum() == whole[column][0], (by, column)
        assert table["estimated_cost"].sum() == pytest.approx(float(run.total_cost), abs=1e-12)
        assert table[SHARES].sum(axis=1).tolist() == pytest.approx([1.0] * len(table))
    assert run.costs(by="n")["n"].tolist() == [2, 10], "numbers are numbers, and sort as such"
    assert run.costs(by="City")["City"].tolist() == ["A/b's", "Łódź"]
    assert set(run.costs(by="answer.verdict")["answer.verdict"]) <= {"yes", "no"}
    with pytest.raises(llmkit.ValidationError, match=r"City.*answer\.verdict"):
        run.costs(by="town")


def test_any_column_of_probes_can_be_grouped_by(kit):
    """Texts, prices, times, lists, sums: the groups are the column's values, and every column keeps a name of its own.

    What the table itself counts under that name is then called ``total_<name>``.
    """
    table = pd.DataFrame({"prompt": ["a", "b", "b c"], "ok": [1, 1, 2], "by1": ["x", "y", "x"]})
    with pytest.warns(UserWarning, match="does not accept top_p"):
        run = kit.run(table, TWO, followups=["more"], options={"top_p": 0.5}, schema={"type": "object"}).result(60)
    probes = run.probes
    for by in probes.columns:
        costs = run.costs(by=[by, "by1", by])
        assert costs.columns.is_unique, by
        assert costs["total_probes" if by == "probes" else "probes"].sum() == len(probes), by
        assert costs.set_index("by1").loc["y", "probes"].sum() == 2, by
        assert {str(value) for value in costs[by]} == {str(value) for value in probes[by]}, by
    assert run.costs(by="ok")[["ok", "total_ok"]].values.tolist() == [[1, 4], [2, 2]]
    tokens = run.costs(by="input_tokens")
    assert (tokens["total_input_tokens"] == tokens["input_tokens"] * tokens["probes"]).all()


def test_columns_of_the_researcher_go_before_groups_of_the_same_name(kit):
    """In a run's table ``month`` is the month that was asked about; over all runs it is the month of asking."""
    own = {"month": ["May", "June"], "day": ["Mon", "Tue"], "template": ["A", "B"], "run_name": ["r1", "r2"]}
    run = kit.run(pd.DataFrame({"prompt": ["a", "b"], **own}), TWO[0], name="the name").result(60)
    for name, values in own.items():
        assert sorted(run.costs(by=name)[name]) == sorted(values)
        assert not set(kit.costs(by=name)[name]) & set(values), name
    assert kit.costs(by="run_name")["run_name"].tolist() == ["the name"]
    assert kit.costs(by="month")["month"].tolist() == [run.probes["started_at"][0].strftime("%Y-%m")]


@pytest.mark.parametrize("by", [None, 5, [5], [["model"]], [], "town", ["model", "town"]])
def test_groups_that_there_are_not_are_refused(kit, by):
    """Whatever else is given as ``by``, the sentence lists what can be, the run's own columns too."""
    run = kit.run(pd.DataFrame({"prompt": ["a"], "City": ["Rome"]}), TWO[0]).result(60)
    for costs in (run.costs, kit.costs):
        with pytest.raises(llmkit.ValidationError, match=r"cannot be grouped by .*City.*error_message") as caught:
            costs(by=by)
        assert caught.value.field == "by"


def test_shares_say_what_the_money_went_to(paying, sim):
    """Input, cached input, output and reasoning at their own rates; half price for cached input is half the share."""
    paying.catalog.update_model(LOCAL, cost_cached_input_per_million="0.5")
    paying.catalog.update_provider("local", max_parallel_requests=1)  # a cache is filled by the answer before
    run = paying.run("a long question " * 400, LOCAL, samples=3).result(60)
    row, turns = run.costs().iloc[0], run.turns
    written = turns["cache_write_tokens"].sum()
    plain = turns["input_tokens"].sum() - turns["cached_input_tokens"].sum() - written
    reasoning = turns["reasoning_tokens"].sum()
    assert turns["cached_input_tokens"].sum() > 0
    cost = float(run.total_cost) * 1e6
    assert row["share_input"] == pytest.approx(plain / cost)
    assert row["share_cache_write"] == pytest.approx(written / cost)
    assert row["share_cached_input"] == pytest.approx(turns["cached_input_tokens"].sum() * 0.5 / cost)
    assert row["share_reasoning"] == pytest.approx(4 * reasoning / cost)
    assert row["share_output"] == pytest.approx(4 * (turns["output_tokens"].sum() - reasoning) / cost)


def test_a_request_that_may_have_been_billed_is_never_shown_as_free(kit, sim):
    """Its cost is unknown, so the progress counts it as unpriced, watched and stored; an error that is free is free."""
    sim.script("openai", ["disconnect", "not_found"])
    handle = kit.run(["one", "two"], TWO[0], retry=llmkit.RetryPolicy(max_attempts=1))
    run = handle.result(60)
    assert set(run.probes["status"]) == {"failed"}
    assert (handle.progress.unpriced, handle.progress.cost) == (1, 0)
    assert "unpriced so far" in repr(handle)
    assert stored_progress(run, run.status, run.probes).unpriced == 1


def test_wasted_money_is_told_apart(kit, sim):
    """What failed probes cost, what an answer costs with that, and what nobody knows whether it was billed."""
    sim.script("openai", ["empty", "disconnect"])
    run = kit.run([f"q{n}" for n in range(4)], TWO[0], retry=llmkit.RetryPolicy(max_attempts=1)).result(60)
    row = run.costs().iloc[0]
    assert (row["probes"], row["ok"], row["failed"], row["maybe_billed"]) == (4, 2, 2, 1)
    assert row["failed_cost"] == row["wasted_cost"] > 0
    assert row["retried_cost"] == 0
    assert row["cost_per_ok"] == pytest.approx(row["estimated_cost"] / 2)
    assert row["maybe_billed_cost"] > row["estimated_cost"], "the worst case of an answer at full length"


def test_unknown_prices_are_missing_and_never_nothing(paying):
    """An unpriced model has no cost and no shares, and is counted."""
    paying.catalog.add_model("local:new", cost_input_per_million=None, cost_output_per_million=None)
    run = paying.run("a", [LOCAL, "local:new"]).result(60)
    table = run.costs().set_index("model")
    assert table["unpriced"].to_dict() == {LOCAL: 0, "local:new": 1}
    assert table.loc["local:new", ["estimated_cost", "cost_per_ok", *SHARES]].isna().all()
    both = run.costs(by="status").iloc[0]
    assert both["estimated_cost"] == table.loc[LOCAL, "estimated_cost"]
    assert pd.isna(both["cost_per_ok"]), "the mean of a known and an unknown cost is not known"


def test_costs_over_all_runs_by_provider_and_month(kit):
    """kit.costs() adds runs up, from a day on if asked to, and keeps rehearsals and real runs apart."""
    runs = [kit.run(["a", "b"], TWO, name=name).result(60) for name in ("first", "second")]
    table = kit.costs(by=["provider", "month"])
    began = pd.concat([run.probes for run in runs])[["provider", "started_at"]]
    months = began["started_at"].dt.strftime("%Y-%m")
    assert [*zip(table["provider"], table["month"], strict=True)] == sorted(
        {*zip(began["provider"], months, strict=True)}
    )
    total = sum((run.total_cost for run in runs), Decimal(0))
    assert table["estimated_cost"].sum() == pytest.approx(float(total), abs=1e-12)
    assert kit.costs(by="run_name")["run_name"].tolist() == ["first", "second"]
    first, last = (moment.date() for moment in began["started_at"].agg(["min", "max"]))
    assert kit.costs(since=first)["probes"].sum() == kit.costs(since=str(first))["probes"].sum() == 8
    assert kit.costs(since=last + timedelta(days=1)).empty
    assert kit.costs(simulated=False).empty
    with pytest.raises(llmkit.ValidationError, match="since"):
        kit.costs(since="last week")


@pytest.mark.parametrize("edits", [100, pytest.param(1000, marks=pytest.mark.soak)])
def test_finished_runs_cost_the_same_after_many_price_edits(paying, edits):
    """Byte for byte: probes, turns and attempts of older runs are as they were, and so are their tables."""
    first = paying.run(["a", "b"], LOCAL).result(60)

    def everything(run):
        tables = (run.probes, run.turns, run.attempts, run.costs(), run.reprice())
        return [table.to_csv() for table in tables], run.total_cost

    before = everything(first)
    with paying.catalog._store.edit() as edit:  # one by one they would take minutes
        for n in range(edits - 1):
            price = Price(cost_input_per_million=Decimal(n), cost_output_per_million=Decimal(n))
            edit.add_price(DatedPrice(reference=LOCAL, valid_from=datetime(2026, 1, 1, tzinfo=UTC), price=price))
            edit.put_model(replace(edit.state.models[LOCAL], price=price), "update_model")
    paying.catalog.update_model(LOCAL, cost_input_per_million=7, cost_output_per_million=7)
    assert len(paying.catalog.history(LOCAL)) > 2 * edits
    second = paying.run(["a", "b"], LOCAL).result(60)
    assert everything(first) == before
    assert second.probes["cost_input_per_million"].tolist() == [7, 7]
