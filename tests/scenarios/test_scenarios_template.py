"""Templates and dimensions."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit.errors import ValidationError
from llmkit.scenarios import RESERVED_COLUMNS, Level, scenarios_from_template

NAMES = ("Role", "Tone", "Topic", "Place")
WORDINGS = "abc"
FOUR_BY_FIVE = {
    name: [
        {"label": f"{name} {i}", "score": i, "options": [f"{name}-{i}-{wording}" for wording in WORDINGS]}
        for i in range(5)
    ]
    for name in NAMES
}
TEMPLATE = "[Role]|[tone]|[ TOPIC ]|[Place]"


def refused(field, template="[City]", dimensions=None, **more):
    """The sentence with which a template is refused."""
    with pytest.raises(ValidationError) as error:
        scenarios_from_template(template, {"City": ["Paris", "Rome"]} if dimensions is None else dimensions, **more)
    assert error.value.field == field
    return str(error.value)


def test_full_product_has_every_combination_once_with_one_of_its_wordings():
    """4 dimensions of 5 levels of 3 wordings make 625 scenarios, each worded by its own levels."""
    scenarios = scenarios_from_template(TEMPLATE, FOUR_BY_FIVE)
    combinations = [tuple(scenario.dimensions[name] for name in NAMES) for scenario in scenarios]
    assert combinations == list(product(*([f"{name} {i}" for i in range(5)] for name in NAMES)))
    for scenario in scenarios:
        for name, wording in zip(NAMES, scenario.prompt.split("|"), strict=True):
            score = scenario.dimensions[f"{name}_score"]
            assert scenario.dimensions[name] == f"{name} {score}"
            assert wording in {f"{name}-{score}-{each}" for each in WORDINGS}


def test_every_wording_of_every_level_is_used_about_equally():
    """Each of 3 wordings of a level gets about a third of its 125 scenarios."""
    scenarios = scenarios_from_template(TEMPLATE, FOUR_BY_FIVE)
    used = Counter(wording for scenario in scenarios for wording in scenario.prompt.split("|"))
    assert len(used) == 4 * 5 * 3
    assert all(20 <= count <= 65 for count in used.values())


def test_seed_changes_wordings_and_nothing_else():
    """One seed gives the same scenarios again; another gives other wordings of the same combinations."""
    first = scenarios_from_template(TEMPLATE, FOUR_BY_FIVE, seed=1)
    other = scenarios_from_template(TEMPLATE, FOUR_BY_FIVE, seed=2)
    assert first == scenarios_from_template(TEMPLATE, FOUR_BY_FIVE, seed=1)
    assert [scenario.dimensions for scenario in first] == [scenario.dimensions for scenario in other]
    assert sum(a.prompt != b.prompt for a, b in zip(first, other, strict=True)) > 500


@given(st.permutations(NAMES), st.sampled_from(["full", "sample", "balanced"]))
def test_wording_depends_on_the_levels_alone(names, method):
    """A combination reads the same whatever the order of the dimensions and however it was picked."""
    everything = {
        frozenset(scenario.dimensions.items()): scenario.prompt
        for scenario in scenarios_from_template(TEMPLATE, FOUR_BY_FIVE)
    }
    dimensions = {name: FOUR_BY_FIVE[name] for name in names}
    n = None if method == "full" else 20
    for scenario in scenarios_from_template(TEMPLATE, dimensions, method=method, n=n):
        assert everything[frozenset(scenario.dimensions.items())] == scenario.prompt


def test_columns_are_named_as_the_user_wrote_them():
    """Placeholders ignore case and white space; the columns keep the dimension's own name."""
    scenarios = scenarios_from_template("[job   TITLE]", {"Job Title": ["nurse"]})
    assert scenarios[0].prompt == "nurse"
    assert dict(scenarios[0].dimensions) == {"Job Title": "nurse"}


def test_levels_may_be_text_numbers_levels_or_mappings():
    """Numbers stay numbers in the column, a label is the first wording when it is left out."""
    levels = [
        30,
        np.int64(40),
        0.5,
        "old",
        Level("label", "wording"),
        {"options": "only"},
        {"options": "w", "label": 7},
    ]
    scenarios = scenarios_from_template("[Age]", {"Age": levels})
    assert [scenario.prompt for scenario in scenarios] == ["30", "40", "0.5", "old", "wording", "only", "w"]
    labels = [scenario.dimensions["Age"] for scenario in scenarios]
    assert labels == [30, 40, 0.5, "old", "label", "only", 7]
    assert [type(label) for label in labels] == [int, int, float, str, str, str, int]


def test_a_score_column_exists_when_any_level_has_a_score():
    """A level without score has a missing one; a dimension without scores has no such column."""
    dimensions = {"Tone": [{"label": "warm", "score": 2}, "cold"], "City": ["Rome"]}
    scenarios = scenarios_from_template("[Tone] [City]", dimensions)
    assert [scenario.dimensions["Tone_score"] for scenario in scenarios] == [2, None]
    assert "City_score" not in scenarios[0].dimensions


def test_system_and_followups_are_filled_with_the_same_wording():
    """All texts of one scenario say the dimension the same way; a dimension may be in any one of them."""
    dimensions = {"City": [Level("Paris", ["Paris", "the capital of France", "la Ville Lumière"])], "Mood": ["sad"]}
    for seed in range(10):
        (scenario,) = scenarios_from_template(
            "[City]", dimensions, system="About [city]", followups=["Again [CITY]?", "[Mood]?"], seed=seed
        )
        assert scenario.system == f"About {scenario.prompt}"
        assert scenario.followups == (f"Again {scenario.prompt}?", "sad?")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("[[City]] [City]", "[City] Paris"),
        ("[[[City]]]", "[Paris]"),
        ("- [ ] [City] a[]", "- [ ] Paris a[]"),
        ("[City] :-] and :-[", "Paris :-] and :-["),
        ("[City]\n{{ City }} {City} %s", "Paris\n{{ City }} {City} %s"),
    ],
)
def test_brackets_that_are_no_placeholders(template, expected):
    """Doubled brackets come out single; brackets around nothing and everything else are left alone."""
    assert scenarios_from_template(template, {"City": ["Paris"]})[0].prompt == expected


WORDING = st.text(min_size=1).filter(str.strip).filter(lambda text: text.encode("utf-8", "ignore").decode() == text)


@settings(max_examples=20)  # each starts a process
@given(st.lists(WORDING, min_size=1, max_size=5, unique_by=str.strip))
def test_what_is_filled_in_is_taken_as_it_is(wordings):
    """A wording that looks like a placeholder, an escape or code is not looked at again."""
    for engine, text in (("placeholders", "<[City]>"), ("jinja2", "<{{ city }}>")):
        scenarios = scenarios_from_template(text, {"City": wordings}, engine=engine)
        assert [scenario.prompt for scenario in scenarios] == [f"<{wording}>" for wording in wordings]


@given(st.text())
def test_any_text_can_be_asked_with_its_brackets_doubled(text):
    """Doubling every bracket makes a template of any text."""
    escaped = text.replace("[", "[[").replace("]", "]]")
    (scenario,) = scenarios_from_template(f"[City]{escaped}", {"City": ["Paris"]})
    assert scenario.prompt == f"Paris{text}"


def test_unknown_placeholder_names_the_nearest_dimension():
    """A misspelt placeholder is an error that says what was probably meant and how to write brackets."""
    message = refused("template", "[Cty] [City]")
    assert "[Cty]" in message
    assert "'City'" in message
    assert "[[Cty]]" in message
    assert "system" in refused("system", system="[Town]")
    assert "followups" in refused("followups", followups=["[Town]"])


def test_unused_dimension_is_refused():
    """A dimension that no text mentions would multiply the cost for nothing."""
    sentence = refused("dimensions", dimensions={"City": ["Rome"], "Tone": ["warm"]})
    assert "'Tone' is not in the template: write [Tone] where" in sentence


@pytest.mark.parametrize(
    "levels",
    [
        [],
        [""],
        ["Rome", "  "],
        [None],
        [{}],
        [{"label": "x", "options": []}],
        [{"label": "x", "options": [""]}],
        [{"label": "", "options": ["x"]}],
        [{"score": 3}],
    ],
)
def test_empty_levels_are_refused(levels):
    """No levels, a level without wording, an empty wording: one error that names the dimension."""
    assert "'City'" in refused("dimensions", dimensions={"City": levels})


@pytest.mark.parametrize(
    ("levels", "says"),
    [
        (["a", "b", "a"], "two levels labelled 'a'"),
        (["1", 1], "two levels labelled '1'"),
        ([True], "quotes"),
        ([float("nan")], "finite"),
        ([["a", "b"]], "mapping"),
        ([{"lable": "a"}], "Did you mean 'label'"),
        ([{"label": "a", "score": "high"}], "'high'"),
        (["\ud800"], "broken character"),
        ("Rome", "list"),
        ({"Rome", "Paris"}, "list"),
        (5, "list"),
    ],
)
def test_levels_that_make_no_sense_are_refused(levels, says):
    """Each mistake in a list of levels has its own sentence."""
    assert says in refused("dimensions", dimensions={"City": levels})


@pytest.mark.parametrize("name", [*sorted(RESERVED_COLUMNS), "Model", " status ", "answer.tone"])
def test_names_of_columns_of_run_probes_are_refused(name):
    """A dimension may not overwrite a column of results, in whatever case it is written."""
    assert repr(name) in refused("dimensions", f"[{name}]", {name: ["a"]})


@pytest.mark.parametrize("dimensions", [None, [], {}, "City"])
def test_dimensions_must_be_a_mapping(dimensions):
    """Without dimensions there is no template; the error shows how to write them."""
    with pytest.raises(ValidationError, match="for example"):
        scenarios_from_template("[City]", dimensions)


@pytest.mark.parametrize("second", ["city", "Ci ty", "CITY "])
def test_dimensions_that_one_placeholder_would_mean_are_refused(second):
    """Two names that differ in case or white space only cannot be told apart."""
    assert "rename" in refused("dimensions", dimensions={"City": ["a"], second: ["b"]})


def test_a_score_column_may_not_hide_a_dimension():
    """A dimension called like another one's score column is refused."""
    dimensions = {"Tone": [Level("warm", score=1)], "tone_score": ["a"]}
    assert "rename" in refused("dimensions", "[Tone] [tone_score]", dimensions)


@pytest.mark.parametrize("bad", ["", "  ", None, 5])
def test_texts_must_be_text(bad):
    """An empty template or follow-up is refused."""
    refused("template", bad)
    refused("followups", followups=[bad])


def test_unknown_engine_is_refused():
    """The error lists the engines."""
    assert "jinja2" in refused("engine", engine="mako")


# --- Jinja2 ---------------------------------------------------------------------------------------------------------


def test_jinja_has_wording_label_and_score():
    """Logic can use what is shown, what is recorded and how it is scored; an empty follow-up is left out."""
    dimensions = {"Tone of voice": [Level("warm", "kindly", 2), Level("none", "as you like", 0)]}
    scenarios = scenarios_from_template(
        "Answer{% if tone_of_voice_score %} {{ tone_of_voice }}{% endif %}.",
        dimensions,
        followups=["{% if tone_of_voice_label == 'warm' %}Why?{% endif %}"],
        system="{{ tone_of_voice_label }}",
        engine="jinja2",
    )
    assert [(s.prompt, s.followups, s.system) for s in scenarios] == [
        ("Answer kindly.", ("Why?",), "warm"),
        ("Answer.", (), "none"),
    ]


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{{ cty }}{{ city }}", "'city'"),
        ("{{ city_score }}", "city_score"),
        ("{% if city %}", "not a valid Jinja2 template"),
        ("{{ city.nothing }}", "nothing"),
        ("{{ city.__class__.__mro__ }}", "unsafe"),
        ("{{ ''.__class__ }}{{ city }}", "unsafe"),
        ("{% include '/etc/passwd' %}{{ city }}", "loader"),
        ("{{ city + 1 }}", "cannot be filled"),
        ("{{ city | random }}", "random"),
        ("{{ lipsum() }}{{ city }}", "lipsum"),
        ("{% set x = city %}", "prompt"),
    ],
)
def test_jinja_errors_are_sentences(template, says):
    """Undefined names, syntax, the sandbox, expressions: each ends as a ValidationError."""
    with pytest.raises(ValidationError, match=says):
        scenarios_from_template(template, {"City": ["Paris"]}, engine="jinja2")


def test_jinja_dimension_that_is_unused_is_refused():
    """A dimension counts as used when any of its variables is."""
    assert scenarios_from_template("{{ city_label }}", {"City": ["Rome"]}, engine="jinja2")
    sentence = refused("dimensions", "{{ city }}", {"City": ["Rome"], "My tone": ["warm"]}, engine="jinja2")
    assert "'My tone' is not in the template: write {{ my_tone }} where" in sentence


def test_jinja_variables_that_collide_are_refused():
    """Two names that make one variable cannot be told apart."""
    assert "rename" in refused("dimensions", "{{ a_b }}", {"A-B": ["x"], "a b": ["y"]}, engine="jinja2")
