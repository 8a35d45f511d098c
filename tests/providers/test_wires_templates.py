"""Bodies filled into a template: byte for byte what would be sent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from wire_requests import ANTHROPIC, CHAT, CLOSED, GEMINI, RESPONSES, call, spoken

from llmkit.providers.wires.body_templates import Questions
from llmkit.records import DIALECTS, Call, Message

SPOKEN = [*((CHAT, name) for name in DIALECTS), (RESPONSES, "openai"), (ANTHROPIC, "anthropic"), (GEMINI, "google")]
TEXTS = st.text(st.characters(exclude_categories=()), min_size=1)  # lone surrogates too: answers may have them
CONVERSATIONS = st.lists(TEXTS, min_size=1, max_size=5).filter(lambda texts: len(texts) % 2)
PARAMS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.sampled_from([0.0, 0.7]),
        "max_tokens": st.just(2_000),
        "seed": st.integers(0, 9),
        "stop": st.lists(TEXTS.filter(lambda text: text.isprintable()), max_size=2).map(tuple),
        "reasoning_effort": st.just("low"),
        "schema": st.just(CLOSED),
        "extra_body": st.sampled_from([{"user": "me"}, {"messages": []}, {"note": "é\n"}]),
    },
)


def conversation(first: Call, system: str | None, texts: list[str]) -> Call:
    """The call with other texts."""
    turns = (Message("assistant" if place % 2 else "user", text) for place, text in enumerate(texts))
    return replace(first, system=system, messages=tuple(turns))


@given(st.sampled_from(SPOKEN), PARAMS, st.sampled_from([{}, {"structured": "json_object"}]), st.data())
def test_a_filled_template_is_what_would_be_sent(
    spoken_by: tuple[str, str], params: dict[str, Any], api_config: dict[str, Any], data: st.DataObject
) -> None:
    """Whatever the texts, parameters and dialect, for calls of several shapes that share the rest."""
    wire, provider = spoken(*spoken_by), spoken_by[1]
    like, questions = call(provider, api_config, **params), Questions()
    for system, texts in data.draw(st.lists(st.tuples(st.none() | TEXTS, CONVERSATIONS), min_size=1, max_size=4)):
        one = conversation(like, system, texts)
        assert questions.json(wire, one, "alike") == wire.build(one).question_json


def test_marks_for_a_cache_change_no_question() -> None:
    """A request with a marked beginning asks the same as one without."""
    wire, marked = spoken(ANTHROPIC, "anthropic"), replace(call("anthropic"), marks=(5,))
    plain = wire.build(replace(marked, marks=())).question_json
    assert Questions().json(wire, marked, "alike") == Questions().json(wire, marked, None) == plain
