"""Noting while reading, in a real JupyterLab."""

import csv

import llmkit

OPEN = """
import llmkit
kit = llmkit.open({path!r}, actor="anna")
kit.reader({run!r})
"""


def reading(lab, database, name, questions):
    """A run of so many questions, its notebook, and the reader there, with the focus in the list."""
    with llmkit.open(database, simulate=True) as kit:
        run = kit.run([f"Question {n}?" for n in range(questions)], ["openai:gpt-6-luna"]).result()
    notebook = lab.notebook(name, OPEN.format(path=str(database), run=run.id))
    notebook.run()
    reader = notebook.output().locator(".llmkit-reader")
    reader.locator(".row").first.wait_for()
    reader.locator(".list").focus()
    return run, notebook, reader


def test_a_click_elsewhere_saves_a_comment_and_is_a_click(lab, database):
    """What was typed is kept for its answer, and the row that was clicked is the one that is read and marked."""
    _, _, reader = reading(lab, database, "clicking", 4)
    lab.page.keyboard.press("c")
    lab.page.keyboard.type("later")
    reader.locator(".row").nth(2).click()
    lab.page.keyboard.press("m")
    reader.locator(".row", has_text="★ Question 2?").wait_for()
    assert reader.get_by_label("Comment").input_value() == ""
    reader.locator(".row", has_text="Question 0?").click()
    assert reader.get_by_label("Comment").input_value() == "later"
    assert reader.locator(".row", has_text="★").count() == 1


def test_ten_answers_are_read_two_marked_and_saved_with_the_keyboard_alone(lab, database, tmp_path):
    """j and k go from answer to answer, m marks, l codes, c comments, e saves a file; all of it is in the results."""
    run, notebook, reader = reading(lab, database, "reading", 10)
    keyboard, seen = lab.page.keyboard, []
    for place in range(10):
        seen.append(reader.locator(".detail .prompt").inner_text())
        if place in (2, 6):
            keyboard.press("m")
        keyboard.press("j")
    assert [f"Question {n}?" in text for n, text in enumerate(seen)] == [True] * 10
    keyboard.press("l")
    keyboard.type("tone")
    keyboard.press("Enter")
    keyboard.type("<b>warm</b>")
    keyboard.press("Enter")
    keyboard.press("k")
    keyboard.press("c")
    keyboard.type("=1+1")
    keyboard.press("Escape")
    reader.locator(".chosen", has_text="Question 8?").wait_for()
    with lab.page.expect_download() as download:
        keyboard.press("e")
    download.value.save_as(tmp_path / "answers.csv")
    notebook.screenshot("reader-notes", reader)
    with open(tmp_path / "answers.csv", encoding="utf-8", newline="") as file:
        saved = list(csv.DictReader(file))
    assert [place for place, row in enumerate(saved) if row["mark"] == "True"] == [2, 6]
    assert (saved[8]["comment"], saved[9]["code.tone"]) == ("'=1+1", "<b>warm</b>")
    with llmkit.open(database) as kit:
        assert set(kit.load(run.id).annotations["actor"]) == {"anna"}
        assert kit.load(run.id).probes["mark"].sum() == 2
    assert notebook.violations(reader) == []
