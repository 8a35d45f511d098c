"""The table of scenarios: keep, edit and drop, then ask what is left."""

import pytest

from llmkit import Scenario, ValidationError
from llmkit.widgets.scenario_table import ScenarioTable

HOSTILE = "<img src=x onerror=alert(1)> costs $1 … $2"


@pytest.fixture
def table():
    """Three scenarios with a dimension, one of them hostile."""
    return ScenarioTable(
        [
            Scenario(text, dimensions={"Tone": tone})
            for text, tone in (("One?", "polite"), (HOSTILE, "blunt"), ("Three?", None))
        ]
    )


def ids(table):
    """The ids of what is kept."""
    return [scenario.scenario_id for scenario in table.scenarios]


def test_dropping_keeping_and_editing_by_clicks(table):
    """A row opens below; its buttons do what they say, and the ids of the others stay."""
    table.table.lines["s0002"].control.click()
    table.drop_button.click()
    assert ids(table) == ["s0001", "s0003"]
    assert table.keep_button.layout.display is None
    table.keep_button.click()
    assert ids(table) == ["s0001", "s0002", "s0003"]
    table.table.lines["s0003"].control.click()
    table.prompt.value = "  Three, but better?  "
    table.save_button.click()
    assert [scenario.prompt for scenario in table.scenarios] == ["One?", HOSTILE, "Three, but better?"]
    assert table.scenarios[2].dimensions == {"Tone": None}


def test_what_was_typed_but_not_saved_is_kept_for_later(table):
    """Choosing another row loses nothing: a sentence says so, and the text is there when its row is chosen again."""
    table.table.lines["s0001"].control.click()
    table.prompt.value = "One, but"
    table.table.lines["s0003"].control.click()
    assert "s0001 is not saved" in table.notice.text
    assert (table.prompt.value, table.scenarios[0].prompt) == ("Three?", "One?")
    table.table.lines["s0001"].control.click()
    assert (table.prompt.value, table.notice.text) == ("One, but", "")
    table.save_button.click()
    assert table.scenarios[0].prompt == "One, but"
    table.edit("s0001", "One by a function")
    table.table.lines["s0003"].control.click()
    assert table.notice.text == ""


def test_the_same_by_functions(table):
    """Every click has a call; ``df`` is what ``kit.run`` takes."""
    table.drop("s0001", "s0003")
    table.keep("s0003")
    table.edit("s0002", "Two?")
    assert list(table.df["prompt"]) == ["Two?", "Three?"]
    assert list(table.df["scenario_id"]) == ["s0002", "s0003"]
    table.drop("s0002", "s0003")
    assert table.df.empty
    assert "prompt" in table.df.columns


@pytest.mark.parametrize(
    "action", [lambda t: t.drop("s0001", "nope"), lambda t: t.keep("nope"), lambda t: t.edit("nope", "x")]
)
def test_an_unknown_scenario_is_refused_and_nothing_changes(table, action):
    """The error names those that there are."""
    with pytest.raises(ValidationError, match="s0001"):
        action(table)
    assert ids(table) == ["s0001", "s0002", "s0003"]


def test_an_empty_prompt_is_refused_in_the_table(table):
    """The sentence stands in the panel, and the scenario is as it was."""
    table.table.lines["s0001"].control.click()
    table.prompt.value = "   "
    table.save_button.click()
    assert "needs a prompt" in table.notice.text
    assert table.scenarios[0].prompt == "One?"


def test_what_a_model_wrote_is_shown_as_text(table):
    """No tag of it reaches the page, live or saved; a saved notebook shows the prompts."""
    saved = table._repr_mimebundle_()["text/html"]
    live = "".join(row.cells[0] for row in table.table.rows)
    for shown in (saved, live):
        assert "<img" not in shown
        assert "&lt;img" in shown
    assert "mathjax_ignore" in saved
    assert "One?" in table._repr_mimebundle_()["text/plain"]


def test_an_expansion_becomes_a_table_and_then_a_run(kit):
    """From description to answers: what was dropped is not asked, what was edited is."""
    table = kit.expand("Saving water", 4, {"Tone": ["polite", "blunt"]}).result(60).table()
    table.drop("s0002")
    table.edit("s0001", "Edited?")
    run = kit.run(table.scenarios, "openai:gpt-6-luna").result(60)
    assert list(run.probes["scenario_id"]) == ["s0001", "s0003", "s0004"]
    assert run.probes["prompt"][0] == "Edited?"
    assert list(run.probes["Tone"]) == list(table.df["Tone"])


def test_a_dimension_may_be_called_like_a_column_of_the_table():
    """Both are shown, with the values of each."""
    table = ScenarioTable([Scenario("Why?", dimensions={"Scenario": "blackout"})])
    shown = table._repr_mimebundle_()
    assert shown["text/html"].count(">Scenario</th>") == 2
    assert ">s0001</td>" in shown["text/html"]
    assert ">blackout</td>" in shown["text/html"]
