"""Whatever is sent, the simulator answers it or refuses it; it does not break."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sim_client import ask

from llmkit.simulator.answers import Answers
from llmkit.simulator.formats.body_values import Body
from llmkit.simulator.formats.routes import FORMATS, server_of
from llmkit.simulator.questions import Rejected

WORDS = """
model messages max_tokens role content text type json_schema schema response_format format input reasoning effort
thinking budget_tokens system contents parts generationConfig thinkingConfig thinkingLevel responseMimeType stop
responseJsonSchema responseSchema temperature properties items required enum minItems output_config anyOf allOf
cache_control seed $ref minLength minimum const top_p
"""
VALUES = ["json_schema", "user", "assistant", "object", "array", "gpt-6-luna", "application/json", "disabled", "high"]
LEAVES = st.none() | st.booleans() | st.integers(-5, 50) | st.floats(allow_nan=False) | st.sampled_from(VALUES)
JSON = st.recursive(
    LEAVES | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS.split()), inner, max_size=6),
    max_leaves=25,
)
SOUND = {
    "Chat": {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hi"}]},
    "Responses": {"model": "gpt-4.1", "input": "hi"},
    "Anthropic": {"model": "c", "max_tokens": 100, "messages": [{"role": "user", "content": "hi"}]},
    "Gemini": {"contents": [{"parts": [{"text": "hi"}]}]},
}
PROVIDERS = ["openai", "xai", "deepseek", "mistral", "anthropic", "google", "ollama"]


@given(form=st.sampled_from(FORMATS), provider=st.sampled_from(PROVIDERS), odd=JSON, schema=JSON)
@settings(max_examples=150)
def test_any_body_is_answered_or_rejected(form, provider, odd, schema):
    """Sound requests with odd additions, and odd requests, in every format of every provider."""
    extra = odd if isinstance(odd, dict) else {"stop": odd}
    asks_for_schema = {
        "Chat": {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}},
        "Responses": {"text": {"format": {"type": "json_schema", "schema": schema}}},
        "Anthropic": {"output_config": {"format": {"type": "json_schema", "schema": schema}}},
        "Gemini": {"generationConfig": {"responseMimeType": "application/json", "responseSchema": schema}},
    }[form.__name__]
    for body in (extra, SOUND[form.__name__] | extra, SOUND[form.__name__] | asks_for_schema):
        try:
            question = form(provider).read("m", Body(body), {"anthropic-version": "2023-06-01"})
        except Rejected:
            continue
        json.dumps(form(provider).write(question, Answers(0).answer(question), "id"))


BATCHES = {
    "openai": ("input_file_id", "endpoint", "metadata", "model"),
    "xai": ("input_file_id", "name"),
    "mistral": ("requests", "endpoint", "metadata", "model", "body"),
    "anthropic": ("requests", "params"),
    "google": ("batch", "displayName", "inputConfig", "requests", "metadata", "request"),
}


@given(provider=st.sampled_from(list(BATCHES)), data=st.data())
@settings(max_examples=150)
def test_any_batch_is_taken_or_rejected(provider, data):
    """Whatever stands where a batch has its requests, file, name and model."""
    names = st.sampled_from(BATCHES[provider])
    odd = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=4))
    line = {"custom_id": "a", "url": "/v1/chat/completions", "body": data.draw(odd)}
    files = {"file": b"\n".join(json.dumps(each).encode() for each in (line, line | {"custom_id": "b"}))}
    sound = {"input_file_id": "file", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    for body in (sound, sound | data.draw(st.dictionaries(names, odd, max_size=4))):
        batches = server_of(provider).batches
        try:
            batch = batches.read(Body(body), files, "/v1beta/models/m:batchGenerateContent")
        except Rejected:
            continue
        json.dumps(batches.state(batch))


@pytest.mark.parametrize("levels", [150, 450])
def test_a_schema_without_end_is_refused(sim, levels):
    """However deeply it is nested: by a reply of the provider, who counts it."""
    schema = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    for provider, how in (
        ("openai", {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}),
        ("google", {"generationConfig": {"responseMimeType": "application/json", "responseSchema": schema}}),
    ):
        assert ask(sim, provider, **how).status_code == 400
    assert sim.count("failed") == 2


def test_a_schema_that_is_none_is_refused(sim):
    """As the providers do, with a 400."""
    schema = {"type": "object", "properties": 5}
    response = ask(sim, response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": schema}})
    assert response.status_code == 400
    assert "schema" in response.json()["error"]["message"]
