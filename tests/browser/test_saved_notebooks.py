"""Notebooks are saved with what their panels showed, and reopened as a person would: trusted as they were."""

import nbformat
import pytest
from lab_page import plain
from nbclient import NotebookClient
from nbformat.sign import NotebookNotary

CELLS = (
    "import llmkit\nkit = llmkit.open({path!r}, simulate=True)",
    "kit.models_panel()",
    "kit.settings_panel()",
    "run = await kit.run(['Why?', 'How?'], models='openai:gpt-6-luna', samples=2)",
    "run",
    "kit.run_form(['Why?'])",
)
SCHEME = """scheme => new Promise(done => {
    const query = matchMedia(`(prefers-color-scheme: ${scheme})`);
    if (query.matches) { done(true); }
    query.onchange = () => done(query.matches);
    setTimeout(done, 30_000, false);
})"""
ERRORS = ("Error displaying widget", "Loading widget", "model not found")


def write(lab, database, name):
    """A notebook whose panels were all shown, run and saved."""
    notebook = lab.notebook(name, *(cell.format(path=str(database)) for cell in CELLS))
    notebook.run()
    notebook.panel(1)
    notebook.panel(5)
    notebook.save()
    return notebook


def outputs(notebook):
    """The text of every output, by its cell."""
    return [plain(notebook.output(cell).inner_text()) for cell in range(1, 6)]


@pytest.mark.parametrize("kernel", [False, True], ids=["no kernel", "a new kernel"])
def test_a_reopened_notebook_shows_what_its_panels_showed(lab, database, kernel):
    """Closed with its kernel stopped, a notebook still shows every panel's last state, and no widget error."""
    write(lab, database, "saved")
    lab.close_all()
    reopened = lab.open("saved.ipynb", kernel=kernel)
    reopened.output(1).get_by_text("claude-haiku-5-5").first.wait_for()
    shown = outputs(reopened)
    assert not [text for text in shown if any(error in text for error in ERRORS)]
    assert "4 of 4 probes done" in shown[2]
    assert "4 of 4 probes answered" in shown[3]
    lab.page.emulate_media(color_scheme="null")  # Playwright's own scheme would hide that of the theme
    answers = reopened.output(4).locator("iframe").element_handle().content_frame()
    for theme in ("Dark", "Light"):
        lab.theme(f"JupyterLab {theme}")
        assert answers.evaluate(SCHEME, theme.lower())
    assert reopened.output(1).locator("button").count() == 0  # what cannot be used does not look as if it could


def test_a_panel_keeps_working_while_its_saved_form_is_renewed(lab, database):
    """An edit by code is shown without a click and saved with the notebook; text in a filter survives it."""
    notebook = lab.notebook("renewed", CELLS[0].format(path=str(database)), "panel = kit.models_panel()\npanel")
    notebook.run()
    field = notebook.panel().locator("input[type=text]").first
    field.fill("haiku")
    lab.page.keyboard.press("Tab")
    notebook.panel().get_by_text("simulated").first.wait_for()
    notebook.run_code("kit.catalog.update_model('anthropic:claude-haiku-5-5', display_name='Haiku the second')")
    notebook.panel().get_by_text("Haiku the second").first.wait_for()
    assert notebook.panel().locator("input[type=text]").first.input_value() == "haiku"
    lab.page.wait_for_function(
        "() => JSON.stringify(window.notebook.context.model.toJSON()).includes('Haiku the second')"
    )
    notebook.save()
    lab.close_all()
    assert "Haiku the second" in lab.open("renewed.ipynb", kernel=False).output().inner_text()


def test_a_notebook_opened_again_leaves_the_page_where_it_is(lab, database):
    """What a click once went to does not take the focus, or scroll the page, when its form is drawn anew."""
    cells = (CELLS[0].format(path=str(database)), "kit.models_panel()")
    notebook = lab.notebook("again", *cells)
    notebook.run()
    notebook.panel().get_by_role("button", name="Claude Fable 5", exact=True).click()
    lab.page.wait_for_function("() => document.activeElement.classList.contains('widget-vbox')")
    notebook.save()
    lab.page.evaluate("window.notebook.dispose()")
    reopened = lab.open("again.ipynb")
    edit = reopened.panel().get_by_role("button", name="Edit")
    edit.wait_for()
    edit.locator("xpath=ancestor::*[contains(@class, 'go-to=')]").wait_for()
    assert not lab.page.evaluate("document.activeElement.closest('.widget-vbox')")


def test_a_form_says_that_its_kernel_has_ended(lab, database):
    """After a restart a form is no longer clickable and says what to do, above what it showed last."""
    notebook = lab.notebook("restarted", CELLS[0].format(path=str(database)), "kit.models_panel()")
    notebook.run()
    notebook.panel()
    notebook.page.evaluate("window.notebook.context.sessionContext.session.kernel.restart()")
    notebook.output().get_by_text("run the cell again").wait_for()
    assert "claude-haiku-5-5" in notebook.output().inner_text()
    assert notebook.output().locator("button").count() == 0


def test_a_form_saved_with_its_widgets_shows_its_last_state(lab, database):
    """In a trusted notebook that papermill or nbconvert ran, no form looks as if it could be used."""
    plain_widget = "import ipywidgets\nipywidgets.Button(description='restored')"
    lab.notebook("executed", CELLS[0].format(path=str(database)), plain_widget, "kit.models_panel()")
    path = lab.server.root / "executed.ipynb"
    document = nbformat.read(path, as_version=4)
    NotebookClient(document, store_widget_state=True).execute()
    assert document.metadata.widgets
    nbformat.write(document, path)
    NotebookNotary(data_dir=str(lab.server.root.parent / "data")).sign(nbformat.read(path, as_version=4))
    lab.close_all()
    opened = lab.open("executed.ipynb")
    opened.output().get_by_text("claude-haiku-5-5").first.wait_for()
    opened.output(1).get_by_role("button", name="restored").wait_for()
    assert opened.output().locator("button").count() == 0


def test_a_form_is_live_in_a_notebook_that_is_not_trusted(lab, database):
    """A colleague's notebook, of which one cell was run, is loaded again: its HTML is sanitized, the form is found."""
    notebook = lab.notebook("foreign", CELLS[0].format(path=str(database)), "kit.models_panel()")
    notebook.run()
    notebook.panel()
    lab.page.evaluate("window.notebook.content.widgets.forEach(cell => { cell.model.trusted = false; })")
    notebook.panel().get_by_role("button", name="Add model").wait_for()


@pytest.mark.parametrize("shown", ["", "\nrun"], ids=["panel", "view"])
def test_the_end_of_a_kernel_is_no_reason_to_pay_again(lab, database, shown):
    """After a restart a run's panel, and its view, name what shows the run, not the cell that would ask anew."""
    notebook = lab.notebook(f"paid{len(shown)}", CELLS[0].format(path=str(database)), CELLS[3] + shown)
    notebook.run()
    notebook.panel()
    notebook.page.evaluate("window.notebook.context.sessionContext.session.kernel.restart()")
    notebook.output().get_by_text("asks what is unanswered").nth(int(bool(shown))).wait_for()
    assert "run the cell again" not in notebook.output().inner_text()
