"""Coding by hand in a real JupyterLab, with the keyboard only."""

import llmkit

OPEN = """
import llmkit
kit = llmkit.open({path!r}, actor="anna")
kit.coding_form({run!r}, {{"warm": "friendly", "cold": "distant", "other": ""}}, n=24)
"""


def _form(notebook):
    notebook.run()
    form = notebook.output().locator(".llmkit-coding")
    form.locator(".answer").first.wait_for()
    form.focus()
    return form


def test_twenty_answers_are_coded_and_the_next_kernel_goes_on_at_the_21st(lab, database):
    """Digits code, Backspace goes back, Delete takes back; nothing on the screen says who answered; what is saved says
    how many are coded.
    """
    models = ["openai:gpt-6-luna", "mistral:mistral-small-2603"]
    with llmkit.open(database, simulate=True) as kit:
        run = kit.run([f"Question {n}?" for n in range(16)], models).result()
    notebook = lab.notebook("coding", OPEN.format(path=str(database), run=run.id))
    form, keyboard = _form(notebook), lab.page.keyboard
    status = form.locator("[role=status]")
    for place in range(20):
        keyboard.press(str(place % 3 + 1))
    status.get_by_text("Answer 21 of 24, 20 coded", exact=True).wait_for()
    assert not [name for name in ("openai", "luna", "mistral", run.id) if name in form.inner_html()]
    for press in ("Backspace", "Delete", "1", "Backspace"):
        keyboard.press(press)
    assert form.locator("[aria-pressed=true]").inner_text().startswith("1 warm")
    keyboard.press(" ")
    status.get_by_text("Answer 21 of 24, 20 coded", exact=True).wait_for()
    shown = form.locator(".prompt").inner_text()
    notebook.screenshot("coding", form)
    assert notebook.violations(form) == []
    with llmkit.open(database) as kit:
        codes = kit.load(run.id).hand_codes()
    assert len(codes) == 20
    assert set(codes["infra_model"]) == {"anna"}
    assert codes["category"].value_counts().to_dict() == {"warm": 8, "cold": 6, "other": 6}
    notebook.save()
    assert "Coding by hand: 20 of 24 answers" in (lab.server.root / "coding.ipynb").read_text(encoding="utf-8")
    notebook.restart()
    form = _form(notebook)
    form.locator("[role=status]").get_by_text("Answer 21 of 24, 20 coded").wait_for()
    assert form.locator(".prompt").inner_text() == shown
    for _ in range(4):
        keyboard.press("3")
    form.locator("[role=status]").get_by_text("24 coded: all done").wait_for()
    with llmkit.open(database) as kit:
        assert len(kit.load(run.id).hand_codes()) == 24
