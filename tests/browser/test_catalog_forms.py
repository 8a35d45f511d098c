"""The catalog's forms as a person meets them: in JupyterLab, with keyboard and mouse, reading the screen."""

from decimal import Decimal

import pytest
from lab_page import plain, stands_below
from playwright.sync_api import expect

from llmkit.kit import open_kit

LUNA, SOL = "openai:gpt-6-luna", "openai:gpt-6-sol"


_TOO_WIDE = """panel => {
    const right = panel.getBoundingClientRect().right + 1;
    return [...panel.querySelectorAll('button, input, select, table, .widget-html-content > *')]
        .filter(element => element.offsetParent && element.getBoundingClientRect().right > right)
        .map(element => element.outerHTML.slice(0, 200));
}"""

_CELLS = """table => {
    const ends = [...table.querySelectorAll('[role=cell]')].map(cell => cell.getBoundingClientRect().right);
    return [table.scrollWidth, Math.floor(Math.max(...ends) - table.getBoundingClientRect().left)];
}"""


def cells(database, *shown):
    """A notebook that opens the catalog and shows panels, one a cell."""
    return (f"import llmkit\nkit = llmkit.open({str(database)!r}, simulate=True)", *shown)


def catalog(database):
    """The catalog as another program reads it."""
    with open_kit(database, simulate=True) as kit:
        return kit.catalog.state()


@pytest.fixture
def models(lab, database):
    """The models panel on the screen: its notebook and its place."""
    notebook = lab.notebook("models", *cells(database, "kit.models_panel()"))
    notebook.run()
    return notebook, notebook.panel()


def choose(panel, words, name):
    """Filter, click on the model of that name, and wait until the buttons for it stay where they are."""
    panel.get_by_label("Filter").fill(words)
    button = panel.get_by_role("button", name=name, exact=True)
    button.click()
    panel.locator("span", has_text=name).last.wait_for()
    return button


def row(panel, name):
    """The line of the table that a name stands in."""
    return panel.locator(".widget-hbox", has=panel.page.get_by_role("button", name=name, exact=True)).last


def test_a_model_is_added_with_the_keyboard_alone(models, database):
    """Tab from field to field, type fast, Enter: the model is in the list and in the catalog, no figure lost."""
    _, panel = models
    keyboard = panel.page.keyboard
    panel.get_by_role("button", name="Add model").focus()
    keyboard.press("Enter")
    panel.get_by_label("Model id").wait_for()
    provider = panel.get_by_label("Provider", exact=True).last
    provider.select_option("OpenAI")
    provider.focus()
    for text in ("gpt-7-nova", "GPT-7 Nova", "1.25", "10"):
        keyboard.press("Tab")
        keyboard.type(text)
    keyboard.press("Enter")
    expect(panel.get_by_role("status").filter(has_text="Added openai:gpt-7-nova.")).to_be_visible()
    panel.get_by_label("Filter").fill("nova")
    expect(row(panel, "GPT-7 Nova")).to_contain_text("$1.25")
    assert catalog(database).models["openai:gpt-7-nova"].cost_output_per_million == 10


def test_what_makes_no_sense_is_said_beside_the_field_and_nothing_is_lost(models, database):
    """A negative price: the sentence is under the field, what was typed is still there, the catalog is as it was."""
    notebook, panel = models
    choose(panel, "gpt-6 luna", "GPT-6 Luna")
    panel.get_by_role("button", name="Edit").click()
    price = panel.get_by_label("Input price ($)", exact=True)
    price.fill("-3")
    price.press("Enter")
    alert = panel.get_by_role("alert")
    expect(alert).to_contain_text("leave it empty when unknown")
    assert stands_below(alert, price)
    expect(price).to_have_value("-3")
    notebook.screenshot("models_bad_input", panel)
    assert catalog(database).models[LUNA].cost_input_per_million == Decimal("0.1")


def test_a_long_name_ends_in_an_ellipsis_and_ids_stay_on_a_line(lab, database):
    """In a table 900 px wide a name that does not fit is seen to go on, and the id beside it is not broken."""
    rename = f"kit.catalog.update_model({LUNA!r}, display_name={'A long name ' * 9!r})"
    notebook = lab.notebook("narrow_names", *cells(database, rename, "kit.models_panel()"))
    lab.page.set_viewport_size({"width": 900, "height": 900})
    notebook.run()
    panel = notebook.panel()
    panel.get_by_label("Filter").fill("luna")
    button = panel.get_by_role("button", name="A long name")
    assert button.evaluate(
        "node => { const { display, textOverflow } = getComputedStyle(node);"
        " return [display === 'flex', textOverflow, node.scrollWidth > node.clientWidth]; }"
    ) == [False, "ellipsis", True]
    lines = "id => { const text = document.createRange(); text.selectNodeContents(id); "
    assert panel.get_by_text("gpt-6-luna", exact=True).evaluate(lines + "return text.getClientRects().length; }") == 1


def test_what_a_row_opens_comes_into_sight(models):
    """A click on the first of 25 rows: its buttons, below the last row, are on the screen, and one Tab away; so are the
    form that they open, and the sentence about what it saved.
    """
    _, panel = models
    panel.get_by_role("button", name="Claude Fable 5", exact=True).click()
    edit = panel.get_by_role("button", name="Edit")
    expect(edit).to_be_in_viewport()
    panel.page.keyboard.press("Tab")
    expect(edit).to_be_focused()
    panel.page.keyboard.press("Enter")
    save = panel.get_by_role("button", name="Save")
    expect(save).to_be_in_viewport()
    panel.page.keyboard.press("Tab")
    expect(panel.get_by_label("Display name")).to_be_focused()
    panel.page.keyboard.press("Enter")
    expect(panel.get_by_role("status").filter(has_text="Nothing was changed.")).to_be_in_viewport()


def test_long_names_differ_on_the_screen(lab, database):
    """Ids that differ at their ends are read in full, a name stops before the next cell, and filters stay in line."""
    ids = [f"meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8-quantized-awq-v{number}" for number in (1, 2)]
    with open_kit(database, simulate=True) as kit:
        kit.catalog.add_provider(
            "lab", display_name="A long name of a laboratory " * 5, base_url="http://localhost:1/v1"
        )
        for model_id in ids:
            kit.catalog.add_model(f"lab:{model_id}", cost_input_per_million=1, cost_output_per_million=2)
    notebook = lab.notebook("long", *cells(database, "kit.models_panel()"))
    notebook.run()
    panel = notebook.panel()
    panel.get_by_label("Filter").fill("maverick")
    for model_id in ids:
        cell = panel.locator("span", has_text=model_id).first
        expect(cell).to_be_visible()
        assert cell.evaluate("cell => getComputedStyle(cell).overflow") == "visible"
        name = panel.get_by_role("button", name=model_id, exact=True).bounding_box()
        assert name["x"] + name["width"] < cell.bounding_box()["x"]
    tops = [panel.get_by_label(label, exact=True).bounding_box()["y"] for label in ("Filter", "Provider", "Status")]
    assert max(tops) - min(tops) < 5


def test_an_edited_price_changes_in_the_list(models, database):
    """Select, edit, save: the new price stands in the row."""
    _, panel = models
    choose(panel, "gpt-6 luna", "GPT-6 Luna")
    panel.get_by_role("button", name="Edit").click()
    panel.get_by_label("Input price ($)", exact=True).fill("0.35")
    panel.get_by_role("button", name="Save").click()
    expect(row(panel, "GPT-6 Luna")).to_contain_text("$0.35")
    panel.get_by_role("button", name="Price history").click()
    expect(panel.locator("table")).to_contain_text("$0.10")
    assert catalog(database).models[LUNA].cost_input_per_million == Decimal("0.35")


def test_deprecating_the_default_moves_its_badge(models):
    """The question names the successor; after the click the badge stands in the successor's row."""
    notebook, panel = models
    choose(panel, "luna", "GPT-6 Luna")
    panel.get_by_role("button", name="Deprecate").click()
    question = panel.get_by_role("status").filter(has_text="Deprecate GPT-6 Luna?")
    expect(question).to_contain_text("GPT-5.6 Luna")
    expect(question).to_contain_text("summarization")
    notebook.screenshot("models_deprecate", panel)
    panel.get_by_role("button", name="Deprecate").last.click()
    expect(row(panel, "GPT-5.6 Luna")).to_contain_text("Default")
    expect(row(panel, "GPT-6 Luna")).to_contain_text("Deprecated")
    expect(row(panel, "GPT-6 Luna")).not_to_contain_text("Default")


def test_an_infrastructure_choice_survives_a_kernel_restart(lab, database):
    """Choose in the dropdown, restart the kernel, run again: it is still chosen."""
    notebook = lab.notebook("infra", *cells(database, "kit.infra_panel()"))
    notebook.run()
    notebook.panel().get_by_label("Summarization").select_option(label=offered(notebook, "Mistral Small 4"))
    expect(notebook.panel().get_by_role("status").filter(has_text="Summarization uses mistral:")).to_be_visible()
    notebook.restart()
    notebook.run()
    chosen = notebook.panel().get_by_label("Summarization").locator("option:checked")
    expect(chosen).to_contain_text("Mistral Small 4")
    assert catalog(database).settings["infra_model_summarization"] == "mistral:mistral-small-2603"


def offered(notebook, name):
    """The whole text of the option that names a model."""
    option = notebook.panel().get_by_label("Summarization").locator("option", has_text=name)
    option.wait_for(state="attached")
    return option.text_content()


def test_a_hostile_name_runs_nothing(lab, database):
    """Markup, script, Markdown and TeX in names are shown as they were typed, in rows, form, question and tabs."""
    names = ("<img src=x onerror=window.hacked=1>", "<script>window.hacked=1</script>", "**bold** [x](javascript:1)")
    tex = r"$\frac{1}{2}$ costs $3"
    with open_kit(database, simulate=True) as kit:
        for number, name in enumerate((*names, tex)):
            kit.catalog.add_model(
                f"openai:evil{number}", display_name=name, cost_input_per_million=1.5, cost_output_per_million=3
            )
        kit.catalog.update_provider("openai", display_name=names[0])
        kit.catalog.set_infra_model("summarization", "openai:evil1")
    notebook = lab.notebook("hostile", *cells(database, "kit.settings_panel()"))
    notebook.run()
    panel = notebook.panel()
    for name in (*names, tex):
        choose(panel, "evil", name)
        panel.get_by_role("button", name="Edit").click()
        expect(panel.get_by_label("Display name")).to_have_value(name)
        panel.get_by_role("button", name="Deprecate").click()
        expect(panel.get_by_role("status").filter(has_text="Deprecate ")).to_contain_text(name)
        panel.get_by_role("button", name="Price history").click()
    panel.get_by_role("tab", name="Providers").click()
    panel.get_by_role("button", name=names[0], exact=True).click()
    panel.get_by_role("tab", name="Infrastructure").click()
    expect(panel.get_by_label("Summarization").locator("option:checked")).to_contain_text(names[1])
    assert lab.page.evaluate("window.hacked") is None
    assert not lab.alerts
    assert not panel.locator("img, script, strong, a, .MathJax, mjx-container").count()


def test_limits_and_a_new_address_are_saved_from_the_providers_panel(lab, database):
    """Type a limit, press Enter, read it in the row; a foreign address asks before the key may go there."""
    notebook = lab.notebook("providers", *cells(database, "kit.providers_panel()"))
    notebook.run()
    panel = notebook.panel()
    panel.get_by_role("button", name="OpenAI").click()
    limit = panel.get_by_label("Requests per minute")
    limit.fill("0")
    limit.press("Enter")
    expect(panel.get_by_role("alert")).to_contain_text("at least 1")
    limit.fill("77")
    limit.press("Enter")
    expect(row(panel, "OpenAI")).to_contain_text("77")
    url = panel.get_by_label("Base URL")
    url.fill("https://proxy.example.org/v1")
    url.press("Enter")
    expect(panel.get_by_role("button", name="Approve and save")).to_be_visible()
    notebook.screenshot("providers_approve", panel)
    assert catalog(database).providers["openai"].requests_per_minute == 77
    assert catalog(database).providers["openai"].base_url == "https://api.openai.com/v1"


def test_panels_are_accessible_and_fit(lab, database):
    """In both themes no serious or critical axe violation, and nothing wider than the page at 800 px; with pictures."""
    with open_kit(database, simulate=True) as kit:
        kit.catalog.add_provider("lab", display_name="Our lab", base_url="http://localhost:11434/v1")
    notebook = lab.notebook("all", *cells(database, "kit.settings_panel()"))
    notebook.run()
    panel = notebook.panel()
    panel.get_by_role("tab", name="Providers").click()
    panel.get_by_role("button", name="Our lab").click()
    panel.get_by_role("button", name="Test connection").click()
    panel.get_by_label("Models to add").wait_for()
    panel.get_by_role("tab", name="Models").click()
    choose(panel, "", "Claude Haiku 5.5")
    panel.get_by_role("button", name="Edit").click()
    panel.get_by_role("button", name="Save").wait_for()
    panel.get_by_role("button", name="Add model").click()
    panel.get_by_text("Add a model").wait_for()
    for theme in ("Light", "Dark"):
        lab.theme(f"JupyterLab {theme}")
        for tab in ("Models", "Providers", "Infrastructure"):
            panel.get_by_role("tab", name=tab).click()
            look(notebook, panel, f"{tab}_{theme}".lower())


def look(notebook, panel, name):
    """Check a panel with axe, and that it fits at two widths; take a picture of each."""
    page = notebook.page
    for width in (1280, 800):
        page.set_viewport_size({"width": width, "height": 1500})
        page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        notebook.screenshot(f"{name}_{width}", panel)
        assert panel.evaluate(_TOO_WIDE) == []
    page.set_viewport_size({"width": 1280, "height": 900})
    assert notebook.violations(panel) == []


def test_on_a_narrow_page_the_table_scrolls_to_its_last_column(models):
    """Nothing is cut off where there is less room than the columns need."""
    _, panel = models
    panel.page.set_viewport_size({"width": 500, "height": 900})
    width, needed = panel.get_by_role("table", name="Models").evaluate(_CELLS)
    assert width >= needed > panel.bounding_box()["width"]


def test_a_saved_notebook_is_readable_without_a_kernel(lab, database):
    """Saved by somebody else and opened here: the table is there, with prices that are no TeX."""
    notebook = lab.notebook("saved", *cells(database, "kit.models_panel()"))
    notebook.run()
    notebook.save()
    saved = lab.server.root / "saved.ipynb"
    lab.close_all()
    other = saved.with_name("received.ipynb")
    other.write_text(saved.read_text().replace('"execution_count": 2', '"execution_count": 3'))  # so it is not trusted
    text = plain(lab.open("received.ipynb", kernel=False).output().inner_text())
    assert "Claude Haiku 5.5 claude-haiku-5-5 $0.10 $0.50" in text
