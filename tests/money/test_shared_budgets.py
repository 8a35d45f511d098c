"""Budgets above runs: by month, project and provider, over all processes, to the last cent."""

import contextlib
import json
import math
import multiprocessing
import subprocess
import threading
import warnings
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from local_provider import LOCAL
from test_money_unknown import NO_RETRY, answer

import llmkit

COST = Decimal("0.0011")  # 100 tokens of input at $1 and 250 of output at $4 a million
PROMPTS = [f"q{n}" for n in range(40)]


def this_month():
    """The month of now, which may begin between two tests."""
    return f"{datetime.now(UTC):%Y-%m}"


@pytest.fixture(autouse=True)
def the_month_stays():
    """Between two months, these tests would set the budget of one and spend that of the other."""
    now = datetime.now(UTC)
    if (now + timedelta(minutes=1)).month != now.month:
        pytest.skip("This month ends within a minute.")


def script(sim, count=400):
    """Every answer costs the same, and a good part of what it could cost."""
    sim.script("openai", [answer(prompt_tokens=100, completion_tokens=250, total_tokens=350)] * count)


def row(kit, scope=None):
    """A budget as the table has it."""
    table = kit.budgets()
    return table[table["scope"] == (scope or this_month())].iloc[0]


def test_a_project_that_is_nearly_that_of_a_budget_is_pointed_out(paying, sim):
    """Misspelt, it would be charged to no budget; another project, or none, has no need of one."""
    script(sim)
    paying.set_budget("grant 7", 5)
    with pytest.warns(UserWarning, match=r"No budget covers the project 'Grant7'\. Did you mean 'grant 7'\?"):
        paying.run("q", LOCAL, max_tokens=300, project="Grant7").result(60)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for project in ("grant 7", "a thesis", None):
            paying.run("q", LOCAL, max_tokens=300, project=project).result(60)


@pytest.mark.parametrize("scope", ["this month", "grant 7"])
@pytest.mark.parametrize("provider", [None, "local"])
def test_runs_stop_at_a_budget_that_they_share(paying, sim, scope, provider):
    """The second run ends where both together have spent it; its status and its words name the budget."""
    script(sim)
    scope = this_month() if scope == "this month" else scope
    paying.set_budget(scope, "0.06", provider=provider, alert_at=1)
    first = paying.run(PROMPTS, LOCAL, max_tokens=300, project="grant 7").result(60)
    assert first.status == "completed"
    second = paying.run(PROMPTS, LOCAL, max_tokens=300, project="grant 7").result(60)
    spent = first.total_cost + second.total_cost
    assert second.status == "budget"
    assert scope in repr(second)
    assert second.message.endswith(f"kit.resume({second.id!r}) asks them.")
    assert Decimal("0.054") < spent <= Decimal("0.06")
    now = row(paying, scope)
    assert (now["amount"], now["reserved"]) == (0.06, 0)
    assert now["spent"] == pytest.approx(float(spent))
    assert set(second.probes["status"]) == {"ok", "skipped"}


def test_other_months_projects_and_providers_are_not_limited(paying, sim):
    """A budget of nothing stops only what counts against it."""
    script(sim)
    with pytest.warns(UserWarning, match=f"2001-01 limits nothing.*'{this_month()}'"):
        paying.set_budget("2001-01", 0)
    paying.set_budget("another", 0)
    paying.set_budget(this_month(), 0, provider="openai")
    assert paying.run(PROMPTS, LOCAL, project="mine").result(60).status == "completed"
    assert paying.budgets()["spent"].tolist() == [0, 0, 0]
    paying.set_budget("mine", 0)
    with pytest.raises(llmkit.BudgetExceeded, match="left of the budget mine"):
        paying.run(PROMPTS, LOCAL, project="mine")
    paying.set_budget("mine", None)
    assert "mine" not in paying.budgets()["scope"].tolist()


def test_what_is_free_is_asked_when_more_than_a_budget_is_spent(paying, sim):
    """A model on one's own machine costs nothing, so that no budget stands in its way, shared or the run's own."""
    script(sim)
    paying.catalog.add_model("local:free", cost_input_per_million=0, cost_output_per_million=0)
    with pytest.warns(UserWarning, match="the budget is exceeded"):
        both = paying.run(PROMPTS, [LOCAL, "local:free"], max_tokens=10, budget="0.0005").result(60)
    rows = both.probes.groupby("model")["status"].agg(set)
    assert both.status == "budget"
    assert rows["local:free"] == {"ok"}
    assert "skipped" in rows[LOCAL]
    paying.set_budget(this_month(), "0.0001")
    assert paying.run(PROMPTS, "local:free").result(60).status == "completed"  # however long its answers
    paying.catalog.update_model("local:free", cost_output_per_million=1)
    with pytest.raises(llmkit.BudgetExceeded, match="no limit on its answers"):
        paying.run(PROMPTS, "local:free")
    paying.catalog.update_model("local:free", cost_output_per_million=0, cost_input_per_million=1_000)
    with pytest.raises(llmkit.BudgetExceeded, match=r"local:free can cost up to .*, more than"):
        paying.run(PROMPTS, "local:free")


def test_the_alert_is_seen_once(paying, sim):
    """When the share is spent that was chosen, in the run in which it was; in the form from then on."""
    script(sim)
    paying.set_budget(this_month(), "0.08", alert_at=0.5)
    seen = []
    for _ in range(2):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            handle = paying.run(PROMPTS, LOCAL, max_tokens=300)
            handle.result(60)
        seen.append([str(each.message) for each in caught if f"Of the budget {this_month()}" in str(each.message)])
    assert [len(sentences) for sentences in seen] == [1, 0]
    assert "of $0.08" in seen[0][0]
    assert "$0.08" in paying.run_form("q").form["budget"].error.text


def test_the_form_asks_for_a_project_where_one_has_a_budget(paying, sim):
    """It says what is left of it, and starts the run for it; without such a budget there is no such field."""
    script(sim)
    assert "project" not in paying.run_form("q").form.fields
    paying.set_budget(this_month(), 10)
    paying.set_budget("grant 7", "0.50")
    paying.set_budget("grant 7", 5, provider="local")
    paying.run(PROMPTS, LOCAL, max_tokens=300, project="grant 7").result(60)
    form = paying.run_form("q")
    field = form.form["project"]
    assert [label for label, _ in field.control.options] == ["none", "grant 7"]
    assert field.control.label == "none"
    assert field.error.text == ""
    field.control.value = "grant 7"
    form.refresh()
    assert field.error.text == "$0.456 of $0.50 are left. $4.96 of $5.00 are left at local."
    form.picker.chosen = (LOCAL,)
    form.start_button.click()
    assert form.handle.result(60).settings["project"] == "grant 7"


def test_an_alert_at_once_is_no_alert_at_the_end(paying):
    """A share of 0 stays 0; ``None`` is all of it."""
    paying.set_budget(this_month(), 1, alert_at=0)
    paying.set_budget("study", 1, alert_at=None)
    assert paying.budgets().set_index("scope")["alert_at"].to_dict() == {this_month(): 0, "study": 1}


def test_a_budget_that_is_set_while_a_run_goes_on_holds_for_it(paying, sim):
    """What the run has spent counts from its beginning."""
    sim.set(latency=0.3)
    paying.catalog.update_provider("local", max_parallel_requests=2)
    handle = paying.run([f"q{n}" for n in range(200)], LOCAL, max_tokens=300)
    assert sim.wait_until(lambda: sim.count("requests") >= 2, timeout=60)
    paying.set_budget(this_month(), "0.00001")
    run = handle.result(60)
    assert run.status == "budget"
    assert (run.probes["status"] == "ok").sum() < 200


@pytest.mark.parametrize("price", [1, None], ids=["priced", "unpriced"])
def test_a_request_that_waits_when_a_budget_is_set_is_held_by_it(paying, sim, price):
    """It began to wait in a run without any budget, and there is room for it only afterwards."""
    sim.set(latency=math.inf)
    paying.catalog.update_provider("local", max_parallel_requests=1)
    paying.catalog.add_model("local:slow", cost_input_per_million=price, cost_output_per_million=price)
    handle = paying.run(["q1", "q2"], "local:slow", max_tokens=300)
    refused = threading.Event()
    handle.listen(lambda event: event.code == "BUDGET_EXCEEDED" and refused.set())
    assert sim.wait_until(lambda: sim.count("requests") == 1, timeout=60)
    paying.set_budget(this_month(), "0.00001")
    paying.catalog.update_provider("local", max_parallel_requests=2)
    assert refused.wait(60)
    sim.set(latency=0)
    assert sorted(handle.result(60).probes["status"]) == ["ok", "skipped"]
    assert sim.count("requests") == 1


@pytest.mark.parametrize("budget", [None, 5])
def test_a_request_that_need_not_wait_for_money_does_not_say_so(paying, sim, budget):
    """Looking into a budget takes time, too, but is no wait."""
    script(sim)
    run = paying.run("q", LOCAL, max_tokens=10, budget=budget).result(60)
    assert run.attempts["wait_reason"].isna().all()


def test_an_unpriced_model_is_refused_under_a_budget(paying):
    """Nobody could say whether the budget holds."""
    paying.catalog.add_model("local:secret", cost_input_per_million=None, cost_output_per_million=None)
    paying.set_budget(this_month(), 5)
    with pytest.raises(llmkit.LlmkitError, match=r"no price|no limit"):
        paying.run("q", "local:secret")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"scope": "2026-13", "amount": 1}, "scope"),
        ({"scope": "", "amount": 1}, "scope"),
        ({"scope": None, "amount": 1}, "scope"),
        ({"scope": "2026-12", "amount": -1}, "amount"),
        ({"scope": "2026-12", "amount": "much"}, "amount"),
        ({"scope": "2026-12", "amount": 1, "alert_at": 1.5}, "alert_at"),
    ],
)
def test_what_is_no_budget_is_refused(kit, arguments, field):
    """With the argument that is at fault."""
    with pytest.raises(llmkit.ValidationError) as refused:
        kit.set_budget(**arguments)
    assert refused.value.field == field
    with pytest.raises(llmkit.UnsupportedProvider):
        kit.set_budget(this_month(), 1, provider="nobody")
    with pytest.raises(llmkit.ValidationError, match="month"):
        kit.run("q", project="2026-12")
    with pytest.raises(llmkit.ValidationError, match="set_budget"):
        kit.catalog.set_setting("budgets", [])


def test_a_budget_set_again_is_no_change(paying):
    """The same amount, or removing what is not there, leaves nothing to undo; undo reverts the change before."""
    paying.set_budget("grant", 1)
    paying.set_budget("other", 2)
    n_events = len(paying.catalog.history())
    paying.set_budget("grant", "1.0")
    paying.set_budget("third", None)
    assert len(paying.catalog.history()) == n_events
    paying.catalog.undo()
    assert paying.budgets()["scope"].tolist() == ["grant"]


def test_a_third_of_a_total_is_rounded_down(paying):
    """No column holds that many decimals, and nobody should have to round them."""
    paying.set_budget(this_month(), Decimal(1) / 3)
    assert paying.catalog.state().settings["budgets"][0]["amount"] == "0.3333333333"
    run = paying.run("q", LOCAL, budget=Decimal(2) / 3).result(60)
    assert run.settings["budget"] == "0.6666666666"
    again = paying.run("q", LOCAL, reuse=True, reuse_within=1 / 3, options={"poll_s": 1 / 3}).result(60)
    assert again.total_cost == 0
    pilot = paying.run(["q", "r", "s"], LOCAL, samples=2).result(60)
    design = paying.design("q", LOCAL, value="output_tokens", detect=1, pilot=pilot, budget=Decimal(2) / 3)
    assert design.cost <= Decimal(2) / 3


def _run_twice(path, barrier) -> None:
    with llmkit.open(path) as kit:
        barrier.wait()
        handles = []
        for _ in range(2):
            with contextlib.suppress(llmkit.BudgetExceeded):  # the others may have spent it all by then
                handles.append(kit.run(PROMPTS, LOCAL, max_tokens=300, retry=NO_RETRY))
        for handle in handles:
            handle.result(90)


def test_two_processes_with_four_runs_never_pass_a_month(paying, sim):
    """At least nine tenths are used, nothing more than there is; and the alert comes once."""
    script(sim)
    sim.set(latency=0.01)
    paying.set_budget(this_month(), "0.10")
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    workers = [context.Process(target=_run_twice, args=(paying.path, barrier)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    spent = sum(paying.load(run_id).total_cost for run_id in paying.runs()["run_id"])
    assert Decimal("0.09") <= spent <= Decimal("0.10")
    assert row(paying)["spent"] == pytest.approx(float(spent))
    assert "budget" in set(paying.runs()["status"])


KILLED = """
import os, sys
import llmkit

with llmkit.open(sys.argv[1]) as kit:
    answers = 0
    def count(event):
        global answers
        answers += event.kind == "answered"
        if answers == 10:
            os._exit(9)  # as if the machine had gone
    kit.run([f"q{n}" for n in range(40)], sys.argv[2], max_tokens=300, on_event=count).result(60)
"""


def test_what_a_killed_run_spent_counts(paying, sim, python):
    """Under the budget at once, off the balance when the catalog is opened next; and never twice."""
    script(sim)
    paying.set_budget(this_month(), "0.05")
    paying.catalog.set_balance("local", 5)
    gone = subprocess.run([*python, "-c", KILLED, str(paying.path), LOCAL], timeout=120, check=False)
    assert gone.returncode == 9
    left = paying.last_run()
    assert row(paying)["spent"] >= float(left.total_cost) >= float(10 * COST)
    for _ in range(2):
        with llmkit.open(paying.path) as again:
            assert again.catalog.provider("local").balance == 5 - left.total_cost
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # requests on their way may be billed twice
        run = paying.resume(left.id).result(60)
    assert run.status in ("completed", "budget")
    assert paying.catalog.provider("local").balance == 5 - run.total_cost
    assert row(paying)["spent"] <= 0.05


def test_the_balance_goes_down_while_a_run_goes_on(paying, sim):
    """Whoever looks sees what is left, not what was left when the run began."""
    script(sim)
    sim.set(latency=0.2)
    paying.catalog.set_balance("local", 5)
    paying.catalog.update_provider("local", max_parallel_requests=4)
    handle = paying.run([f"q{n}" for n in range(200)], LOCAL)
    assert sim.wait_until(lambda: paying.catalog.provider("local").balance < 5, timeout=30)
    assert not handle.done()
    handle.cancel()
    handle.wait()
    assert paying.catalog.provider("local").balance == 5 - paying.load(handle.run_id).total_cost


def test_an_account_that_owes_money_is_not_asked(paying):
    """Unless somebody says so."""
    paying.catalog.set_balance("local", "-0.5")
    with pytest.raises(llmkit.BudgetExceeded, match=r"balance of local is -\$0\.50.*sync_balance.*overdraw"):
        paying.run("q", LOCAL)
    with pytest.warns(UserWarning, match="balance"):
        assert paying.run("q", LOCAL, options={"overdraw": True}).result(60).status == "completed"


def test_rehearsals_have_accounts_of_their_own(kit, tmp_path):
    """What a rehearsal spends is nobody's money, but it is stopped as a real run is."""
    whole = kit.run(PROMPTS, "openai:gpt-6-luna", max_tokens=200).result(60).total_cost
    kit.set_budget(this_month(), whole * Decimal("1.5"))
    run = kit.run(PROMPTS, "openai:gpt-6-luna", max_tokens=200).result(60)
    assert run.status == "budget"
    assert float(whole) < row(kit)["spent"] <= row(kit)["amount"]
    with llmkit.open(kit.path) as real:
        assert row(real)["spent"] == 0


def test_a_lost_ledger_is_counted_anew(paying, sim):
    """It is a cache of the journal."""
    script(sim)
    paying.set_budget(this_month(), "0.06")
    spent = paying.run(PROMPTS, LOCAL, max_tokens=300).result(60).total_cost
    file = paying.path.with_name(paying.path.name + ".gate") / "budgets"
    assert json.loads(file.read_text())
    file.write_text('{"half a li')
    assert row(paying)["spent"] == pytest.approx(float(spent))
