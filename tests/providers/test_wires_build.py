"""The requests that the wires build: each provider's own words for the same parameters."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_requests import ANTHROPIC, CHAT, CLOSED, GEMINI, RESPONSES, body, build, call, spoken

from llmkit.errors import ValidationError
from llmkit.providers.wires import WIRES
from llmkit.records import Call, Message, Model, Params

# --- conversation ---


def test_chat_sends_the_system_prompt_and_all_messages() -> None:
    """The system prompt comes first, then the conversation so far."""
    request = build(CHAT)
    assert request.path == "/chat/completions"
    assert request.body == {
        "model": "m-1",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "One?"},
            {"role": "assistant", "content": "Two."},
            {"role": "user", "content": "Three?"},
        ],
    }


def test_responses_sends_instructions_and_is_never_stored() -> None:
    """The system prompt is ``instructions``; ``store`` is false, because left out it would mean true."""
    request = build(RESPONSES)
    assert request.path == "/responses"
    assert request.body is not None
    assert request.body["instructions"] == "Be brief."
    assert [message["role"] for message in request.body["input"]] == ["user", "assistant", "user"]
    assert request.body["store"] is False


def test_anthropic_sends_the_system_prompt_apart_and_always_a_limit() -> None:
    """The system prompt is no message, and the format demands max_tokens and a version."""
    request = build(ANTHROPIC, "anthropic")
    assert request.path == "/v1/messages"
    assert request.headers == {"anthropic-version": "2023-06-01"}
    assert request.body is not None
    assert request.body["system"] == "Be brief."
    assert [message["role"] for message in request.body["messages"]] == ["user", "assistant", "user"]
    assert request.body["max_tokens"] == 8192


def test_gemini_calls_the_assistant_model() -> None:
    """Gemini's roles are user and model; the model's id is in the path, the key is not."""
    request = build(GEMINI, "google")
    assert request.path == "/v1beta/models/m-1:generateContent"
    assert request.body == {
        "contents": [
            {"role": "user", "parts": [{"text": "One?"}]},
            {"role": "model", "parts": [{"text": "Two."}]},
            {"role": "user", "parts": [{"text": "Three?"}]},
        ],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
    }


def test_gemini_model_ids_cannot_leave_the_path() -> None:
    """A hostile model id stays one step of the path."""
    model = Model(provider="google", model_id="models/../../x?key=1", display_name="M")
    request = WIRES[GEMINI].build(Call(model=model, messages=(Message("user", "hi"),)))
    assert request.path == "/v1beta/models/..%2F..%2Fx%3Fkey%3D1:generateContent"


# --- parameters ---


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        ("openai", {"max_completion_tokens": 50, "seed": 7, "reasoning_effort": "low"}),
        ("xai", {"max_tokens": 50, "seed": 7, "reasoning_effort": "low"}),
        ("mistral", {"max_tokens": 50, "random_seed": 7, "reasoning_effort": "low"}),
        ("openrouter", {"max_tokens": 50, "seed": 7, "reasoning": {"effort": "low"}}),
        ("my-server", {"max_tokens": 50, "seed": 7, "reasoning_effort": "low"}),
        ("deepseek", {"max_tokens": 50, "thinking": {"type": "enabled"}, "reasoning_effort": "low"}),
    ],
)
def test_chat_speaks_each_providers_dialect(provider: str, expected: dict[str, Any]) -> None:
    """Limit, seed and effort go under the names that the provider wants."""
    sent = body(CHAT, provider, max_tokens=50, seed=7, reasoning_effort="low")
    assert {name: value for name, value in sent.items() if name not in ("model", "messages")} == expected


def test_sampling_and_stop_are_sent_as_given() -> None:
    """Every wire has its place for temperature, top_p and stop."""
    params = {"temperature": 0.5, "top_p": 0.9, "stop": ("END",)}
    chat = body(CHAT, **params)
    assert (chat["temperature"], chat["top_p"], chat["stop"]) == (0.5, 0.9, ["END"])
    gemini = body(GEMINI, "google", **params)["generationConfig"]
    assert (gemini["temperature"], gemini["topP"], gemini["stopSequences"]) == (0.5, 0.9, ["END"])
    anthropic = body(ANTHROPIC, "anthropic", temperature=0.5, stop=("END",))
    assert (anthropic["temperature"], anthropic["stop_sequences"]) == (0.5, ["END"])
    assert body(RESPONSES, temperature=0.5)["temperature"] == 0.5


def test_a_temperature_of_zero_is_sent() -> None:
    """0 is a value, not a missing one."""
    assert body(CHAT, temperature=0.0, seed=0)["temperature"] == 0.0
    assert body(CHAT, temperature=0.0, seed=0)["seed"] == 0


def test_catalog_overrides_the_dialect() -> None:
    """A model's own max-tokens and seed parameters win over its provider's."""
    sent = body(CHAT, "openai", {"max_tokens_param": "max_tokens", "seed_param": "rng"}, max_tokens=5, seed=7)
    assert (sent["max_tokens"], sent["rng"]) == (5, 7)
    without = build(CHAT, "openai", {"seed_param": None}, seed=7)
    assert without.left_out == ("seed",)


@pytest.mark.parametrize(
    ("wire", "provider", "api_config", "params", "left_out"),
    [
        (CHAT, "deepseek", {}, {"seed": 7}, ("seed",)),
        (CHAT, "deepseek", {}, {"temperature": 0.5}, ("temperature",)),
        (CHAT, "deepseek", {}, {"temperature": 0.5, "reasoning_effort": "none"}, ()),
        (CHAT, "openai", {"rejects": ["stop"]}, {"stop": ("x",), "seed": 1}, ("stop",)),
        (CHAT, "openai", {"learned_rejects": ["seed"]}, {"stop": ("x",), "seed": 1}, ("seed",)),
        (CHAT, "openai", {"sampling": False}, {"temperature": 1.0, "top_p": 0.5}, ("temperature", "top_p")),
        (CHAT, "openai", {"sampling": "without_reasoning"}, {"temperature": 1.0}, ("temperature",)),
        (
            CHAT,
            "openai",
            {"sampling": "without_reasoning", "default_reasoning_effort": "none"},
            {"temperature": 1.0},
            (),
        ),
        (
            CHAT,
            "openai",
            {"sampling": "without_reasoning", "default_reasoning_effort": "none"},
            {"temperature": 1.0, "reasoning_effort": "low"},
            ("temperature",),
        ),
        (CHAT, "openai", {"reasoning_efforts": []}, {"reasoning_effort": "low"}, ("reasoning_effort",)),
        (CHAT, "openai", {"reasoning_efforts": ["low"]}, {"reasoning_effort": "high"}, ("reasoning_effort",)),
        (CHAT, "openai", {"reasoning_efforts": ["low"]}, {"reasoning_effort": "low"}, ()),
        (CHAT, "openai", {"structured": None}, {"schema": CLOSED}, ("schema",)),
        (RESPONSES, "openai", {}, {"seed": 1, "stop": ("x",)}, ("seed", "stop")),
        (ANTHROPIC, "anthropic", {}, {"seed": 1}, ("seed",)),
        (ANTHROPIC, "anthropic", {}, {"temperature": 0.5, "top_p": 0.5}, ("top_p",)),
        (ANTHROPIC, "anthropic", {}, {"temperature": 0.5, "reasoning_effort": "low"}, ("temperature",)),
        (ANTHROPIC, "anthropic", {"anthropic_version": "2026-10-21"}, {"temperature": 0.5}, ("temperature",)),
        (ANTHROPIC, "anthropic", {"reasoning_style": "none"}, {"reasoning_effort": "low"}, ("reasoning_effort",)),
        (
            ANTHROPIC,
            "anthropic",
            {"reasoning_style": "budget"},
            {"reasoning_effort": "low", "max_tokens": 500},
            ("reasoning_effort",),
        ),
        (ANTHROPIC, "anthropic", {}, {"reasoning_effort": "minimal"}, ("reasoning_effort",)),
        (GEMINI, "google", {"reasoning_style": "level"}, {"reasoning_effort": "none"}, ("reasoning_effort",)),
        (GEMINI, "google", {"reasoning_style": "level"}, {"reasoning_effort": "max"}, ("reasoning_effort",)),
        (GEMINI, "google", {"reasoning_style": "budget"}, {"reasoning_effort": "odd"}, ("reasoning_effort",)),
    ],
)
def test_what_a_model_does_not_take_is_left_out_and_named(
    wire: str, provider: str, api_config: dict[str, Any], params: dict[str, Any], left_out: tuple[str, ...]
) -> None:
    """A parameter that the catalog or the format excludes is not sent, and the request says which; strict refuses."""
    request = build(wire, provider, api_config, **params)
    assert request.left_out == left_out
    sent = json.dumps(request.body)
    words = {"temperature": "temperature", "top_p": "top_p", "seed": "seed", "stop": '"stop', "schema": "schema"}
    assert not [name for name in left_out if words.get(name, "effort") in sent]
    if left_out:
        with pytest.raises(ValidationError, match=left_out[0]) as refusal:
            build(wire, provider, api_config, strict=True, **params)
        assert refusal.value.field == left_out[0]
    else:
        assert build(wire, provider, api_config, strict=True, **params).body == request.body


def test_a_refused_token_limit_is_sent_under_its_other_name() -> None:
    """A server without max_tokens gets max_completion_tokens: a request without a limit has no bound on its cost."""
    learned = {"learned_rejects": ["max_tokens"]}
    request = build(CHAT, "my-gateway", learned, max_tokens=50)
    assert request.left_out == ()
    assert request.body is not None
    assert (request.body["max_completion_tokens"], "max_tokens" in request.body) == (50, False)
    assert body(CHAT, "openai", learned, max_tokens=50)["max_tokens"] == 50
    assert body(ANTHROPIC, "anthropic", learned, max_tokens=50)["max_tokens"] == 50


def test_anthropic_limit_is_the_models_own_when_that_is_smaller() -> None:
    """Without max_tokens the request stays within what the model can give; a given limit is sent as it is."""
    small = Model(provider="anthropic", model_id="m", display_name="M", max_output_tokens=1_000)
    unknown = Model(provider="anthropic", model_id="m", display_name="M")
    limits = [
        WIRES[ANTHROPIC].build(Call(model=model, messages=(Message("user", "hi"),))).body["max_tokens"]  # type: ignore[index]
        for model in (small, unknown)
    ]
    assert limits == [1_000, 4_096]
    assert body(ANTHROPIC, "anthropic", max_tokens=77)["max_tokens"] == 77


def test_anthropic_effort_as_adaptive_thinking() -> None:
    """Current models take an effort; none turns thinking off."""
    sent = body(ANTHROPIC, "anthropic", reasoning_effort="high")
    assert (sent["thinking"], sent["output_config"]) == ({"type": "adaptive"}, {"effort": "high"})
    assert body(ANTHROPIC, "anthropic", reasoning_effort="none")["thinking"] == {"type": "disabled"}


@given(
    effort=st.sampled_from(["minimal", "low", "medium", "high", "xhigh", "max"]),
    limit=st.none() | st.integers(1, 100_000),
    most=st.none() | st.integers(1, 200_000),
)
def test_anthropic_thinking_budget_leaves_room_for_an_answer(effort: str, limit: int | None, most: int | None) -> None:
    """A budget is at least 1,024 and smaller than the limit; a limit that the caller gave is never raised."""
    model = Model(
        provider="anthropic",
        model_id="m",
        display_name="M",
        max_output_tokens=most,
        api_config={"reasoning_style": "budget"},
    )
    params = Params(reasoning_effort=effort, max_tokens=limit)
    request = WIRES[ANTHROPIC].build(Call(model=model, messages=(Message("user", "hi"),), params=params))
    assert request.body is not None
    if limit is not None:
        assert request.body["max_tokens"] == limit
    if most is not None and limit is None:
        assert request.body["max_tokens"] <= most
    if "thinking" in request.body:
        assert 1_024 <= request.body["thinking"]["budget_tokens"] < request.body["max_tokens"]
    else:
        assert request.left_out == ("reasoning_effort",)


def test_gemini_effort_as_level_or_budget() -> None:
    """Gemini 3 takes a level, Gemini 2.5 a budget."""
    level = body(GEMINI, "google", {"reasoning_style": "level"}, reasoning_effort="low")
    assert level["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "LOW"}
    budget = body(GEMINI, "google", {"reasoning_style": "budget"}, reasoning_effort="none")
    assert budget["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 0}


def test_extra_body_is_merged_deeply() -> None:
    """The caller's extra fields join the request without pushing out what is there."""
    sent = body(
        GEMINI, "google", max_tokens=5, extra_body={"generationConfig": {"topK": 3}, "safetySettings": [{"a": 1}]}
    )
    assert sent["generationConfig"] == {"maxOutputTokens": 5, "topK": 3}
    assert sent["safetySettings"] == [{"a": 1}]


PARAMS = st.builds(
    Params,
    temperature=st.none() | st.floats(0, 2),
    top_p=st.none() | st.floats(0, 1),
    max_tokens=st.none() | st.integers(1, 10_000),
    seed=st.none() | st.integers(0, 2**31),
    stop=st.lists(st.text(min_size=1), max_size=2).map(tuple),
    reasoning_effort=st.none() | st.sampled_from(["none", "low", "high"]),
    schema=st.none() | st.just(CLOSED),
)


@pytest.mark.parametrize("wire", WIRES)
@given(params=PARAMS, provider=st.sampled_from(["openai", "deepseek", "mistral", "anthropic", "google"]))
def test_every_request_is_json_and_says_all_that_it_left_out(wire: str, params: Params, provider: str) -> None:
    """Any mix of parameters gives a body that JSON can carry, and leaves out only what was asked for."""
    request = spoken(wire, provider).build(Call(**{**_fields(call(provider)), "params": params}))
    json.dumps(request.body, allow_nan=False)
    assert all(getattr(params, name) not in (None, ()) for name in request.left_out)


def _fields(made: Call) -> dict[str, Any]:
    return {"model": made.model, "messages": made.messages, "system": made.system}
