"""What nobody knows the cost of counts at its worst against a budget, and numbers that cannot be true do no harm."""

import json
from decimal import Decimal

import pandas as pd
import pytest
from local_provider import FAST, LOCAL, add_local

import llmkit
from llmkit.runs.replay import lost_outcome
from llmkit.simulator import Fault

NO_RETRY = llmkit.RetryPolicy.fast(max_attempts=1)


def answer(**usage):
    """A good answer with this usage, or with none."""
    message = {"role": "assistant", "content": "hello"}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    body = {"id": "x", "object": "chat.completion", "model": "gpt-6-luna", "choices": choices, "usage": usage or None}
    return Fault(kind="raw", body=json.dumps(body), headers={"content-type": "application/json"})


@pytest.mark.parametrize("reply", [answer(), Fault(kind="garbage")], ids=["no usage", "no answer"])
def test_a_budget_holds_where_nobody_says_what_was_billed(paying, sim, reply):
    """Each such request is counted at the most that it can have cost, also when the run is resumed."""
    sim.script("openai", [reply] * 60)
    budget = Decimal("0.05")
    run = paying.run([f"q{n}" for n in range(30)], LOCAL, budget=budget, retry=NO_RETRY).result(60)
    for _ in range(2):
        most = sum(map(Decimal, paying.sql("SELECT worst_case::VARCHAR AS w FROM attempts")["w"]))
        assert 0 < most <= budget
        assert len(run.attempts) == sim.count("requests")
        run = paying.resume(run.id).result(60)


def test_a_reported_cost_counts_also_where_no_tokens_are_told(paying, sim):
    """What the provider says it billed is the cost, everywhere and later; the tokens are unknown rather than 0."""
    paying.catalog.update_provider("local", dialect="xai")
    sim.script("openai", [answer(cost_in_usd_ticks=31_000_000)])
    run = paying.run("How are you?", LOCAL).result(60)
    assert run.total_cost == Decimal("0.0031") == Decimal(str(run.reprice().attrs["total"]))
    (probe,) = run.probes.to_dict("records")
    assert probe["cost_source"] == "provider_reported"
    assert all(pd.isna(probe[name]) for name in ("input_tokens", "cached_input_tokens", "output_tokens"))
    assert run.costs()["unpriced"].tolist() == [0]


@pytest.mark.parametrize("default", [None, 7], ids=["no default", "a default"])
def test_what_is_free_costs_nothing_also_where_no_tokens_are_told(paying, sim, default):
    """A server of one's own may report no usage: any number of tokens at a price of 0 is $0, and no less exact."""
    paying.catalog.update_provider("local", default_cost_input_per_million=default)
    paying.catalog.add_model("local:free", cost_input_per_million=0, cost_output_per_million=0)
    sim.script("openai", [answer()] * 2)
    handle = paying.run("How are you?", ["local:free", LOCAL])
    run = handle.result(60)
    assert run.costs().set_index("model")["estimated_cost"].fillna(-1).to_dict() == {"local:free": 0, LOCAL: -1}
    assert run.probes.set_index("model")["cost_source"].to_dict() == {"local:free": "computed", LOCAL: "unpriced"}
    assert run.attempts["cost"].notna().sum() == handle.progress.unpriced == 1
    assert run.reprice()["source"].tolist() == run.probes["cost_source"].tolist()


@pytest.mark.parametrize("lost", ["disconnect", Fault(kind="garbage")], ids=["no reply", "no answer"])
def test_what_is_free_costs_nothing_also_where_its_answer_is_lost(paying, sim, lost):
    """Nothing of it may have been billed: not in the run's words, nor in a table, while it runs and later."""
    paying.catalog.add_model("local:free", cost_input_per_million=0, cost_output_per_million=0)
    sim.script("openai", [lost])
    handle = paying.run(["a", "b"], "local:free", retry=NO_RETRY)
    run = handle.result(60)
    assert (set(run.probes["status"]), handle.progress.unpriced) == ({"failed", "ok"}, 0)
    assert repr(run).endswith("2 probes, 1 ok, 1 failed, $0.00>")
    assert run.costs()[["maybe_billed", "unpriced", "estimated_cost", "failed_cost"]].eq(0).all(axis=None)
    assert not run.attempts["maybe_billed"].any()


@pytest.mark.parametrize(("worst", "maybe"), [(Decimal(0), False), (Decimal("0.1"), True), (None, True)])
def test_a_request_of_a_dead_process_was_not_billed_if_it_was_free(worst, maybe):
    """The most that it can have cost is in its intent; where that is unknown, it may have cost something."""
    row = {"position": 0, "turn": 1, "attempt": 1, "worst_case": worst}
    assert [event["maybe_billed"] for event in lost_outcome("20260101-000000-0000", row)] == [maybe]


@pytest.mark.parametrize(
    "options",
    [{"extra_body": {"tools": [{"description": "x" * 40_000}]}}, {"stop": ["文" * 9_000]}],
    ids=["tools", "stop"],
)
def test_the_worst_case_covers_all_that_is_sent(paying, sim, options):
    """What goes along with the messages is input too: one request costs more than the budget, so none is sent."""
    paying.catalog.update_model(LOCAL, cost_input_per_million=1000)
    with pytest.raises(llmkit.BudgetExceeded, match="up to"):
        paying.run("a question", LOCAL, budget=20, max_tokens=10, options=options)
    assert sim.count("requests") == 0


@pytest.mark.parametrize(
    ("usage", "prices"),
    [
        ({"prompt_tokens": 9 * 10**15, "completion_tokens": 5, "total_tokens": 9 * 10**15}, {}),
        ({"prompt_tokens": 10**9, "completion_tokens": 5, "total_tokens": 10**9}, {"cost_input_per_million": 10**9}),
    ],
    ids=["tokens", "price"],
)
def test_an_absurd_number_is_unknown_and_nothing_else_is_lost(database, sim, monkeypatch, usage, prices):
    """No amount in dollars can be that large: the answer is kept as unpriced, and the catalog opens as before."""
    monkeypatch.setenv("LOCAL_API_KEY", "sk-local-test")
    sim.script("openai", [answer(**usage)])
    with llmkit.open(database) as kit:
        add_local(kit, sim, **prices)
        run = kit.run(["one", "two"], LOCAL, options={"order_seed": 1}).result(60)
        assert run.probes["status"].tolist() == ["ok", "ok"]
        assert sorted(run.probes["cost_source"]) == ["computed", "unpriced"]
    with llmkit.open(database) as kit:
        assert kit.load(run.id).total_cost == run.total_cost
        kit.catalog.update_provider("local", **FAST)


def test_amounts_in_the_journal_that_no_column_holds_keep_nothing_out(database, sim, monkeypatch):
    """A journal written with an absurd amount is applied: that amount is unknown, all else is there."""
    monkeypatch.setenv("LOCAL_API_KEY", "sk-local-test")
    with llmkit.open(database) as kit:
        add_local(kit, sim)
        kit.catalog.set_balance("local", 5)
        run = kit.run(["one", "two"], LOCAL).result(60)
    (segment,) = sorted(database.with_name(database.name + ".journal").glob("*.jsonl"))[-1:]
    lines = [json.loads(line) for line in segment.read_text().splitlines()]
    for line in lines:
        if line["type"] == "outcome":
            line["cost"] = line["answer"]["cost"] = "123456789012.5"
        if line["type"] == "probe":
            line["estimated_cost"] = "123456789012.5"
    segment.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    database.unlink()
    with llmkit.open(database) as kit:
        assert kit.load(run.id).probes["estimated_cost"].isna().all()
        assert kit.load(run.id).probes["response"].tolist() == run.probes["response"].tolist()


def test_nothing_is_asked_once_an_answer_has_cost_more_than_it_could(paying, sim):
    """A provider that ignores max_tokens overdraws the budget with one answer; what waited for its turn is not sent."""
    paying.catalog.update_provider("local", max_parallel_requests=1)
    paying.catalog.update_model(LOCAL, api_config={"max_tokens_param": "max_completion_tokens"})
    sim.script("openai", [answer(prompt_tokens=30, completion_tokens=20_000, total_tokens=20_030)] * 10)
    run = paying.run([f"q{n}" for n in range(10)], LOCAL, max_tokens=500, budget="0.05").result(60)
    assert run.total_cost > Decimal("0.05")
    assert sim.count("requests") == 1
    assert (run.probes["status"] == "ok").sum() == 1
    assert set(run.probes["error_code"].dropna()) == {"BUDGET_EXCEEDED"}


def test_what_nobody_knows_is_never_shown_as_nothing(paying, sim):
    """Where a run is shown in words, answers without a price are unpriced and not $0."""
    paying.catalog.add_model("local:free", cost_input_per_million=0, cost_output_per_million=0)
    paying.catalog.add_model("local:secret", cost_input_per_million=None, cost_output_per_million=None)
    unpriced = paying.run(["one", "two"], "local:secret").result(60)
    assert "2 probes, 2 ok, unpriced>" in repr(unpriced)
    assert "unpriced" in unpriced.view()._repr_mimebundle_()["text/plain"].splitlines()[0]
    assert unpriced.reprice().attrs == {"total": None, "total_before": None, "difference": None}
    both = paying.run(["one", "two"], [LOCAL, "local:secret"])
    both.wait()
    assert both.progress.unpriced == 2
    assert "and 2 unpriced" in repr(both)
    assert "and 2 unpriced" in repr(both.run)
    assert both.run.reprice(model="local:secret").attrs["total"] is None
    assert "1 probe, 1 ok, $0.00>" in repr(paying.run("one", "local:free").result(60))


def test_with_unpriced_answers_among_priced_ones_every_number_says_of_how_many(paying, sim):
    """Tables, charts, view and report give the mean of those that are known; what is all unknown is never 0."""
    good = answer(prompt_tokens=20, completion_tokens=100, total_tokens=120)
    sim.script("openai", [good, answer(), good, answer()])
    some = paying.run(["a", "b", "c", "d"], LOCAL, retry=NO_RETRY).result(60)
    table = some.costs().iloc[0]
    assert (table["ok"], table["priced"], table["unpriced"]) == (4, 2, 2)
    assert pd.isna(table["cost_per_ok"])
    legend = some.plot_cost_and_latency().get_legend()
    assert [text.get_text() for text in legend.get_texts()] == [f"{LOCAL} (2 of 4 priced)"]
    assert "$0.00042 (2 of 4 priced)" in some.view().tables.value
    assert "$0.00084 and 2 unpriced" in some.view()._repr_mimebundle_()["text/plain"]
    sim.script("openai", [answer()] * 2)
    none = paying.run(["a", "b"], LOCAL, retry=NO_RETRY)
    run = none.result(60)
    assert none.panel().df["cost"].isna().all()
    assert run.costs()[["estimated_cost", "cost_per_ok"]].isna().all(axis=None)
    assert "Cost: unpriced." in run.report()
    assert "$0" not in run.report() + repr(run) + run.view().tables.value
    runs = paying.runs().set_index("run_id")
    assert runs.loc[some.id, ["estimated_cost", "unpriced"]].tolist() == [pytest.approx(0.00084), 2]
    assert runs.loc[run.id, "unpriced"] == 2
    assert runs["estimated_cost"].isna()[run.id]
    assert "$0.00084 and 4 unpriced" in paying._repr_mimebundle_()["text/plain"]


def test_what_failures_cost_is_missing_where_nobody_knows(paying, sim):
    """A refusal without usage may have been billed: no $0.00 beside it."""
    empty = json.loads(answer().body)
    empty["choices"][0]["message"]["content"] = ""
    vain = Fault(kind="raw", body=json.dumps(empty), headers={"content-type": "application/json"})
    sim.script("openai", [vain])
    row = paying.run("a", LOCAL, retry=NO_RETRY).result(60).costs().iloc[0]
    assert (row["failed"], row["maybe_billed"]) == (1, 1)
    assert row[["estimated_cost", "failed_cost", "wasted_cost"]].isna().all()
    assert "unpriced" in paying._repr_mimebundle_()["text/plain"]
    assert paying.runs()["unpriced"].tolist() == [1]


def test_an_available_provider_without_a_default_says_what_to_do(database, sim):
    """A server on this machine needs no key: it has to be named, or to be given a default model."""
    with llmkit.open(database) as kit:
        kit.catalog.add_provider("mine", base_url=sim.url_for("openai"))
        kit.catalog.add_model("mine:m", cost_input_per_million=0, cost_output_per_million=0)
        with pytest.raises(llmkit.ValidationError, match="set_default_model\\('mine:m'\\)"):
            kit.run("hi")


def test_a_simulator_put_to_use_during_a_run_answers_none_of_it(paying, sim):
    """A run that is paid goes on with its provider; the rehearsal begins with the next run."""
    paying.catalog.set_balance("local", 5)
    sim.set(latency=0.2)
    handle = paying.run([f"q{n}" for n in range(60)], LOCAL)
    assert sim.wait_until(lambda: sim.count("requests") > 0, timeout=30)
    with llmkit.simulator.serve(latency=0) as rehearsal:
        paying.use_simulator(rehearsal)
        run = handle.result(60)
        assert sim.count("ok") == 60
        assert rehearsal.count("requests") == 0
        assert paying.catalog.provider("local").balance == 5 - run.total_cost
        assert paying.run("a question", LOCAL).result(60).probes["simulated"].all()
        assert rehearsal.count("ok") == 1
