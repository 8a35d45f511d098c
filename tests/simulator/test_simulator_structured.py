"""Structured answers validate against the schema that was asked for."""

import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from sim_client import MODELS, answer, ask

from llmkit.simulator.schema_answers import schema_in, structured

SCENARIOS = {
    "type": "object",
    "properties": {
        "scenarios": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "prompt": {"type": "string", "minLength": 5},
                    "tone": {"enum": ["formal", "casual"]},
                    "difficulty": {"type": "integer", "minimum": 1, "maximum": 5},
                    "followups": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
                    "note": {"type": ["string", "null"]},
                },
                "required": ["prompt", "tone", "difficulty", "followups", "note"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["scenarios"],
    "additionalProperties": False,
}
FORMATS = {
    "anthropic": lambda schema: {"output_config": {"format": {"type": "json_schema", "schema": schema}}},
    "google": lambda schema: {
        "generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": schema}
    },
    "deepseek": lambda schema: {"response_format": {"type": "json_object"}},
}


def _asked_for(provider, schema):
    usual = {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}
    return FORMATS.get(provider, lambda _: usual)(schema)


def _json_answer(sim, provider, schema, prompt):
    if provider == "deepseek":
        prompt += f"\nAnswer with JSON that matches this JSON schema:\n{json.dumps(schema)}"
    limit = {"max_tokens": 20_000} if provider == "anthropic" else {}
    return answer(sim, provider, prompt, **limit, **_asked_for(provider, schema))


@pytest.mark.parametrize("provider", MODELS)
def test_every_provider_answers_with_the_schema(sim, provider):
    """As many different scenarios as the prompt asks for, all valid."""
    prompt = "Write exactly 12 scenarios about neighbours."
    value = json.loads(_json_answer(sim, provider, SCENARIOS, prompt))
    Draft202012Validator(SCENARIOS).validate(value)
    prompts = [each["prompt"] for each in value["scenarios"]]
    assert len(prompts) == 12
    assert len({json.dumps(each) for each in value["scenarios"]}) == 12


def test_google_takes_names_in_snake_case_too(sim):
    """Gateways send the other spelling of its JSON: the schema counts, and an unknown name is refused."""
    schema = {"type": "OBJECT", "properties": {"wet_water": {"type": "BOOLEAN"}}, "required": ["wet_water"]}
    config = {"response_mime_type": "application/json", "response_schema": schema}
    system = {"parts": [{"text": "Be brief."}]}
    assert json.loads(answer(sim, "google", generation_config=config, system_instruction=system)).keys() == {
        "wet_water"
    }
    assert ask(sim, "google", system_prompt=system).status_code == 400


def test_a_hundred_scenarios_are_all_different():
    """Not only as a whole: no two have the same prompt."""
    value = structured(SCENARIOS, "Write exactly 100 scenarios about noise.", Random(1))
    assert len({each["prompt"] for each in value["scenarios"]}) == 100


def test_json_object_without_a_schema_is_still_an_object(sim):
    """JSON mode alone gives some object."""
    text = answer(sim, prompt="Answer in JSON please", response_format={"type": "json_object"})
    assert isinstance(json.loads(text), dict)


TEXTS = {"1": 'The bus is always late, see "id": 9 in the list.', "2": "I like walking to work by the river."}


@pytest.mark.parametrize(
    "shown",
    [
        lambda key, text: f'<doc-ab12 id="{key}" asked="1">\n{text}\n</doc-ab12>',
        lambda key, text: f"id={key}: {text}",
        lambda key, text: json.dumps({"answer_id": key, "text": text}),
    ],
)
@pytest.mark.parametrize("kind", ["string", "integer"])
def test_coding_uses_the_ids_and_quotes_the_texts(shown, kind):
    """However texts are numbered, each id comes once, and every quote stands in the text of its id."""
    prompt = "Code these answers.\n" + "\n".join(shown(key, text) for key, text in TEXTS.items())
    item = {
        "type": "object",
        "properties": {"id": {"type": kind}, "code": {"enum": ["bus", "walk"]}, "quote": {"type": "string"}},
        "required": ["id", "code", "quote"],
    }
    schema = {"type": "object", "properties": {"codes": {"type": "array", "items": item}}, "required": ["codes"]}
    codes = structured(schema, prompt, Random(1))["codes"]
    assert [str(each["id"]) for each in codes] == list(TEXTS)
    assert all(each["quote"] in TEXTS[str(each["id"])] for each in codes)


@pytest.mark.parametrize(
    ("fault", "wrong"),
    [
        ("too_few", lambda entries: len(entries) < 6),
        ("duplicates", lambda entries: len(entries) == 6 and all(each == entries[0] for each in entries)),
    ],
)
def test_faults_spoil_lists(fault, wrong):
    """Lists come too short, or repeat one entry."""
    value = structured(SCENARIOS, "Write 6 scenarios.", Random(1), fault)
    assert wrong(value["scenarios"])


def test_entries_of_a_list_differ_where_they_can():
    """Words of a short choice come once each, and a list that must be unique ends when they are used up."""
    words = {"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 3, "maxItems": 3}
    assert all(sorted(structured(words, "Pick", Random(seed))) == ["a", "b", "c"] for seed in range(10))
    unique = {"type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": True}
    assert sorted(structured(unique, "Pick exactly 9", Random(1))) == ["a", "b"]


def test_schema_is_found_in_words():
    """The first JSON object of a text that looks like a schema."""
    assert schema_in('For example {"a": 1}. Schema: {"type": "object", "properties": {}} Thanks.') == {
        "type": "object",
        "properties": {},
    }
    assert schema_in("No { schema } here") is None


def test_references_and_recursion_end():
    """A tree that refers to itself is cut off at some depth and is valid."""
    schema = {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                    "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                },
                "required": ["name", "children", "next"],
            }
        },
        "$ref": "#/$defs/node",
    }
    Draft202012Validator(schema).validate(structured(schema, "A tree", Random(1)))


@pytest.mark.parametrize("place", ["#/properties/a/anyOf/0", "#code", "#/$defs/a%20code~1x"])
def test_references_point_anywhere(place):
    """Into a list, to an anchor, or to a name that is written with escapes."""
    code = {"$anchor": "code", "enum": [7]}
    schema = {"$defs": {"a code/x": code}, "properties": {"a": {"anyOf": [{"enum": [7]}]}, "b": {"$ref": place}}}
    assert structured(schema, "Pick", Random(1)) == {"a": 7, "b": 7}


@pytest.mark.parametrize("place", ["#/properties/9", "#/required/x", "#/required/0/x", "elsewhere.json", "#nowhere"])
def test_references_to_nothing_are_words(place):
    """A schema that refers to what is not there asks for nothing in particular."""
    schema = {"properties": {"a": {"$ref": place}}, "required": ["a"]}
    assert isinstance(structured(schema, "Pick", Random(1))["a"], str)


def _schemas():
    """Schemas of the kind that people ask models for."""
    leaves = st.one_of(
        st.builds(
            lambda low, more: {"type": "string", "minLength": low, "maxLength": low + more},
            st.integers(0, 30),
            st.integers(0, 200),
        ),
        st.builds(
            lambda kind, low, more: {"type": kind, "minimum": low, "maximum": low + more},
            st.sampled_from(["integer", "number"]),
            st.integers(-50, 50),
            st.integers(0, 100),
        ),
        st.builds(
            lambda low, more: {"type": "integer", "exclusiveMinimum": low, "exclusiveMaximum": low + more},
            st.integers(-50, 50),
            st.integers(2, 100),
        ),
        st.just({"type": "integer", "multipleOf": 5, "minimum": 3, "maximum": 44}),
        st.just({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}),
        st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"const": 4}, {}, {"type": ["null", "string"]}]),
        st.builds(lambda values: {"enum": values}, st.lists(st.text(max_size=5), min_size=1, max_size=4, unique=True)),
        st.sampled_from(["date", "date-time", "email", "uuid", "uri"]).map(lambda f: {"type": "string", "format": f}),
    )

    def deeper(inner):
        objects = st.dictionaries(st.text(min_size=1, max_size=8), inner, max_size=4).map(
            lambda p: {"type": "object", "properties": p, "required": list(p), "additionalProperties": False}
        )
        arrays = st.builds(
            lambda items, low, more: {"type": "array", "items": items, "minItems": low, "maxItems": low + more},
            inner,
            st.integers(0, 4),
            st.integers(0, 3),
        )
        choices = st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options})
        return st.one_of(objects, arrays, choices)

    return st.recursive(leaves, deeper, max_leaves=12)


@given(schema=_schemas(), seed=st.integers(0, 5))
def test_any_schema_is_met(schema, seed):
    """Whatever the schema, the value validates against it, and the same seed gives the same value."""
    Draft202012Validator.check_schema(schema)
    value = structured(schema, "Make 2 examples about boats", Random(seed))
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(value)
    assert value == structured(schema, "Make 2 examples about boats", Random(seed))
