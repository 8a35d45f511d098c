import json
import math
import subprocess
import textwrap

import nbformat
import pytest
from nbclient import NotebookClient
from runs import LUNA, SMALL, TWO, hold_after, html_of, rehearsing, wait_for
from widget_actions import buttons, text_of

from llmkit.kit import open_kit
from llmkit.money.amounts import dollars
from llmkit.providers.transport import RetryPolicy
from llmkit.simulator import Fault
from llmkit.widgets import reader

HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script> **bold** $\\frac{1}{2}$ </pre>'


@pytest.fixture
def sim(kit):
    """What answers the kit."""
    with rehearsing(kit) as running:
        yield running


def answer_of_mistral(text):
    """An answer with this text, as Mistral would send it."""
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    body = {"id": "1", "object": "chat.completion", "model": "m", "usage": usage,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}  # fmt: skip
    return Fault(kind="raw", status=200, body=json.dumps(body), headers={"content-type": "application/json"})


def shown_answers(view):
    """What the reader of a view shows, as its module receives it."""
    return view.reader._read()


def test_the_view_adds_up(kit, sim):
    """Summary, costs by model, and failures with an example of each."""
    sim.script("mistral", ["refusal", "server_error"])
    kit.catalog.update_provider("mistral", max_parallel_requests=1)
    run = kit.run(["a", "b", "c"], TWO, name="pilot", max_tokens=50, retry=RetryPolicy(max_attempts=1)).result(30)
    view = run.view()
    shown = text_of(view.widget)
    assert "pilot" in shown
    assert "simulated" in shown
    assert "6 of 6" in shown
    for code, message in run.probes.loc[run.probes["status"] == "failed", ["error_code", "error_message"]].values:
        assert code in shown
        assert message[:40] in shown
    assert view.df["estimated_cost"].sum() == pytest.approx(float(run.total_cost))
    assert list(view.df["model"]) == sorted(TWO)


def test_the_view_says_what_was_reused(kit, sim):
    """Reused answers cost nothing here: without a word, a model that was asked before looks free."""
    first = kit.run(["a", "b"], LUNA, max_tokens=50).result(30)
    assert "Reused" not in text_of(first.view().widget)
    grown = kit.run(["a", "b"], TWO, max_tokens=50, reuse=True).result(30)
    assert f"Reused: 2 answers, which had cost {dollars(first.total_cost)}." in text_of(grown.view().widget)


def test_charts_have_words_for_those_who_do_not_see_them(kit, sim):
    """Two pictures with a text each, in the view and in the saved notebook."""
    view = kit.run("a", TWO, max_tokens=50).result(30).view()
    bundle = view._repr_mimebundle_()
    assert view.charts.value.count("data:image/svg+xml;base64,") == 2
    assert view.charts.value.count('alt="') == 2
    assert "Bar chart of the cost by model in US dollars" in view.charts.value
    assert view.charts.value in bundle["text/html"]
    assert "1 of 1" not in bundle["text/plain"]
    assert "2 of 2 probes answered" in bundle["text/plain"]


def test_every_turn_can_be_read_in_its_order(kit, sim):
    """The reader has the system prompt, the prompts, and the answer to each."""
    run = kit.run(["first"], TWO, followups=["second"], system="Be brief.", max_tokens=50).result(30)
    data = shown_answers(run.view())
    assert data["scenarios"] == [{"earlier": (), "prompts": ["first", "second"]}]
    assert data["systems"] == ["Be brief."]
    probe = next(probe for probe in data["probes"] if probe["model"] == SMALL)
    turns = run.turns[run.turns["probe_id"] == probe["id"]]
    assert [turn["response"] for turn in probe["turns"]] == list(turns["response"])


def test_a_failed_probe_says_why(kit, sim):
    """The probe without an answer is there with its error."""
    sim.script("openai", ["refusal"])
    (probe,) = shown_answers(kit.run("why", LUNA).result(30).view())["probes"]
    assert (probe["status"], probe["code"], probe["turns"]) == ("failed", "CONTENT_BLOCKED", [])


def test_a_hostile_answer_stays_text(kit, sim):
    """Tags, script, Markdown and TeX in prompt and answer are data of the reader, and text everywhere else."""
    sim.script("mistral", [answer_of_mistral(HOSTILE)])
    run = kit.run(HOSTILE, SMALL, name=HOSTILE).result(30)
    assert run.probes["response"][0] == HOSTILE
    view = run.view()
    bundle = view._repr_mimebundle_()
    for shown in (html_of(view.widget), bundle["text/html"]):
        assert "<img src=x" not in shown
        assert "<script" not in shown
        assert "mathjax_ignore" in shown
    (probe,) = shown_answers(view)["probes"]
    assert probe["turns"][0]["response"] == HOSTILE


def test_a_cancelled_run_is_resumed_from_its_view(kit, sim):
    """In another notebook: Resume, and the view shows the rest when it has come."""
    let_go = hold_after(sim, 3)
    kit.catalog.update_provider("openai", max_parallel_requests=2)
    handle = kit.run([f"q{n}" for n in range(40)], LUNA, max_tokens=50)
    assert sim.wait_until(lambda: sim.stats()["ok"] >= 3, timeout=60)
    handle.cancel()
    let_go()
    run = handle.result(60)
    view = kit.load(run.id).view()
    assert "cancelled" in view.summary.value
    buttons(view.widget)["Resume"].click()
    wait_for(view.summary, "value", lambda: ">completed<" in view.summary.value)
    assert "40 of 40" in view.summary.value
    assert "Resume" not in buttons(view.widget)


def test_a_saved_notebook_shows_the_end_of_a_run_that_its_view_resumed(database):
    """What a view leaves in its output does not say for ever that the run is in progress."""
    cells = f"""
        import llmkit, math, threading
        kit, sim = llmkit.open({str(database)!r}, simulate=True), llmkit.simulator.serve(latency=0)
        kit.use_simulator(sim)
        sim.script("openai", ["auth"])
        run = kit.run(["a", "b"], {LUNA!r}, max_tokens=50).result(60)
        ---
        view = run.view()
        view
        ---
        sim.set(latency=math.inf)
        view.resume_button.click()
        sim.set(latency=0)
        for thread in threading.enumerate():
            if thread.name == "llmkit-panel":
                thread.join()
    """
    sources = textwrap.dedent(cells).split("---\n")
    notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, sources)))
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    assert "completed: 2 of 2 probes answered" in notebook.cells[1].outputs[0].data["text/plain"]


def test_a_running_run_is_shown_as_far_as_it_is_stored(kit, sim, database):
    """Another notebook sees the progress, and Refresh brings the rest."""
    sim.set(latency=lambda asked: 0.01)
    handle = kit.run([f"q{n}" for n in range(3)], LUNA, max_tokens=50)
    with open_kit(database, simulate=True) as other:
        view = other.load(handle.run_id).view()
        assert f"{handle.run_id}" in view.summary.value
        handle.wait()
        buttons(view.widget)["Refresh"].click()
        assert ">completed<" in view.summary.value
        assert "3 of 3" in view.summary.value


def test_a_view_shows_the_end_of_its_run(kit, sim):
    """Opened while the run was in progress, it does not say so for ever."""
    let_go = hold_after(sim, 1)
    handle = kit.run(["a", "b"], LUNA, max_tokens=50)
    assert sim.wait_until(lambda: sim.stats()["ok"] == 1, timeout=60)
    view = kit.load(handle.run_id).view()
    assert ">running<" in view.summary.value
    let_go()
    wait_for(view.summary, "value", lambda: ">completed<" in view.summary.value)
    assert "2 of 2" in view.summary.value


def test_an_interrupted_run_says_so_and_is_taken_up_again(kit, sim, database, python):
    """The process died in the middle: the view shows what came, and Resume asks the rest."""
    script = textwrap.dedent(f"""
        import os
        from llmkit import simulator
        from llmkit.kit import open_kit
        sim = simulator.serve(latency=0.02)
        kit = open_kit({str(database)!r}, simulate=True)
        kit.use_simulator(sim)
        kit.catalog.update_provider("openai", max_parallel_requests=1, requests_per_minute=100_000)
        handle = kit.run([f"q{{n}}" for n in range(200)], {LUNA!r}, max_tokens=50)
        sim.wait_until(lambda: sim.stats()["ok"] >= 5)
        print(handle.run_id, flush=True)
        os._exit(1)
    """)
    run_id = subprocess.run([*python, "-c", script], capture_output=True, text=True, timeout=120).stdout.strip()
    view = kit.load(run_id).view()
    assert ">interrupted<" in view.summary.value
    assert len(shown_answers(view)["probes"]) == 200
    buttons(view.widget)["Resume"].click()
    wait_for(view.summary, "value", lambda: ">completed<" in view.summary.value)
    assert set(kit.load(run_id).probes["status"]) == {"ok"}


def test_a_bare_run_is_its_view(kit, sim):
    """The last line of a cell shows the view, and its text without a kernel."""
    run = kit.run("a", LUNA, max_tokens=20).result(30)
    bundle = run._repr_mimebundle_()
    assert run.id in bundle["text/html"]
    assert "llmkit-panel-" in bundle["text/html"]


def test_a_probe_that_was_never_asked_can_be_listed(kit, sim):
    """It has no answer, cost or time; it is there all the same."""
    sim.script("openai", ["auth"])
    kit.catalog.update_provider("openai", max_parallel_requests=1)
    probes = shown_answers(kit.run(["a", "b"], LUNA).result(30).view())["probes"]
    assert {probe["status"]: probe["cost"] for probe in probes} == {"failed": "$0.00", "skipped": None}


def test_a_lost_answer_counts_as_unpriced_everywhere(kit, sim):
    """The title, the table, its chart and the reader say alike that a request may have been billed."""
    sim.script("mistral", ["disconnect"])
    view = kit.run("a", SMALL, max_tokens=20, retry=RetryPolicy(scale=0.001)).result(30).view()
    assert view._repr_mimebundle_()["text/plain"].count("and 1 unpriced") == 2
    assert "1 unpriced request may have been billed" in text_of(view.widget)
    assert shown_answers(view)["probes"][0]["cost"].endswith("and 1 unpriced")
    assert view.run.plot_costs().texts[0].get_text().endswith("and 1 unpriced")


def test_a_reader_says_when_its_files_are_gone(database, monkeypatch):
    """While it follows a run whose folder is taken away: a sentence, and no traceback."""
    monkeypatch.setattr(reader, "_TICK", 0.05)
    with open_kit(database, simulate=True) as kit, rehearsing(kit, latency=math.inf):
        handle = kit.run("a", LUNA, max_tokens=20)
        follower = kit.reader(handle.run_id)
        elsewhere = database.parent.rename(database.parent.with_name("elsewhere"))
        wait_for(follower.notice.widget, "value", lambda: "cannot be opened" in follower.notice.text)
        elsewhere.rename(database.parent)
        handle.cancel(grace=0)
