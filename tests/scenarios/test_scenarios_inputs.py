"""What may be given as prompts."""

import json
import re
from collections import OrderedDict
from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.errors import ValidationError
from llmkit.records import Scenario
from llmkit.scenarios import as_scenarios, scenarios_from_template, scenarios_to_frame


def refused(prompts, field="prompts"):
    """The sentence with which prompts are refused."""
    with pytest.raises(ValidationError) as error:
        as_scenarios(prompts)
    assert error.value.field == field
    return str(error.value)


TWO = [Scenario("a", scenario_id="s0001"), Scenario("b", scenario_id="s0002")]


@pytest.mark.parametrize(
    "prompts",
    [
        ["a", "b"],
        ("a", "b"),
        (letter for letter in "ab"),
        [Scenario("a"), "b"],
        ["a", {"prompt": "b"}],
        pd.Series(["a", "b"], index=[7, 9]),
        np.array(["a", "b"]),
        pd.DataFrame({"prompt": ["a", "b"]}, index=[7, 7]),
    ],
)
def test_all_forms_of_two_prompts_are_the_same(prompts):
    """Lists, tuples, generators, Series, arrays and frames give the same scenarios, numbered by position."""
    assert as_scenarios(prompts) == TWO


@pytest.mark.parametrize("prompt", ["a", Scenario("a"), {"prompt": "a"}])
def test_one_prompt_is_one_scenario(prompt):
    """A string is one prompt and not a list of letters."""
    assert as_scenarios(prompt) == TWO[:1]


def test_a_frame_carries_everything_along():
    """system, followups and scenario_id are used, all other columns travel; pandas' values become Python's."""
    frame = pd.DataFrame(
        {
            "scenario_id": ["x", None, "z"],
            "prompt": ["one", "two", "three"],
            "system": ["Be brief", None, "  "],
            "followups": [["Why?", "Sure?"], np.nan, '["Why?"]'],
            "age": np.array([1, 2, 3], dtype="int8"),
            "weight": [1.5, np.nan, 2.5],
            "count": pd.array([1, None, 3], dtype="Int64"),
            "group": pd.Categorical(["a", "b", None]),
            "day": pd.to_datetime(["2026-01-02", None, "2026-01-02"]),
            "yes": [True, False, None],
            "cost": [Decimal("1.25"), None, Decimal(2)],
        }
    )
    scenarios = as_scenarios(frame)
    assert [s.scenario_id for s in scenarios] == ["x", "s0002", "z"]
    assert [s.system for s in scenarios] == ["Be brief", None, None]
    assert [s.followups for s in scenarios] == [("Why?", "Sure?"), (), ("Why?",)]
    carried = [tuple(s.dimensions.values()) for s in scenarios]
    day = "2026-01-02T00:00:00"
    assert carried == [
        (1, 1.5, 1, "a", day, True, 1.25),
        (2, None, None, "b", None, False, None),
        (3, 2.5, 3, None, day, None, 2.0),
    ]
    assert all(type(value) in (int, float, str, bool, type(None)) for row in carried for value in row)


@pytest.mark.parametrize(
    ("value", "followups"),
    [
        ("Why?", ("Why?",)),
        ('["Why?", "Sure?"]', ("Why?", "Sure?")),
        (("Why?",), ("Why?",)),
        (np.array(["Why?"]), ("Why?",)),
        ("[]", ()),
        ("", ()),
        (None, ()),
        ([], ()),
        (pd.NA, ()),
    ],
)
def test_followups_in_a_cell(value, followups):
    """A cell holds a list, one text, a JSON list, or nothing."""
    assert as_scenarios([{"prompt": "a", "followups": value}])[0].followups == followups


@pytest.mark.parametrize("value", ["[Why?]", [""], [None], '[""]', "[1]", 5, {"a": 1}])
def test_followups_that_cannot_be_read_are_refused(value):
    """A list that is not one of texts is an error that says so, by its position."""
    assert re.match("Prompt 1: .* list", refused([{"prompt": "a", "followups": value}], field="followups"))


@pytest.mark.parametrize("value", [None, np.nan, pd.NA, "", " ", "[]", []])
def test_a_cell_without_messages_is_no_conversation(value):
    """Whatever stands for nothing in a table."""
    assert as_scenarios([{"prompt": "a", "messages": value}])[0].messages == ()


def test_numbers_as_scenario_ids_become_text():
    """Ids from a spreadsheet are often numbers, and floats where one is missing."""
    frame = pd.DataFrame({"prompt": ["a", "b", "c"], "scenario_id": [1, 20, None]})
    assert [s.scenario_id for s in as_scenarios(frame)] == ["1", "20", "s0003"]


def test_ids_do_not_change_when_scenarios_are_added():
    """The first scenario is called the same in a list of one and in a list of 10,001."""
    many = as_scenarios(["a"] * 10_001)
    assert many[0].scenario_id == as_scenarios("a")[0].scenario_id == "s0001"
    assert many[-1].scenario_id == "s10001"


@pytest.mark.parametrize("empty", [[], (), "", "  ", None, 5, pd.DataFrame({"prompt": []}), pd.Series([], dtype=str)])
def test_nothing_to_ask_is_refused(empty):
    """Every kind of nothing is refused."""
    assert refused(empty)


@pytest.mark.parametrize("empty", [[], None, 5])
def test_the_error_says_what_to_give(empty):
    """It names the forms."""
    assert "DataFrame with a column 'prompt'" in refused(empty)


@pytest.mark.parametrize("value", [b"a", 5, ["a"], pd.Timestamp("2026-01-02"), Decimal(1)])
@pytest.mark.parametrize("field", ["prompt", "system"])
def test_what_is_not_text_is_never_sent_as_its_repr(field, value):
    """Bytes, dates and numbers are refused as prompts and as system prompts."""
    assert "Prompt 1" in refused([{"prompt": "a", field: value}], field="prompts" if field == "prompt" else field)


@pytest.mark.parametrize("bad", ["", " ", None, np.nan, 5, ["a"]])
def test_an_empty_prompt_is_refused_by_its_position(bad):
    """One bad prompt in a list is found and counted."""
    assert "Prompt 2" in refused(["a", bad])
    assert "Prompt 2" in refused(pd.DataFrame({"prompt": ["a", bad]}))


@pytest.mark.parametrize("name", ["model", "status", "estimated_cost", "Prompt", "answer.tone"])
def test_reserved_columns_are_refused(name):
    """A column that run.probes fills itself would be overwritten, so it is named in an error."""
    assert repr(name) in refused(pd.DataFrame({"prompt": ["a"], name: ["x"]}))
    assert repr(name) in refused([Scenario("a", dimensions={name: 1})])


def test_a_frame_without_prompts_is_refused_with_a_hint():
    """The error lists what is there and points at the likely column."""
    assert "Rename 'Prompts'" in refused(pd.DataFrame({"Prompts": ["a"], "x": [1]}))
    assert "'question'" in refused(pd.DataFrame({"question": ["a"]}))


def test_repeated_columns_and_ids_are_refused():
    """Neither two columns nor two scenarios of one name can be told apart."""
    assert "'x'" in refused(pd.DataFrame([["a", 1, 2]], columns=["prompt", "x", "x"]))
    assert "'s0002'" in refused([Scenario("a", scenario_id="s0002"), "b"])


def test_values_that_cannot_be_stored_are_refused():
    """Infinity and broken characters are refused before a run, not when its journal is written."""
    assert "score" in refused([Scenario("a", dimensions={"score": float("inf")})])
    assert "position 3" in refused(["ab\udc00"])
    assert "broken" in refused([Scenario("a", system="\ud800")])


def test_other_values_become_what_json_holds():
    """Lists, mappings and objects in a cell come out as JSON would give them back."""
    value = OrderedDict(a=(1, np.float32(0.5)), b={date(2026, 1, 2)})
    (scenario,) = as_scenarios([Scenario("a", dimensions={"x": value, "y": pd.Timedelta("1D")})])
    assert dict(scenario.dimensions) == {"x": {"a": [1, 0.5], "b": ["2026-01-02"]}, "y": "1 days 00:00:00"}
    json.dumps(dict(scenario.dimensions))


TEXT = st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)
VALUES = st.none() | st.text(st.characters(codec="utf-8")) | st.integers() | st.booleans()
VALUES |= st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def tables(draw):
    """Scenarios that all have the same dimensions, of any values."""
    names = draw(st.lists(st.sampled_from(["City", "tone", "tone_score", "Größe", "x y"]), unique=True))
    dimensions = st.fixed_dictionaries(dict.fromkeys(names, VALUES))
    scenario = st.builds(Scenario, TEXT, st.none() | TEXT, st.lists(TEXT, max_size=2), st.none(), dimensions)
    return draw(st.lists(scenario, min_size=1, max_size=4))


@given(tables())
def test_frames_round_trip(scenarios):
    """What goes into a DataFrame comes out of it, missing values and whole numbers included."""
    ready = as_scenarios(scenarios)
    assert as_scenarios(scenarios_to_frame(scenarios)) == ready
    assert as_scenarios(ready) == ready


def test_scores_in_the_frame_can_be_computed_with():
    """Columns of numbers are numeric columns."""
    scenarios = scenarios_from_template("[T]", {"T": [{"label": "a", "score": 1}, {"label": "b", "score": 2}]})
    frame = scenarios_to_frame(scenarios)
    assert list(frame.columns) == ["scenario_id", "prompt", "system", "followups", "T", "T_score"]
    assert pd.api.types.is_numeric_dtype(frame["T_score"])


def test_a_hundred_thousand_rows():
    """A large frame is read whole."""
    frame = pd.DataFrame({"prompt": ["p"] * 100_000, "x": range(100_000)})
    scenarios = as_scenarios(frame)
    assert scenarios[-1] == Scenario("p", scenario_id="s100000", dimensions={"x": 99_999})


def test_exactly_the_columns_of_run_probes_are_reserved(kit):
    """A column of results cannot be overwritten, and every other name is free, those of other tables too."""
    free = ["notes", "kind", "ref", "warnings", "position", "dimensions", "request_id", "template", "turn", "cost"]
    run = kit.run(pd.DataFrame({"prompt": ["a"], **{name: [name.upper()] for name in free}}), "openai:gpt-6-luna")
    probes = run.result(30).probes
    assert probes.columns.is_unique
    assert probes[free].values.tolist() == [[name.upper() for name in free]]
    for name in set(probes.columns) - {*free, "prompt", "system", "followups", "scenario_id"}:
        assert repr(name) in refused(pd.DataFrame({"prompt": ["a"], name: ["v"]}))


@pytest.mark.parametrize(
    ("column", "instead"),
    [
        ("image", "'prompt'"),
        ("Files", "'prompt'"),
        ("message", "'followups'"),
        ("system_prompt", "'system'"),
        ("System Message", "'system'"),
        ("follow_ups", "'followups'"),
    ],
)
def test_a_column_that_looks_as_if_it_were_sent_warns_that_it_is_not(column, instead):
    """It travels along into the results like any other, and the warning names the column that is sent."""
    frame = pd.DataFrame({"prompt": ["What is this?"], column: ["a"], "city": ["Bern"]})
    with pytest.warns(UserWarning, match=re.escape(repr(column))) as warned:
        (scenario,) = as_scenarios(frame)
    assert scenario.dimensions == {column: "a", "city": "Bern"}
    assert instead in str(warned.pop().message)


def test_columns_that_are_plainly_dimensions_say_nothing(recwarn):
    """Neither what is sent nor what only describes a scenario is worth a warning."""
    as_scenarios(pd.DataFrame({"prompt": ["a"], "system": ["b"], "followups": ["c"], "topic": ["d"], "profile": ["e"]}))
    assert not recwarn.list
