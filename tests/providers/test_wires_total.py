"""Whatever a server sends, every wire answers with a Completion or a Failure and never raises."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_requests import spoken

from llmkit.providers.wires import WIRES, parse_models, rate_info
from llmkit.records import Call, Completion, Failure, HttpResponse, Message, Model, RateInfo, RemoteModel

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
PROVIDERS = ("openai", "xai", "deepseek", "mistral", "openrouter", "anthropic", "google", "custom")

# The words that parsers look for, so that arbitrary JSON reaches the places where they read.
WORDS = """
choices message content text type finish_reason error code status details retryDelay violations quotaId usage
prompt_tokens completion_tokens total_tokens prompt_tokens_details cached_tokens cost cost_in_usd_ticks output
input_tokens output_tokens cache_read_input_tokens cache_creation ephemeral_1h_input_tokens iterations refusal
candidates parts thought promptFeedback blockReason usageMetadata promptTokenCount candidatesTokenCount detail
loc thoughtsTokenCount totalTokenCount incomplete_details reason model id data models name pricing prompt param
raw supportedGenerationMethods architecture output_modalities capabilities shutdown_date retires_at metadata
"""
KEYS = st.sampled_from(WORDS.split()) | st.text(max_size=5)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(
        ("stop", "length", "error", "refusal", "failed", "completed", "incomplete", "text", "message", "output_text")
    )
    | st.sampled_from(
        ("429", "99999999999999s", "1e999", "9" * 30, "\ud800", "extra_forbidden", "1970-01-01", '{"error": ')
    )
)
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=40
)
HEADERS = st.dictionaries(
    st.sampled_from(
        (
            "retry-after",
            "retry-after-ms",
            "x-request-id",
            "x-should-retry",
            "x-ratelimit-reset-tokens",
            "x-ratelimit-remaining-requests",
            "x-ratelimit-limit-req-minute",
            "anthropic-ratelimit-tokens-reset",
        )
    ),
    st.text(max_size=10)
    | st.sampled_from(["0", "-1", "nan", "inf", "1e400", "9" * 400, "6m0s", "Mon, 99 Nov 2026 99:99:99 GMT", "٣"]),
)
STATUSES = st.sampled_from([200, 200, 200, 201, 204, 301, 400, 401, 402, 404, 422, 429, 500, 503, 529]) | st.integers()


def write(value: Any) -> bytes:
    """JSON as a hostile server may write it: NaN and lone surrogates included."""
    return json.dumps(value).encode("utf-8", "surrogatepass")


def check(name: str, provider: str, response: HttpResponse) -> None:
    """Every function of the wire that reads a response gives what it promises, in a form that can be stored."""
    wire = spoken(name, provider)
    model = Model(provider=provider, model_id="m", display_name="m")
    outcome = wire.parse(Call(model=model, messages=(Message("user", "hi"),)), response)
    assert isinstance(outcome, Completion | Failure)
    if isinstance(outcome, Completion):
        assert outcome.text.strip()
        outcome.text.encode()
    else:
        outcome.message.encode()
        assert outcome.retry_after is None or 0 <= outcome.retry_after < float("inf")
    if outcome.usage is not None:
        usage = outcome.usage
        assert usage.reported_cost or usage.total_tokens is not None
        assert 0 <= usage.cached_input_tokens + usage.cache_write_tokens <= (usage.input_tokens or 0)
        assert 0 <= usage.cache_write_1h_tokens <= usage.cache_write_tokens
        assert 0 <= usage.reasoning_tokens <= (usage.output_tokens or 0)
        json.dumps(usage.to_row())
    assert isinstance(rate_info(response), RateInfo | None)
    listed = parse_models(response)
    assert isinstance(listed, Failure) or all(isinstance(model, RemoteModel) for model in listed)


@pytest.mark.parametrize("name", WIRES)
@given(body=JSON, status=STATUSES, headers=HEADERS, provider=st.sampled_from(PROVIDERS))
@settings(max_examples=150)
def test_any_json_gives_a_reply_or_a_failure(
    name: str, body: Any, status: int, headers: dict[str, str], provider: str
) -> None:
    """Arbitrary JSON under arbitrary status and headers never raises."""
    check(name, provider, HttpResponse(status=status, headers=headers, body=write(body), received_at=NOW))


@pytest.mark.parametrize("name", WIRES)
@given(body=st.binary(max_size=200), status=STATUSES, headers=HEADERS, provider=st.sampled_from(PROVIDERS))
@settings(max_examples=100)
def test_any_bytes_give_a_reply_or_a_failure(
    name: str, body: bytes, status: int, headers: dict[str, str], provider: str
) -> None:
    """Arbitrary bytes under arbitrary status and headers never raise."""
    check(name, provider, HttpResponse(status=status, headers=headers, body=body, received_at=NOW))


def shapes(name: str, text: Any, number: Any) -> Any:
    """An answer of the wire's own shape with arbitrary values in the places that are read."""
    return {
        "openai_chat": {
            "choices": [{"message": {"content": text, "refusal": None}, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": number,
                "completion_tokens": number,
                "prompt_tokens_details": {"cached_tokens": number},
                "cost": number,
                "cost_in_usd_ticks": number,
            },
        },
        "openai_responses": {
            "status": "completed",
            "output": [{"type": "message", "content": [{"type": "output_text", "text": text}]}],
            "usage": {"input_tokens": number, "output_tokens": number},
        },
        "anthropic_messages": {
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": number, "output_tokens": number, "cache_read_input_tokens": number},
        },
        "gemini": {
            "candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": number, "candidatesTokenCount": number},
        },
    }[name]


@pytest.mark.parametrize("name", WIRES)
@given(text=JSON, number=JSON | st.integers() | st.floats(), provider=st.sampled_from(PROVIDERS))
@settings(max_examples=100)
def test_nonsense_in_the_right_places_gives_a_reply_or_a_failure(
    name: str, text: Any, number: Any, provider: str
) -> None:
    """Texts that are no texts and counts that are no counts never raise, and never become a usage."""
    body = write(shapes(name, text, number))
    check(name, provider, HttpResponse(status=200, headers={}, body=body, received_at=NOW))


@pytest.mark.parametrize("name", WIRES)
@pytest.mark.parametrize("number", [-1, "7", 7.5, True, None, float("nan"), float("inf"), 10**40, [7], {"n": 7}])
def test_senseless_token_counts_leave_the_usage_unknown(name: str, number: Any) -> None:
    """An answer whose counts make no sense is still an answer; what it cost is unknown, not 0."""
    model = Model(provider="custom", model_id="m", display_name="m")
    response = HttpResponse(status=200, headers={}, body=write(shapes(name, "Yes.", number)), received_at=NOW)
    outcome = WIRES[name].parse(Call(model=model, messages=()), response)
    assert isinstance(outcome, Completion)
    assert outcome.text == "Yes."
    assert outcome.usage is None


@pytest.mark.parametrize("name", WIRES)
@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b"9" * 10_000, b'{"usage":' * 5_000, b"\xff\xfe", b"\xef\xbb\xbf{}", b"1e999999999"]
)
def test_monstrous_bodies_are_failures(name: str, body: bytes) -> None:
    """Deep nesting, endless numbers and wrong encodings are failures like any other."""
    check(name, "custom", HttpResponse(status=200, headers={}, body=body, received_at=NOW))


@pytest.mark.parametrize("cost", ["1e-999999999", "0e-999999999", "1e999999999", "-1", "NaN", '"much"', "true", "[]"])
def test_monstrous_costs_stay_small(cost: str) -> None:
    """A reported cost is unknown or a handful of digits, whatever the provider writes."""
    body = b'{"choices":[{"message":{"content":"Yes."}}],"usage":{"prompt_tokens":1,"completion_tokens":1,"cost":%s}}'
    model = Model(provider="openrouter", model_id="m", display_name="m")
    response = HttpResponse(status=200, headers={}, body=body % cost.encode(), received_at=NOW)
    outcome = spoken("openai_chat", "openrouter").parse(Call(model=model, messages=()), response)
    assert isinstance(outcome, Completion)
    assert outcome.usage is not None
    assert outcome.usage.reported_cost in (None, 0)
    assert len(str(outcome.usage.to_row()["reported_cost"])) < 30
