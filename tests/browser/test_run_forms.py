"""A run as a person meets it: started from the form, watched, cancelled, taken up again and read, in JupyterLab."""

import json
import re

import pytest
from lab_page import PATIENCE, stands_below
from playwright.sync_api import expect

from llmkit.kit import open_kit
from llmkit.widgets.run_summary import summary_html

LUNA, SMALL = "openai:gpt-6-luna", "mistral:mistral-small-2603"
QUICK = "for name in kit.catalog.defaults(): kit.catalog.update_provider(name, max_parallel_requests=20, "
QUICK += "requests_per_minute=100_000)"
TEX = r"$\frac{1}{2}$ costs $3"
HOSTILE = f"<img src=x onerror=window.hacked=1><script>window.hacked=1</script> **bold** [x](javascript:1) {TEX}"
_TOO_WIDE = """async (panel, patience) => {  // empty as soon as JupyterLab has laid it out again
    const isBroken = each => each.tagName === 'TH' && each.offsetHeight > 36;  // a title in two lines
    const tooWide = () => {
        const right = panel.getBoundingClientRect().right + 1;
        return [...panel.querySelectorAll('input, textarea, select, button, td, th, img, pre')]
            .filter(each => each.offsetHeight && each.getBoundingClientRect().right > right || isBroken(each))
            .map(each => each.outerHTML.slice(0, 120));
    };
    const pause = () => new Promise(resolve => setTimeout(resolve, 300));
    const end = performance.now() + patience;
    do { await pause(); } while (tooWide().length && performance.now() < end);
    return tooWide();
}"""


_LINES = """cell => {
    const text = document.createRange();
    text.selectNodeContents(cell);
    return text.getClientRects().length;
}"""


_BROKEN = """cells => cells.filter(cell => {
    const width = cell.getBoundingClientRect().width;
    cell.style.overflowWrap = 'normal';
    return cell.getBoundingClientRect().width > width;
}).map(cell => cell.textContent)"""


def cells(database, *more, latency="(0.02, 0.1)"):
    """A notebook that opens the catalog and a simulator, and then does more, one thing a cell."""
    opening = f"""
        import llmkit
        kit = llmkit.open({str(database)!r}, simulate=True)
        sim = llmkit.simulator.serve(latency={latency})
        kit.use_simulator(sim)
    """
    return (re.sub(r"^ +", "", opening, flags=re.M).strip(), *more)


def start(notebook, cell):
    """Run one cell, and do not wait for it."""
    notebook.page.evaluate(
        """cell => {
            window.notebook.content.activeCellIndex = cell;
            window.jupyterapp.commands.execute('notebook:run-cell');
        }""",
        cell,
    )


def last_run(database):
    """The last run as another program reads it."""
    with open_kit(database, simulate=True) as kit:
        run = kit.last_run()
        return run.status, run.probes, run.settings


def done(panel):
    """How many probes the panel says are done."""
    label = panel.get_by_role("progressbar", name="All models").first
    return int(label.get_attribute("aria-valuenow"))


def fill(panel, **typed):
    """Type into the fields of the form."""
    for label, text in typed.items():
        panel.get_by_label(label.replace("_", " ")).fill(text)


def test_a_run_is_started_from_the_form_and_its_answers_read(lab, database):
    """Type prompts, tick and untick, see the cost, start, watch, read an answer."""
    notebook = lab.notebook("run", *cells(database, QUICK, "kit.run_form()"))
    notebook.run()
    panel = notebook.panel()
    expect(panel.get_by_label("Claude Haiku 5.5")).to_be_checked()
    fill(panel, Prompts="What is fair?\n\nWho decides?", Samples="5", Max_tokens="80")
    expect(panel.get_by_text("60 requests")).to_be_visible()
    fill(panel, Filter="gpt-6 luna")
    panel.get_by_label("GPT-6 Luna").uncheck()
    expect(panel.get_by_text("50 requests")).to_be_visible()
    panel.get_by_role("button", name="Start").click()
    expect(panel.get_by_text("50 of 50").first).to_be_visible()
    expect(panel.get_by_text(re.compile(r"\$0\.\d+ of about \$0\.\d+")).first).to_be_visible()
    panel.get_by_role("button", name="Show results").click()
    expect(panel.get_by_role("img", name="Bar chart of the cost by model")).to_be_visible()
    panel.get_by_label("Search in all turns").fill("who decides")
    panel.locator(".llmkit-reader .row").first.click()
    status, probes, settings = last_run(database)
    panel.get_by_role("button", name="Raw").click()
    expect(panel.get_by_role("region", name="Conversation").locator("pre").nth(1)).to_have_text(
        re.compile("|".join(re.escape(text) for text in probes["response"]))
    )
    assert status == "completed"
    assert LUNA not in set(probes["model"])
    assert settings["samples"] == 5


def test_what_makes_no_sense_starts_nothing(lab, database):
    """Budget "lots" and Start, which is far below: the form goes back there and says why, and there is no run."""
    lab.page.set_viewport_size({"width": 1280, "height": 400})
    notebook = lab.notebook("bad", *cells(database, "kit.run_form('a')"))
    notebook.run()
    panel = notebook.panel()
    budget = panel.get_by_label("Budget")
    budget.fill("lots")
    panel.get_by_role("button", name="Start").click()
    expect(budget).to_be_focused()
    expect(budget).to_be_in_viewport()
    alert = panel.get_by_role("alert")
    expect(alert).to_contain_text("type an amount of US dollars")
    assert stands_below(alert, budget)
    expect(budget).to_have_value("lots")
    with open_kit(database, simulate=True) as kit:
        assert kit.runs().empty


def test_progress_moves_cancel_stops_and_resume_ends_it(lab, database):
    """With the limits of a free account it takes long: cancel it, lift the limits, take it up again."""
    notebook = lab.notebook("cancel", *cells(database, "kit.run_form([f'q{n}' for n in range(30)])", QUICK))
    start(notebook, 0)
    start(notebook, 1)
    panel = notebook.panel(1)
    fill(panel, Max_tokens="50")
    panel.get_by_role("button", name="Start").click()
    cancel = panel.get_by_role("button", name="Cancel")
    expect(cancel).to_be_in_viewport()
    lab.page.wait_for_function(
        "() => [...document.querySelectorAll('[role=progressbar]')].some(bar => bar.ariaValueNow >= 8)"
    )
    expect(panel.get_by_text("requests per minute").first).to_be_visible()
    cancel.click()
    expect(panel.get_by_text("cancelled").first).to_be_visible()
    reached = done(panel)
    assert 8 <= reached < 180
    start(notebook, 2)
    panel.get_by_role("button", name="Resume").click()
    expect(panel.get_by_text("180 of 180").first).to_be_visible()
    assert set(last_run(database)[1]["status"]) == {"ok"}


def test_limits_edited_during_a_run_take_effect(lab, database):
    """One request a second at first; in the providers panel it is made a hundred, and the run is soon over."""
    notebook = lab.notebook(
        "limits",
        *cells(database, f"kit.run([f'q{{n}}' for n in range(100)], {LUNA!r}, max_tokens=50)", "kit.providers_panel()"),
    )
    notebook.run()
    watched, providers = notebook.panel(1), notebook.panel(2)
    expect(watched.get_by_text("requests per minute")).to_be_visible()
    assert done(watched) < 50
    notebook.screenshot("run_panel_running", watched)
    providers.get_by_role("button", name="OpenAI").click()
    providers.get_by_label("Parallel requests").fill("20")
    providers.get_by_label("Requests per minute").fill("6000")
    providers.get_by_label("Requests per minute").press("Enter")
    expect(watched.get_by_text("100 of 100").first).to_be_visible()
    expect(watched.get_by_text("completed")).to_be_visible()


def test_waiting_for_a_run_shows_its_panel_once_and_cancel_works(lab, database):
    """``await kit.run(...)``: the panel is in the output while the cell runs, and its Cancel ends the cell."""
    notebook = lab.notebook(
        "await", *cells(database, f"run = await kit.run([f'q{{n}}' for n in range(100)], {LUNA!r}, max_tokens=50)")
    )
    start(notebook, 0)
    start(notebook, 1)
    panel = notebook.panel(1)
    cancel = panel.get_by_role("button", name="Cancel")
    cancel.click()
    expect(panel.get_by_text("cancelled").first).to_be_visible()
    expect(panel.get_by_role("button", name="Resume")).to_be_visible()
    assert notebook.output(1).locator(".widget-html", has_text=LUNA).count() == 1
    assert last_run(database)[0] == "cancelled"


def test_a_reloaded_page_and_a_notebook_without_kernel_still_show_the_run(lab, database):
    """The panel is there after a reload; with the kernel gone, the saved text says how the run ended."""
    notebook = lab.notebook(
        "reload", *cells(database, QUICK, f"run = await kit.run(['a', 'b'], {[LUNA, SMALL]}, max_tokens=50)", "run")
    )
    notebook.run()
    expect(notebook.panel(2).get_by_text("4 of 4").first).to_be_visible()
    notebook.save()
    lab.load()
    notebook = lab.open("reload.ipynb")
    expect(notebook.panel(2).get_by_text("4 of 4").first).to_be_visible()
    lab.close_all()
    text = (lab.server.root / "reload.ipynb").read_text()
    other = text.replace(
        '"execution_count": 3', '"execution_count": 9'
    )  # so it is not trusted, like one from elsewhere
    (lab.server.root / "received.ipynb").write_text(other)
    notebook = lab.open("received.ipynb", kernel=False)
    saved = json.loads(text)
    texts = ["".join(out["data"]["text/html"]) for cell in saved["cells"] for out in cell.get("outputs", [])]
    run_id = last_run(database)[1]["run_id"][0]
    assert len(texts) == 2
    assert f"Run {run_id}, completed" in texts[0]
    assert "4 of 4 probes done" in texts[0]
    assert texts[1].count("data:image/svg+xml") == 2
    for cell in (2, 3):
        expect(notebook.output(cell)).to_contain_text(SMALL)
        expect(notebook.output(cell)).to_contain_text("4 of 4 probes")


def test_large_numbers_stay_whole(lab):
    """Beside a long name that wraps, a column grows with its numbers."""
    table = "html.table({'Model': 'auto', 'Ok': '36px'}, [('long-name' * 50, '5,000,000')], right=['Ok'])"
    code = f"from IPython.display import HTML\nfrom llmkit.widgets import html\nHTML({table})"
    notebook = lab.notebook("numbers", code)
    notebook.run()
    number = notebook.output().get_by_text("5,000,000")
    expect(number).to_be_visible()
    assert number.evaluate(_LINES) == 1
    assert number.evaluate("cell => cell.getBoundingClientRect().right <= document.body.clientWidth")


def test_names_of_models_break_at_their_hyphens(browser, database):
    """In a view half a screen wide, no default model's reference is cut within a word; in a narrower one, tables scroll
    by themselves.
    """
    with open_kit(database, simulate=True) as kit:
        handle = kit.run("How are you?")
        shown = handle.result(60).view().tables.value + summary_html(handle.run_id, handle.progress)
    page = browser.new_page(viewport={"width": 560, "height": 700})
    page.set_content(shown)
    assert page.locator("td:first-child").evaluate_all(_BROKEN) == []
    page.set_viewport_size({"width": 400, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    assert page.locator("table").evaluate_all("tables => tables.some(each => each.scrollWidth > 400)")
    page.close()


def test_a_hostile_answer_runs_nothing(lab, database):
    """Markup, script, Markdown and TeX in prompts, answers and names are characters on the screen."""
    body = {
        "id": "1", "object": "chat.completion", "model": "m",
        "usage": {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
        "choices": [{"index": 0, "message": {"role": "assistant", "content": HOSTILE}, "finish_reason": "stop"}],
    }  # fmt: skip
    fault = (
        f"llmkit.simulator.Fault(kind='raw', body={json.dumps(body)!r}, headers={{'content-type': 'application/json'}})"
    )
    hostile = repr(HOSTILE)
    notebook = lab.notebook(
        "hostile",
        *cells(
            database,
            f"sim.script('mistral', [{fault}])",
            f"kit.run_form([{hostile}])",
            f"kit.run({hostile}, {SMALL!r}, name={hostile}).result()",
            "kit.last_run()",
        ),
    )
    notebook.run()
    view = notebook.panel(4)
    view.get_by_label("Search in all turns").fill("bold")
    view.get_by_role("button", name="Raw").click()
    read = view.get_by_role("region", name="Conversation").locator("pre")
    expect(read.nth(0)).to_have_text(HOSTILE)
    expect(read.nth(1)).to_have_text(HOSTILE)
    expect(notebook.panel(2).get_by_text(TEX).first).to_be_visible()
    for panel in (notebook.panel(2), notebook.panel(3), view):
        assert not panel.locator("img[src=x], script, strong, a, .MathJax, mjx-container").count()
    assert lab.page.evaluate("window.hacked") is None
    assert not lab.alerts


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_run_panels_are_accessible_and_fit(lab, database, theme):
    """No serious finding of axe-core, in either theme, and at 800 px nothing stands over the edge."""
    name = theme.lower()
    notebook = lab.notebook(
        f"access_{name}",
        *cells(
            database,
            QUICK,
            "form = kit.run_form('What is fair?')\nform",
            "sim.script('openai', ['refusal'])\n"
            f"handle = kit.run([f'q{{n}}' for n in range(5)], {[LUNA, SMALL]}, max_tokens=50)\nhandle",
            "handle.result()",
        ),
    )
    lab.theme(f"JupyterLab {theme}")
    notebook.run()
    fill(notebook.panel(2), Budget="lots")
    expect(notebook.panel(2).get_by_role("alert")).to_be_visible()
    view = notebook.panel(4)
    view.locator(".llmkit-reader .row").nth(1).click()
    view.get_by_role("region", name="Conversation").wait_for()
    for cell, what in ((2, "run_form"), (3, "run_panel"), (4, "run_view")):
        panel = notebook.panel(cell)
        assert notebook.violations(panel) == []
        for width in (1280, 800):
            lab.page.set_viewport_size({"width": width, "height": 2200})
            panel.scroll_into_view_if_needed()
            over = panel.evaluate(_TOO_WIDE, PATIENCE)
            notebook.screenshot(f"{what}_{name}_{width}", panel)
            assert over == []
        lab.page.set_viewport_size({"width": 1280, "height": 900})
