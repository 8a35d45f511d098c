"""A study without a mouse: a model is added, a run started, answers read, marked and saved, in a real JupyterLab."""

import csv

from playwright.sync_api import expect

import llmkit

OPEN = """
import llmkit
kit = llmkit.open({path!r}, simulate=True)
for name in kit.catalog.defaults():
    kit.catalog.update_provider(name, max_parallel_requests=20, requests_per_minute=100_000)
kit.use_simulator(llmkit.simulator.serve(latency=0.01))
"""
FOCUSED = """() => {
    const node = document.activeElement;
    const labels = [...(node.labels ?? [])].map(label => label.textContent);
    return [node.getAttribute('aria-label'), ...labels, node.textContent, node.title].filter(Boolean).join(' | ');
}"""
MOST_TABS = 60
"""A control that is farther away than this is not within reach of a keyboard."""


def go_to(page, name, key="Tab"):
    """Press Tab until a control of that name has the focus; returns what it was."""
    passed = []
    for _ in range(MOST_TABS):
        page.keyboard.press(key)
        passed.append(page.evaluate(FOCUSED)[:60])
        if name in passed[-1]:
            return passed
    raise AssertionError(f"no Tab leads to {name}: {passed}")


def test_a_study_is_done_with_the_keyboard_alone(lab, database, tmp_path):
    """From an empty notebook to a file of answers, two of them marked; the mouse is never touched."""
    notebook = lab.notebook("keyboard", OPEN.format(path=str(database)), "kit.models_panel()", "kit.run_form()")
    notebook.run()
    page, keyboard = lab.page, lab.page.keyboard
    models, form = notebook.panel(1), notebook.panel(2)

    go_to(page, "Add model")
    keyboard.press("Enter")
    expect(models.get_by_label("Model id")).to_be_visible()
    go_to(page, "Provider")
    keyboard.type("OpenAI")
    for name, text in (("Model id", "gpt-7-nova"), ("Display name", "GPT-7 Nova"), ("Input price", "1"),
                       ("Output price", "8")):  # fmt: skip
        go_to(page, name)
        keyboard.type(text)
    keyboard.press("Enter")
    expect(models.get_by_text("Added openai:gpt-7-nova.")).to_be_visible()

    go_to(page, "Prompts")
    keyboard.type("\n\n".join(f"Question {n}?" for n in range(10)))
    go_to(page, "Max tokens")
    keyboard.type("60")
    go_to(page, "Read the catalog and the keys again")
    keyboard.press("Enter")
    go_to(page, "Filter", "Shift+Tab")
    keyboard.type("nova")
    expect(form.get_by_label("GPT-7 Nova")).to_be_visible()
    go_to(page, "GPT-7 Nova")
    keyboard.press("Space")
    expect(form.get_by_text("70 requests")).to_be_visible()
    go_to(page, "Start")
    keyboard.press("Enter")
    expect(form.get_by_text("70 of 70").first).to_be_visible(timeout=60_000)
    expect(form.get_by_role("button", name="Show results")).to_be_visible()
    go_to(page, "Show results")
    keyboard.press("Enter")
    expect(form.get_by_label("Search in all turns")).to_be_visible(timeout=30_000)

    go_to(page, "Search in all turns")
    keyboard.type("question")
    go_to(page, "Answers")
    seen = []
    for place in range(10):
        seen.append(form.locator(".llmkit-reader .chosen").inner_text())
        if place in (2, 6):
            keyboard.press("m")
        keyboard.press("j")
    assert len(set(seen)) == 10
    with page.expect_download() as download:
        keyboard.press("e")
    download.value.save_as(tmp_path / "answers.csv")
    with open(tmp_path / "answers.csv", encoding="utf-8", newline="") as file:
        assert [place for place, row in enumerate(csv.DictReader(file)) if row["mark"] == "True"] == [2, 6]
    with llmkit.open(database, simulate=True) as kit:
        assert kit.last_run().probes["mark"].sum() == 2
        assert kit.catalog.history("openai:gpt-7-nova")["action"].iloc[0] == "add_model"
