"""Files, templates and schemas of others that would hold a notebook up or fill its memory: a sentence, and at once."""

import contextlib
import csv
import io
import time
from pathlib import Path

import pandas as pd
import pytest

import llmkit
from llmkit.analysis import exports
from llmkit.tasks.structured import answer_check, json_schema

MIB = 2**20
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
YAML = {
    "laughs": (LAUGHS, "with its aliases"),
    "laughs in merged keys": (LAUGHS.replace("[x, x,", "[{x: 1}, x,") + "k: {<<: [*i, *i]}\n", "with its aliases"),
    "an alias of what it is in": ("- &a [*a]\n", "inside the node that it refers to"),
    "lists in lists": ("[" * 100_000, "levels deep"),
    "a number of a million digits": ("- " + "9" * 1_000_000, "too long"),
    "minutes of minutes": ("- " + ":".join(["59"] * 100_000), "too long"),
    "no date": ("- 2026-99-99\n", "month"),
}
LOOPS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
DOUBLING = "{% set n = namespace(x='aa') %}{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}"
CALLS = "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}"
JINJA = {
    "a range": ("{% for i in range(10**9) %}x{% endfor %}", "Range too big"),
    "loops in loops": (LOOPS, "seconds"),
    "a text times a thousand million": ("{{ 'a' * 10**9 }}", "memory"),
    "a power of a power": ("{{ 9 ** (9 ** 9) }}", "seconds"),
    "a width": ("{{ '%1000000000d' % 1 }}", "memory"),
    "doubling": (DOUBLING, "memory|seconds"),
    "calls that call twice": (CALLS, "seconds"),
    "much of it": ("{{ 'a' * 2000000 }}", "1,000,000 characters"),
    "an attribute": ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "unsafe"),
    "a format": ("{{ '{0.__class__}'.format(city) }}", "unsafe"),
}
TWICE = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
DEEP = {}
for _ in range(3_000):
    DEEP = {"properties": {"a": DEEP}}
SCHEMAS = {
    "itself": ({"allOf": [{"$ref": "#"}]}, "cannot be used"),
    "references that double": ({"allOf": [{"$ref": "#/$defs/d0"}], "$defs": {**TWICE, "d40": {}}}, "too long"),
    "three thousand levels": (DEEP, "too deeply"),
}


def peak():
    """The most memory that this process has had since that was last forgotten, in bytes."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) * 1024


@pytest.fixture(autouse=True)
def no_harm():
    """Two seconds of a processor and 300 MiB at most."""
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of earlier tests, which would hide this one's
    before, began = peak(), time.process_time()
    yield
    assert peak() - before < 300 * MIB
    assert time.process_time() - began < 2


@pytest.mark.parametrize("name", YAML)
def test_yaml_is_refused_with_a_sentence(name, tmp_path):
    """Aliases, depth, and numbers that are none."""
    text, says = YAML[name]
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(llmkit.ValidationError, match=says):
        llmkit.scenarios_from_yaml(tmp_path / "s.yaml")


def test_honest_aliases_are_read(tmp_path):
    """What is written once and used twice is no attack."""
    (tmp_path / "s.yaml").write_text("- &a {prompt: one, system: &s Be brief.}\n- {<<: *a, prompt: two}\n")
    scenarios = llmkit.scenarios_from_yaml(tmp_path / "s.yaml")
    assert [(each.prompt, each.system) for each in scenarios] == [("one", "Be brief."), ("two", "Be brief.")]


@pytest.mark.parametrize("name", JINJA)
def test_a_template_is_refused_with_a_sentence(name):
    """Time, memory, the length of what comes out, and ways out of the sandbox; the next template is filled as ever."""
    text, says = JINJA[name]
    with pytest.raises(llmkit.ValidationError, match=says):
        llmkit.scenarios_from_template(text + "{{ city }}", {"City": ["Rome"]}, engine="jinja2")
    (scenario,) = llmkit.scenarios_from_template("In {{ city }}?", {"City": ["Rome"]}, engine="jinja2")
    assert scenario.prompt == "In Rome?"


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_is_refused_before_anything_is_asked(name):
    """One that refers to itself, to so many others, or nests so deeply that no answer can be checked."""
    schema, says = SCHEMAS[name]
    with pytest.raises(llmkit.ValidationError, match=says):
        json_schema({"type": "object", **schema})


def test_no_answer_makes_a_pattern_take_for_ever():
    """What can be told in time is told; patterns for the names of fields are refused."""
    check = answer_check(json_schema({"type": "object", "properties": {"a": {"pattern": "^(a|a?)+$"}}}))
    with contextlib.suppress(ValueError):
        check('{"a": "%s!"}' % ("a" * 40))
    assert check('{"a": "aaa"}') == {"a": "aaa"}
    with pytest.raises(llmkit.ValidationError, match="name the fields"):
        json_schema({"type": "object", "patternProperties": {"^(x+x+)+y$": {}}})


@pytest.mark.parametrize("text", ["a;=1+1", 'a;"=1+1', "a\t@SUM(1)", "a\r+1", "a\n=1", "a;-1", "＝1", "a;;＠x"])
@pytest.mark.parametrize("sep", [",", ";", "\t"])
def test_no_cell_of_a_table_begins_a_formula(text, sep):
    """However a spreadsheet divides the file; numbers and lists of points stay as they are."""
    data = exports.csv_bytes(pd.DataFrame({"id": [1], "text": [text], "note": ["- one\n- two"], "score": [-1.5]}))
    assert b"- one\n- two" in data.replace(b"'- one", b"- one")
    assert b",-1.5" in data
    for line in io.StringIO(data.decode(), newline=None):
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
            cells = [cell for row in csv.reader([line], delimiter=sep, quoting=quoting) for cell in row]
            begins = [cell.lstrip('"') for cell in cells if cell not in ("-1.5", "- two")]
            assert not [cell for cell in begins if cell.startswith(tuple("=+-@＝＠")) and not cell.startswith("- ")]
