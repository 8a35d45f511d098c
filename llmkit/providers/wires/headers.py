"""Reads response headers: how long to wait, what is left of the limits, the request's id."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

from llmkit.providers.wires.values import moment
from llmkit.records import HttpResponse, RateInfo

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)"
_DURATION = re.compile(rf"(?:{_PART})+")
_PARTS = re.compile(_PART)
_LONGEST_NUMBER = 15  # digits: more is an attack or a mistake
_EPOCH_SECONDS, _EPOCH_MILLISECONDS = 1e9, 1e12  # from here on a number is a moment: no server asks to wait 31 years


def seconds(text: str, response: HttpResponse) -> float | None:
    """A wait in seconds, told by a response as seconds (``1.5``), a Go duration (``6m0s``, ``12ms``), or a moment.

    A moment is an HTTP date, RFC 3339, or seconds or milliseconds since the epoch, by the clock of the server; one in
    the past means a wait of 0. Anything else is ``None``.
    """
    text = text.strip()
    number = _number(text)
    if number is not None:
        return _wait(number, response)
    if _DURATION.fullmatch(text):
        wait = sum(float(amount) * _UNITS[unit] for amount, unit in _PARTS.findall(text))
        return wait if math.isfinite(wait) else None
    at = _moment(text)
    return None if at is None else max(0.0, at.timestamp() - _now(response))


def retry_after(response: HttpResponse) -> float | None:
    """The wait in seconds requested by ``retry-after-ms`` or ``retry-after``, if any; LiteLLM passes on a provider's
    headers under longer names.
    """
    told = response.headers
    milliseconds = _number(told.get("retry-after-ms", ""))
    if milliseconds is not None:
        return _wait(milliseconds / 1000, response)
    return seconds(told.get("retry-after", told.get("llm_provider-retry-after", "")), response)


def exhausted_reset(info: RateInfo | None) -> float | None:
    """Seconds until the exhausted limit is reset; the later one if both requests and tokens are exhausted, or if what
    is left of them is not reported.
    """
    if info is None:
        return None
    pairs = ((info.requests_remaining, info.requests_reset), (info.tokens_remaining, info.tokens_reset))
    return max((reset for remaining, reset in pairs if not remaining and reset is not None), default=None)


def rate_info(response: HttpResponse) -> RateInfo | None:
    """The limits and what is left of them, or ``None`` if no header reports it.

    Supports the headers of OpenAI (also xAI, Groq, vLLM), Anthropic and Mistral. Mistral reports no reset. Anthropic's
    ``tokens`` headers describe its tightest token limit; ``input-tokens`` is used if they are missing.
    """
    if _EVERY_NAME.isdisjoint(response.headers):
        return None
    values: dict[str, Any] = {}
    for field, names in _NAMES.items():
        text = next((response.headers[name] for name in names if name in response.headers), "")
        if text and field.endswith("reset"):
            values[field] = seconds(text, response)
        elif (number := _number(text)) is not None:
            values[field] = int(number)
    return RateInfo(**values) if any(value is not None for value in values.values()) else None


def request_id(headers: Mapping[str, str]) -> str | None:
    """The provider's id of the request, to quote to its support."""
    return next((headers[name] for name in ("x-request-id", "request-id") if headers.get(name)), None)


_FORMS = {
    "requests": ("x-ratelimit-{}-requests", "anthropic-ratelimit-requests-{}", "x-ratelimit-{}-req-minute"),
    "tokens": (
        "x-ratelimit-{}-tokens", "anthropic-ratelimit-tokens-{}", "anthropic-ratelimit-input-tokens-{}",
        "x-ratelimit-{}-tokens-minute",
    ),
}  # fmt: skip
_NAMES = {
    f"{counted}_{what}": tuple(form.format(what) for form in forms)
    for counted, forms in _FORMS.items()
    for what in ("limit", "remaining", "reset")
}
_EVERY_NAME = frozenset(name for names in _NAMES.values() for name in names)


def _number(text: str) -> float | None:
    text = text.strip()
    if not re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII) or len(text) > _LONGEST_NUMBER:
        return None
    return float(text)


def _wait(number: float, response: HttpResponse) -> float:
    """The wait given by a number: seconds, or the time until a moment."""
    if number < _EPOCH_SECONDS:
        return number
    return max(0.0, (number / 1000 if number >= _EPOCH_MILLISECONDS else number) - _now(response))


def _now(response: HttpResponse) -> float:
    """When it came, by the server's own clock where it tells: this machine's may be hours off."""
    return (_moment(response.headers.get("date", "")) or response.received_at).timestamp()


@lru_cache(maxsize=64)  # most replies of a second tell the same
def _moment(text: str) -> datetime | None:
    try:
        at = moment(text) or parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
