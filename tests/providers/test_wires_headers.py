"""Waits and limits as response headers tell them."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.providers.wires.headers import rate_info, request_id, retry_after, seconds
from llmkit.records import HttpResponse, RateInfo

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def response(headers: dict[str, str]) -> HttpResponse:
    """A response with these headers."""
    return HttpResponse(status=200, headers=headers, body=b"{}", received_at=NOW)


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ("0", 0.0),
        ("2", 2.0),
        ("1.5", 1.5),
        ("12ms", 0.012),
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("2m59.56s", 179.56),
        ("1h2m3s", 3723.0),
        ("45.837906927s", 45.837906927),
        ("2026-11-23T12:00:41Z", 41.0),
        ("Mon, 23 Nov 2026 12:01:00 GMT", 60.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("2026-11-23T13:00:30+01:00", 30.0),
        ("1795435241", 41.0),
        ("1795435241000", 41.0),
        ("1795435000", 0.0),
        ("999999999999999", pytest.approx(998e9, rel=0.01)),
        ("soon", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("1e9", None),
        ("", None),
        ("٣", None),
        ("9" * 400, None),
    ],
)
def test_waits_are_read_in_every_notation(text: str, wait: float | None) -> None:
    """Seconds, Go durations, HTTP dates and RFC 3339 give seconds; nonsense gives nothing."""
    assert seconds(text, response({})) == (None if wait is None else pytest.approx(wait))


@given(st.integers(0, 100_000))
def test_an_http_date_is_the_wait_until_then(wait: int) -> None:
    """A Retry-After date is as far away as it says."""
    when = datetime.fromtimestamp(NOW.timestamp() + wait, UTC)
    assert retry_after(response({"retry-after": format_datetime(when, usegmt=True)})) == wait


@given(st.text(max_size=30))
def test_any_text_gives_a_finite_wait_or_none(text: str) -> None:
    """No header value raises, and no wait is negative or endless."""
    wait = seconds(text, response({}))
    assert wait is None or 0 <= wait < float("inf")


@pytest.mark.parametrize("moment", ["Mon, 23 Nov 2026 15:00:41 GMT", "2026-11-23T15:00:41Z", "1795446041"])
@pytest.mark.parametrize(("date", "wait"), [("Mon, 23 Nov 2026 15:00:00 GMT", 41.0), ("just now", 10_841.0)])
def test_a_moment_is_by_the_clock_of_the_server(moment: str, date: str, wait: float) -> None:
    """Where it tells the time: the clock of whichever machine has sent the request may be hours off."""
    assert retry_after(response({"retry-after": moment, "date": date})) == wait


def test_milliseconds_are_more_exact_than_seconds() -> None:
    """OpenAI sends both; the finer one counts."""
    assert retry_after(response({"retry-after-ms": "742", "retry-after": "1"})) == pytest.approx(0.742)
    assert retry_after(response({})) is None


def test_openai_headers_tell_what_is_left() -> None:
    """Requests and tokens with resets as Go durations."""
    headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    assert rate_info(response(headers)) == RateInfo(
        requests_limit=60,
        requests_remaining=59,
        requests_reset=1.0,
        tokens_limit=150_000,
        tokens_remaining=149_984,
        tokens_reset=360.0,
    )


def test_anthropic_headers_tell_what_is_left() -> None:
    """Resets are moments; the tokens headers describe the tightest limit."""
    headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": "2026-11-23T12:00:01Z",
        "anthropic-ratelimit-tokens-limit": "48000",
        "anthropic-ratelimit-tokens-remaining": "47000",
        "anthropic-ratelimit-tokens-reset": "2026-11-23T12:01:00Z",
        "anthropic-ratelimit-input-tokens-limit": "40000",
    }
    assert rate_info(response(headers)) == RateInfo(
        requests_limit=50,
        requests_remaining=49,
        requests_reset=1.0,
        tokens_limit=48_000,
        tokens_remaining=47_000,
        tokens_reset=60.0,
    )


def test_anthropic_input_tokens_stand_in_for_tokens() -> None:
    """Where the combined headers are missing, the input tokens are the limit."""
    info = rate_info(response({"anthropic-ratelimit-input-tokens-remaining": "7"}))
    assert info == RateInfo(tokens_remaining=7)


def test_mistral_headers_tell_what_is_left() -> None:
    """Mistral has names of its own, and no resets."""
    headers = {
        "x-ratelimit-limit-req-minute": "30",
        "x-ratelimit-remaining-req-minute": "29",
        "x-ratelimit-limit-tokens-minute": "500000",
        "x-ratelimit-remaining-tokens-minute": "499000",
    }
    assert rate_info(response(headers)) == RateInfo(
        requests_limit=30, requests_remaining=29, tokens_limit=500_000, tokens_remaining=499_000
    )


def test_headers_without_limits_tell_nothing() -> None:
    """No limit headers, or only nonsense in them, give no information."""
    assert rate_info(response({"content-type": "application/json"})) is None
    assert rate_info(response({"x-ratelimit-remaining-requests": "many"})) is None


def test_request_ids_have_two_names() -> None:
    """OpenAI and Anthropic name the header differently."""
    assert request_id({"x-request-id": "a"}) == "a"
    assert request_id({"request-id": "b"}) == "b"
    assert request_id({}) is None
