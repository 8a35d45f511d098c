import math
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from runs import LUNA, SMALL, TWO, ended, hold_after, rehearsing, wait_for
from widget_actions import buttons

from llmkit.errors import RequestFailed
from llmkit.money.amounts import dollars
from llmkit.providers.transport import RetryPolicy
from llmkit.runs import ModelProgress, Progress
from llmkit.simulator import Fault
from llmkit.widgets.html import duration
from llmkit.widgets.run_summary import summary_html


@pytest.fixture
def sim(kit):
    """What answers the kit."""
    with rehearsing(kit) as running:
        yield running


def test_the_panel_ends_with_everything_counted(kit, sim):
    """The last drawing is of the run's end: all done, the cost to the last cent, nothing left to press."""
    handle = kit.run(["a", "b", "c"], TWO, samples=5, max_tokens=50)
    panel = handle.panel()
    ended(panel)
    assert "30 of 30" in panel.summary.value
    assert list(panel.df["ok"]) == [15, 15]
    assert list(panel.df["waiting"]) == [0, 0]
    assert panel.progress.cost == handle.run.total_cost
    assert set(buttons(panel.widget)) == {"Answers"}


def test_cancel_stops_and_resume_asks_the_rest(kit, sim):
    """After Cancel the rest was not asked; Resume asks it, in the same panel, and counts what was there before."""
    let_go = hold_after(sim, 3)
    kit.catalog.update_provider("openai", max_parallel_requests=1)
    panel = kit.run([f"q{n}" for n in range(60)], LUNA, max_tokens=50).panel()
    wait_for(panel.summary, "value", lambda: panel.progress.ok >= 3)
    buttons(panel.widget)["Cancel"].click()
    let_go()
    ended(panel)
    run = kit.last_run()
    assert run.status == "cancelled"
    answered = Counter(run.probes["status"])["ok"]
    assert 3 <= answered < 60
    assert set(buttons(panel.widget)) == {"Resume", "Answers"}
    sim.set(latency=0)
    resume = buttons(panel.widget)["Resume"]
    resume.click()
    resume.click()  # a double click
    assert panel.notice.text == ""
    ended(panel)
    assert panel.progress.total == panel.progress.ok == 60
    assert panel.progress.cost == run.total_cost
    assert run.status == "completed"
    assert sim.stats()["by_provider"]["openai"]["billed"] == 60


def test_a_resumed_run_in_a_new_panel_counts_what_was_there_before(kit, sim):
    """``kit.resume(...)`` at the end of a cell shows the whole run, not only what is left of it."""
    sim.script("openai", ["quota"])
    kit.catalog.update_provider("openai", max_parallel_requests=1)
    run = kit.run(["a", "b", "c"], TWO, max_tokens=50).result(30)
    assert set(run.probes["status"]) == {"ok", "failed", "skipped"}
    panel = kit.resume(run.id).panel()
    ended(panel)
    assert dict(zip(panel.df["model"], panel.df["ok"], strict=True)) == {LUNA: 3, SMALL: 3}
    assert panel.progress.cost == run.total_cost
    assert ">Took (new part)<" in panel.summary.value, "the time of before is not in it"


def test_the_panel_of_a_run_that_grows_has_its_name_and_the_time_of_what_is_new(kit):
    """A run that reuses answers was never resumed; its name heads the panel as it heads the view."""
    kit.run("Why?", LUNA, max_tokens=50).result(30)
    panel = kit.run("Why?", TWO, max_tokens=50, name="Taxes <2026>", reuse=True).panel()
    ended(panel)
    assert panel.progress.total == 2
    assert ">Took (new part)<" in panel.summary.value
    assert "Taxes &lt;2026&gt;" in panel.summary.value


def test_the_panel_says_what_a_provider_waits_for(kit, sim):
    """A rate limit, with the seconds left; the other provider goes on."""
    kit.catalog.update_provider("openai", max_parallel_requests=1)
    sim.script("openai", [Fault(kind="rate_limit", retry_after=30.0)])
    panel = kit.run(["a", "b"], TWO, max_tokens=50).panel()
    wait_for(panel.summary, "value", lambda: "rate limited" in panel.summary.value)
    assert "openai: " in panel.summary.value
    panel.cancel_button.click()
    ended(panel)
    assert "rate limited" not in panel.summary.value
    assert list(kit.last_run().probes.query("model == @SMALL")["status"]) == ["ok", "ok"]


def test_failures_are_counted_by_code(kit, sim):
    """What went wrong stands in the panel, with how often."""
    sim.set(faults={"refusal": 1.0})
    panel = kit.run(["a", "b"], LUNA).panel()
    ended(panel)
    assert "CONTENT_BLOCKED × 2" in panel.summary.value
    assert list(panel.df["failed"]) == [2]


def test_a_busy_run_draws_at_most_ten_times_a_second(kit, sim):
    """However many events come, few drawings are sent, and the last one is complete."""
    drawn = []
    began = time.monotonic()
    handle = kit.run([f"q{n}" for n in range(300)], TWO, max_tokens=20)
    panel = handle.panel()
    panel.summary.observe(lambda _: drawn.append(time.monotonic()), "value")
    ended(panel)
    assert "600 of 600" in panel.summary.value
    assert len(drawn) <= 10 * (drawn[-1] - began) + 3


def test_a_resume_that_is_refused_says_why(kit, sim):
    """An error becomes a sentence in the panel; the button stays."""
    sim.set(faults={"server_error": 1.0})
    panel = kit.run("a", LUNA, retry=RetryPolicy(max_attempts=1)).panel()
    ended(panel)

    def refuse(run_id):
        raise RequestFailed("The provider is closed today.")

    panel._resume = refuse
    panel.resume_button.click()
    assert panel.notice.text == "The provider is closed today."
    assert "Resume" in buttons(panel.widget)


def test_a_bare_handle_reads_well_without_a_kernel(kit, sim):
    """The saved notebook holds the widget, and as text how far it was and how to read on."""
    handle = kit.run("a", LUNA, max_tokens=20)
    handle.wait()
    bundle = handle._repr_mimebundle_()
    assert "llmkit-panel-" in bundle["text/html"]
    for kind in ("text/plain", "text/html"):
        assert "1 of 1 probes done" in bundle[kind]
        assert handle.run_id in bundle[kind]
        assert LUNA in bundle[kind]


HOSTILE = '<img src=x onerror="alert(1)"> $\\frac{1}{2}$'


def test_no_name_becomes_markup():
    """Models, providers and reasons are shown as they are written."""
    now = Progress(
        status="running",
        started_at=datetime.now(UTC),
        models={HOSTILE: ModelProgress(total=2, ok=1)},
        waiting={HOSTILE: HOSTILE},
        codes={HOSTILE: 1},
    )
    drawn = summary_html(HOSTILE, now, title=HOSTILE, badges=[])
    assert "<img" not in drawn
    assert drawn.startswith('<div class="tex2jax_ignore mathjax_ignore"')
    assert drawn.count("&lt;img src=x") >= 5


def test_of_many_models_those_with_something_to_do_are_listed():
    """Thirty finished models do not push the one that goes on, and the one that failed, off the screen."""
    models = {f"p:done-{n}": ModelProgress(total=1, ok=1) for n in range(30)}
    models |= {"p:failed": ModelProgress(total=1, failed=1), "p:open": ModelProgress(total=2)}
    drawn = summary_html("r", Progress(status="running", started_at=datetime.now(UTC), models=models))
    assert drawn.index("p:open") < drawn.index("p:failed")
    assert "and 7 more models" in drawn


def test_what_was_skipped_is_not_done():
    """In the facts, in the model's line and for screen readers alike."""
    models = {"p:m": ModelProgress(total=9, ok=2, failed=1, skipped=6)}
    drawn = summary_html("r", Progress(status="budget", started_at=datetime.now(UTC), models=models))
    assert drawn.count("3 of 9") == 5  # the facts; label and title of both bars
    assert ">3</td>" in drawn
    assert 'aria-valuenow="3"' in drawn


def test_amounts_and_times_read_as_people_say_them():
    """Cents from a dollar on, two telling digits below; seconds, minutes, hours."""
    assert [dollars(Decimal(text)) for text in ("0", "12.349", "1234.5", "0.0123", "0.00047", "0.000000912")] == [
        "$0.00", "$12.35", "$1,234.50", "$0.0123", "$0.00047", "$0.00000091",
    ]  # fmt: skip
    assert dollars(None) == "unpriced"
    assert [duration(s) for s in (0.4, 59, 61, 3_725)] == ["0 s", "59 s", "1 min 01 s", "1 h 02 min"]


def test_answers_and_failures_are_read_in_the_panel(kit, sim):
    """While the run goes on and after it: a reader of its probes, which the saved notebook keeps."""
    sim.set(latency=math.inf)
    panel = kit.run(["a", "b"], TWO, max_tokens=20).panel()
    buttons(panel.widget)["Answers"].click()
    assert "Answers" not in buttons(panel.widget)
    sim.set(latency=0)
    ended(panel)
    assert list(panel.reader.df["status"]) == ["ok"] * 4
    assert "<iframe" in panel._repr_mimebundle_()["text/html"]


def test_a_click_during_the_end_leaves_no_cancel_behind(kit, sim):
    """A drawing that began before the end never comes after the last one, however long it takes."""
    sim.set(latency=math.inf)
    panel = kit.run(["a", "b"], LUNA, max_tokens=20).panel()
    begun, go_on = threading.Event(), threading.Event()

    def hold(_):
        if not begun.is_set():
            begun.set()
            assert go_on.wait(30)

    panel.summary.value = ""
    panel.summary.observe(hold, "value")
    click, last = threading.Thread(target=panel.refresh), threading.Thread(target=panel.refresh)
    click.start()
    assert begun.wait(30)
    sim.set(latency=0)
    panel.handle.wait()
    last.start()
    last.join(1)  # in vain: it waits for the one that is held
    go_on.set()
    click.join()
    last.join()
    assert set(buttons(panel.widget)) == {"Answers"}


def test_a_run_that_breaks_is_not_running_for_ever(kit, sim, monkeypatch):
    """Even when its end cannot be written: who watches hears that it has failed."""
    sim.set(latency=math.inf)
    handle = kit.run(["a", "b"], LUNA, max_tokens=20)
    store = handle._session.context.services.store
    panel = handle.panel()
    append = store.append

    def full(lines):
        if any(line.get("type") == "run_state" for line in lines):
            raise OSError(28, "No space left on device")
        return append(lines)

    monkeypatch.setattr(type(store), "append", lambda self, lines: full(lines))
    sim.set(latency=0)
    handle.wait()
    wait_for(panel.summary, "value", lambda: not panel.progress.running)
    assert handle.status != "running"
