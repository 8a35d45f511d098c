"""Answers that must match a schema: parsed into columns, or failed rows that keep the text and what it cost."""

import json
import time
from datetime import date
from enum import Enum
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from llmkit import ValidationError
from llmkit.catalog import load_seed
from llmkit.tasks.structured import answer_check, json_schema, parse_json

PROVIDERS = tuple(load_seed().providers)


class Stance(Enum):
    """An enumeration becomes a definition that others refer to."""

    FOR = "for"
    AGAINST = "against"


class Reason(BaseModel):
    """A nested model."""

    text: str
    weight: int = Field(ge=1, le=5)


class Verdict(BaseModel):
    """Nested fields, lists, a choice, something optional: more than strict modes take."""

    stance: Stance
    reasons: list[Reason] = Field(min_length=1, max_length=3)
    tone: Literal["calm", "heated"]
    since: date | None = None
    tags: dict[str, int] = {}


GOOD = {"stance": "for", "reasons": [{"text": "cheap", "weight": 3}], "tone": "calm", "since": "2026-11-24", "tags": {}}


def test_every_provider_answers_a_nested_model(kit):
    """Each in its own mode (strict schema, plain schema, JSON in words): all rows ok, one column a field."""
    probes = kit.run(["Is it fair?", "Is it wise?"], schema=Verdict).result(60).probes
    assert set(probes["provider"]) == set(PROVIDERS)
    assert list(probes["error_message"].dropna()) == []
    for name in Verdict.model_fields:
        assert f"answer.{name}" in probes.columns
    for _, row in probes.iterrows():
        Verdict.model_validate_json(row["response"])
        assert row["answer.stance"] in ("for", "against")
        assert isinstance(row["answer.reasons"], list)
        assert 1 <= row["answer.reasons"][0]["weight"] <= 5


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_invalid_answer_is_a_failed_row_with_its_text_and_its_cost(kit, sim, provider):
    """It was billed, so its tokens and cost are there; the text can be read; the others of the run are not affected."""
    sim.script(provider, ["malformed_json"])
    model = kit.catalog.defaults()[provider].reference
    run = kit.run(["a?", "b?"], model, schema=Verdict, order="sequential").result(60)
    bad, good = (row for _, row in run.probes.sort_values("status").iterrows())  # either may have been asked first
    assert (bad["status"], bad["error_code"]) == ("failed", "INVALID_RESPONSE")
    assert "not JSON" in bad["error_message"]
    assert "Here is the JSON" in bad["response"]
    assert bad["output_tokens"] > 0
    assert bad["estimated_cost"] > 0
    assert good["status"] == "ok"
    assert bad["answer.stance"] is None or bad["answer.stance"] != bad["answer.stance"]
    assert float(run.total_cost) == pytest.approx(run.probes["estimated_cost"].sum())


def test_a_schema_beyond_strict_mode_is_sent_as_it_is_and_checked(third_party):
    """Open objects and optional fields: a server that ignores them is checked by llmkit itself."""
    kit, _ = third_party([("good", GOOD), ("bad", GOOD | {"tone": "loud"})])
    probes = kit.run(["good", "bad"], "local:subject", schema=Verdict).result(60).probes.set_index("prompt")
    assert probes.loc["good", "status"] == "ok"
    assert probes.loc["good", "answer.reasons"] == GOOD["reasons"]
    assert probes.loc["bad", "status"] == "failed"
    assert "at tone" in probes.loc["bad", "error_message"]
    assert json.loads(probes.loc["bad", "response"])["tone"] == "loud"


def test_the_last_answer_of_a_conversation_is_the_one_that_counts(kit):
    """Follow-ups go on; the columns hold what was said at the end."""
    run = kit.run("a?", "openai:gpt-6-luna", followups="And now?", schema=Verdict).result(60)
    assert run.probes["answer.stance"][0] == json.loads(run.turns["response"].iloc[-1])["stance"]


@pytest.mark.parametrize(
    "wrapped",
    [
        "{}",
        "  {}\n",
        "```json\n{}\n```",
        "```\n{}```",
        "Here it is: {} I hope it helps.",
        "Think.\n\n```json\n{}\n```\nDone",
    ],
)
def test_json_is_found_however_it_is_wrapped(wrapped):
    """Models without a JSON mode add a fence or a remark."""
    assert parse_json(wrapped.replace("{}", json.dumps(GOOD))) == GOOD


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no",
        "{",
        '{"a": NaN}',
        '{"a": 1} {"b": 2}',
        "[" * 100_000,
        '{"a": "\\ud800"}',
        "{not json}",
        "1" * 10_000,
        '{"a": 1e999}',
    ],
)
def test_what_is_no_json_is_refused_with_a_sentence(text):
    """Also what Python would read and no file could keep."""
    with pytest.raises(ValueError, match=r"The answer .*\."):
        parse_json(text)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("piece", [" ", "\t", "\n", "`", "```", "```\n", "``` \n ", "{", "{}", '{"', "a", "\\"])
def test_whatever_an_answer_repeats_is_read_in_no_time(piece):
    """A model that stutters behind a fence holds nothing up: the time grows with the answer, not with its square."""
    before = time.thread_time()
    with pytest.raises(ValueError):
        parse_json("```json\n" + piece * 100_000)
    assert time.thread_time() - before < 2  # its square takes a dozen


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_any_object_is_read_as_it_was_written(value):
    """In a fence, between words, or bare."""
    text = json.dumps(value)
    assert parse_json(text) == parse_json(f"```json\n{text}\n```") == parse_json(f"Well: {text} So.") == value


@given(st.text(max_size=300) | st.binary(max_size=200).map(lambda raw: raw.decode("utf-8", "replace")))
def test_a_check_fails_only_with_a_sentence(text):
    """Whatever a model says, the run gets an answer or a ValueError, never another error."""
    try:
        found = answer_check({"type": "object"})(text)
    except ValueError as error:
        found = str(error)
    assert isinstance(found, dict) or found.startswith("The answer")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"reasons": []}, "reasons"),
        ({"reasons": [{"text": "x", "weight": 9}]}, "reasons.0.weight"),
        ({"stance": "perhaps"}, "stance"),
        ({"since": "yesterday"}, "since"),
        ({"tags": {"a": "b"}}, "tags.a"),
        ({"tone": None}, "tone"),
    ],
)
def test_the_sentence_says_where_an_answer_is_wrong(change, where):
    """Through references, lists and optional fields; formats count."""
    check = answer_check(json_schema(Verdict))
    assert check(json.dumps(GOOD)) == GOOD
    with pytest.raises(ValueError, match=f"at {where}"):
        check(json.dumps(GOOD | change))


class Tree(BaseModel):
    """A model that holds itself."""

    value: int
    children: list["Tree"] = []


def test_a_model_that_holds_itself_works(kit):
    """Its schema begins with a reference; it is asked for and checked all the same."""
    schema = json_schema(Tree)
    assert schema["type"] == "object"
    check = answer_check(schema)
    assert check('{"value": 1, "children": [{"value": 2, "children": []}]}')
    with pytest.raises(ValueError, match=r"children\.0\.value"):
        check('{"value": 1, "children": [{"value": "x"}]}')
    assert set(kit.run("a?", ["openai:gpt-6-luna"], schema=Tree).result(60).probes["status"]) == {"ok"}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array"},
        {"type": "nonsense"},
        {"type": "object", "properties": {"a": {"pattern": "("}}},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/missing"}}},
        {"type": "object", "properties": {"a": {"$ref": "https://example.org/schema.json"}}},
        {"type": "object", "properties": {"a": {"$dynamicRef": "#missing"}}},
        "object",
        dict,
    ],
)
def test_schemas_without_sense_are_refused_before_anything_is_sent(kit, sim, schema):
    """References to elsewhere too: nothing is ever fetched to check an answer."""
    with pytest.raises(ValidationError) as caught:
        kit.run("hello", schema=schema)
    assert caught.value.field == "schema"
    assert not sim.requests
