"""The table of scenarios as a person edits it, and as it is read later."""

from lab_page import plain
from playwright.sync_api import expect

CODE = """
import llmkit
from llmkit.widgets.scenario_table import ScenarioTable
table = ScenarioTable(llmkit.scenarios_from_template("Is [Thing] fair? " * 20, {"Thing": ["a tax on sugar", "rent"]}))
table
"""


def test_a_prompt_is_saved_as_it_was_typed(lab):
    """Typed fast and saved at once: no letter is lost however slow the machine, and nothing is wider than the page."""
    slow = "from llmkit.widgets import browser\nbrowser.PATIENCE = 0.0\n"
    slow += "table.prompt.observe(lambda _: sum(range(20_000_000)), 'value')\ntable"
    notebook = lab.notebook("scenarios", CODE + slow, "print(table.scenarios[0].prompt)")
    notebook.run()
    panel = notebook.panel(0)
    panel.get_by_role("button", name="s0001").click()
    prompt = panel.locator("textarea")
    expect(prompt).to_have_value("Is a tax on sugar fair? " * 20)
    prompt.fill("")
    prompt.press_sequentially("Is a tax on sugar fair to those who like it?")
    panel.get_by_role("button", name="Save").click()
    expect(panel.locator("span", has_text="to those who like it?")).to_be_visible()
    assert panel.evaluate(
        "panel => [...panel.querySelectorAll('.widget-box')].every(box => box.scrollWidth <= box.clientWidth)"
    )


def test_short_words_beside_a_long_prompt_stay_whole(lab):
    """In a saved notebook the column of a dimension is as wide as its words and its name."""
    notebook = lab.notebook("saved_scenarios", CODE.replace("Thing", "A_long_name"))
    notebook.run()
    notebook.save()
    lab.close_all()
    output = lab.open("saved_scenarios.ipynb", kernel=False).output()
    lines = "cell => { const text = document.createRange(); text.selectNodeContents(cell); "
    lines += "return text.getClientRects().length; }"
    for text in ("A_long_name", "rent"):
        assert output.locator("th, td", has_text=text).last.evaluate(lines) == 1
    assert "Scenario Prompt A_long_name" in plain(output.inner_text())
