"""Scenarios in CSV and YAML files."""

import re

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import llmkit
from llmkit.errors import ValidationError
from llmkit.records import Scenario
from llmkit.scenarios import (
    as_scenarios,
    scenarios_from_csv,
    scenarios_from_template,
    scenarios_from_yaml,
    scenarios_to_csv,
    scenarios_to_yaml,
    template_from_yaml,
)

READERS = (scenarios_from_csv, scenarios_from_yaml, template_from_yaml)
TEXT = st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)


def write(tmp_path, text, encoding="utf-8"):
    """A file with that text."""
    path = tmp_path / "scenarios"
    path.write_bytes(text.encode(encoding))
    return path


@st.composite
def tables(draw):
    """Scenarios whose dimensions are columns of one type, as a CSV file can hold them."""
    label = st.none() | TEXT.map(lambda text: f"x{text}")
    columns = {"City": label, "n": st.integers(-(10**17), 10**17), "ok": st.booleans()}
    columns |= {"score": st.floats(allow_nan=False, allow_infinity=False).map(lambda number: number + 0.5)}
    names = draw(st.lists(st.sampled_from(sorted(columns)), unique=True))
    dimensions = st.fixed_dictionaries({name: columns[name] for name in names})
    scenario = st.builds(Scenario, TEXT, st.none() | TEXT, st.lists(TEXT, max_size=2), st.none(), dimensions)
    return as_scenarios(draw(st.lists(scenario, min_size=1, max_size=4)))


@given(tables())
def test_csv_round_trips(tmp_path_factory, scenarios):
    """Line breaks, quotes, formulas and any other text come back as they were written."""
    path = tmp_path_factory.mktemp("csv") / "scenarios.csv"
    scenarios_to_csv(scenarios, path)
    assert scenarios_from_csv(path) == scenarios


@given(tables())
def test_yaml_round_trips(tmp_path_factory, scenarios):
    """YAML keeps text, numbers and truth values apart by itself."""
    path = tmp_path_factory.mktemp("yaml") / "scenarios.yaml"
    scenarios_to_yaml(scenarios, path)
    assert scenarios_from_yaml(path) == scenarios


def test_csv_of_a_spreadsheet(tmp_path):
    """A byte order mark, semicolons, quotes, zeros in front and words like None are all read as they are meant."""
    text = '\ufeffprompt;City;age;code;share\r\n"a; b\r\nc";None;30;007;1.50\r\n=1+1;;40;008;\r\n'
    scenarios = scenarios_from_csv(write(tmp_path, text), sep=";")
    assert [s.prompt for s in scenarios] == ["a; b\r\nc", "=1+1"]
    assert [tuple(s.dimensions.values()) for s in scenarios] == [("None", 30, "007", 1.5), (None, 40, "008", None)]


def test_csv_of_long_prompts(tmp_path):
    """A prompt may be a whole document."""
    prompt = "word " * 100_000
    scenarios_to_csv([prompt], tmp_path / "long.csv")
    assert scenarios_from_csv(tmp_path / "long.csv")[0].prompt == prompt


@pytest.mark.parametrize("text", ["prompt\nHello, world\n", "prompt,x\na,1\nb,2,3\n", ""])
def test_csv_that_is_not_a_table_is_refused(tmp_path, text):
    """An unquoted comma must not shift the columns or cut a prompt off."""
    with pytest.raises(ValidationError, match="quotes"):
        scenarios_from_csv(write(tmp_path, text))


@pytest.mark.parametrize(("sep", "other"), [(",", ";"), (",", "\t"), (";", ",")])
def test_csv_with_another_separator_says_which(tmp_path, sep, other):
    """As a spreadsheet writes it, which depends on the country; commas in the texts do not hide it."""
    text = f'"city"{other}"prompt"\r\n"Rome"{other}"Hello, world"\r\n'
    with pytest.raises(ValidationError, match=re.escape(f"pass sep={other!r}")):
        scenarios_from_csv(write(tmp_path, text), sep=sep)


@pytest.mark.parametrize("text", ["question\na\n", "prompt\n", "prompt,model\na,b\n", "prompt,x,x\na,b,c\n"])
def test_csv_columns_are_checked_as_those_of_a_frame(tmp_path, text):
    """No prompts, reserved and repeated columns are refused."""
    with pytest.raises(ValidationError):
        scenarios_from_csv(write(tmp_path, text))


def test_yaml_by_hand(tmp_path):
    """A list may mix plain prompts and mappings; other keys are dimensions."""
    text = "- What is rain?\n- prompt: And snow?\n  followups: Sure?\n  season: winter\n  since: 2026-01-02\n"
    assert scenarios_from_yaml(write(tmp_path, text)) == [
        Scenario("What is rain?", scenario_id="s0001"),
        Scenario("And snow?", None, ("Sure?",), "s0002", {"season": "winter", "since": "2026-01-02"}),
    ]


def test_yaml_template(tmp_path):
    """The keys of the file are the arguments of scenarios_from_template."""
    text = """
template: As a [Role], [tone]
system: You are a [role].
followups: ["Why?"]
method: balanced
n: 4
seed: 7
dimensions:
  Role: [nurse, pilot]
  Tone:
    - {label: warm, score: 1, options: [be kind, be warm]}
    - {label: cold, score: 0, options: be brief}
    - 3
"""
    warm = {"label": "warm", "score": 1, "options": ["be kind", "be warm"]}
    cold = {"label": "cold", "score": 0, "options": "be brief"}
    assert template_from_yaml(write(tmp_path, text)) == scenarios_from_template(
        "As a [Role], [tone]",
        {"Role": ["nurse", "pilot"], "Tone": [warm, cold, 3]},
        system="You are a [role].",
        followups=["Why?"],
        method="balanced",
        n=4,
        seed=7,
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("template: a", "dimensions"),
        ("- a", "dimensions"),
        ("{template: '[A]', dimensions: {A: [x]}, sead: 1}", "Did you mean 'seed'"),
        ("{template: '[A]', dimensions: {A: [yes]}}", "quotes"),
        ("{template: '[A]', dimensions: {A: }}", "list"),
        ("{template: '[A]', dimensions: {A: [x]}, followups: 5}", "follow"),
        ("{template: '[A]', dimensions: {A: [x], A: [y]}}", "'A' stands twice"),
        ("template: a\ntemplate: b\n", "'template' stands twice"),
    ],
)
def test_yaml_template_mistakes_are_sentences(tmp_path, text, says):
    """What is missing, misspelt or read by YAML as something else is said."""
    with pytest.raises(ValidationError, match=says):
        template_from_yaml(write(tmp_path, text))


@pytest.mark.parametrize("read", READERS)
def test_files_that_cannot_be_read_are_refused(tmp_path, read):
    """A missing file, a folder and another encoding are said with the path."""
    for path in (tmp_path / "missing", tmp_path, write(tmp_path, "prompt\nGrüße\n", "latin-1")):
        with pytest.raises(ValidationError) as error:
            read(path)
        assert str(path) in str(error.value)
        assert error.value.field == "path"


@pytest.mark.parametrize("text", ["a: [", "!!python/object/apply:os.getcwd []", "just text", "5"])
def test_yaml_is_only_data(tmp_path, text):
    """Broken YAML, objects and documents that are no list are refused."""
    with pytest.raises(ValidationError):
        scenarios_from_yaml(write(tmp_path, text))


def test_formulas_are_not_altered(tmp_path):
    """A scenarios file is read again, so a prompt that begins with = is written as it is."""
    scenarios_to_csv(["=SUM(A1)"], tmp_path / "a.csv")
    assert pd.read_csv(tmp_path / "a.csv")["prompt"].tolist() == ["=SUM(A1)"]


@pytest.mark.parametrize("write", [llmkit.scenarios_to_csv, llmkit.scenarios_to_yaml])
def test_no_file_leaves_a_question_out(tmp_path, write):
    """What a file cannot hold is refused in a sentence, and nothing is written; a table alike."""
    asked = llmkit.question.yes_no("Is it fair?")
    with pytest.raises(llmkit.ValidationError, match="yes_no"):
        write([asked], tmp_path / "scenarios")
    with pytest.raises(llmkit.ValidationError, match="yes_no"):
        llmkit.scenarios_to_frame(["Why?", asked])
    assert not list(tmp_path.iterdir())
