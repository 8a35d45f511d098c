"""Reads the many shapes of providers' error bodies into one record."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from llmkit.providers.wires import headers
from llmkit.providers.wires.values import dig, items, string
from llmkit.records import HttpResponse

_SIGN_KEYS = ("code", "type", "status", "reason", "error_code", "quotaId")
_FACTS = (*_SIGN_KEYS, "retryDelay")
_ANSWERS = {"choices", "candidates", "content", "output"}
_ECHOES = ("input", "ctx")  # may repeat the request
_JSON = re.compile(r"(?:\[\s*)?\{")
_QUOTE = "litellm."  # how LiteLLM's proxy begins what it was told by the provider behind a model
_LONGEST_MESSAGE = 4000  # characters examined; what a user sees is cut much shorter
_DEEPEST = 8
_DECODER = json.JSONDecoder()
_MOST_WORDS = 100  # sentences and signs examined
_NAMED: Mapping[int, str] = {
    402: "billing",
    403: "permission|(?:request_)?forbidden|the caller does not have permission .*",
    404: "not_found|some requested entity was not found",
    409: "conflict",
    413: "request_too_large",
}
"""Signs, without an ``_error`` at their end, that name a status; those of 5xx are rules, after more telling words."""
_WAIT = re.compile(  # "in 6m0.5s", "after 20 seconds", but nothing in "in 5 months"
    r"(?:try again|retry) (?:in|after) (\d+(?:\.\d+)?) ?((?:ms|s|m(?!il|on)|h)[\d.msh]*)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A failure as reported by the provider. ``status`` is the one in the body if HTTP's was 2xx.

    ``signs`` are its machine-readable words, in lower case; ``param`` is the parameter it names, by the provider's
    name; ``delay`` is the wait in seconds that it asks for. ``is_quoted``: a gateway reports what the provider behind
    one of its models has said.
    """

    status: int
    signs: frozenset[str] = frozenset()
    message: str = ""
    param: str = ""
    delay: float | None = None
    is_quoted: bool = False
    headers: Mapping[str, str]

    @property
    def words(self) -> str:
        """All of the provider's words in lower case, to search for phrases."""
        return "\n".join((self.message, *sorted(self.signs))).lower()


def read_problem(response: HttpResponse, body: Any, error: Any) -> Problem:
    """The problem reported in a response: in ``error`` if one was found, else in the body.

    ``body`` is the decoded JSON, or ``None`` if the body is not JSON; then its text is the message.
    """
    told = _opened(body if error is None else error)
    facts = [*islice(_facts(told), _MOST_WORDS)]
    signs = frozenset(sign for name, sign in facts if name in _SIGN_KEYS)
    message = _joined(told) or _joined(_opened(body)) or _plain_text(response, body)
    return Problem(
        status=_status(response.status, dig(error, "code"), signs),
        signs=signs,
        message=message[:_LONGEST_MESSAGE],
        param=string(dig(error, "param")) or _forbidden_field(error),
        delay=_delay(response, dict(facts).get("retryDelay", ""), message),
        is_quoted=message.startswith(_QUOTE),
        headers=response.headers,
    )


def error_in(body: Any) -> Any:
    """The error object (or text) of a body, or ``None`` without one.

    Known shapes: ``{"error": {...}}`` (OpenAI, Anthropic, Gemini, OpenRouter), the same in a list of one (Gemini),
    ``{"code": ..., "error": "text"}`` (xAI), ``{"object": "error", "message": ...}`` (Mistral),
    ``{"detail": ...}`` (FastAPI: Mistral's 422), ``{"message": ...}`` and a ``code`` (Mistral's 429).
    """
    if isinstance(body, list) and len(body) == 1:
        body = body[0]
    if not isinstance(body, dict):
        return None
    if error := body.get("error"):
        if isinstance(error, str):
            return body
        return {"code": body.get("code"), **error} if isinstance(error, dict) else {"message": str(error)}
    if _ANSWERS & body.keys():  # with a code and a message of success (MiniMax, SiliconFlow)
        return None
    flat = body.get("object") in ("error", "Error") or body.get("type") == "error" or body.get("detail") is not None
    return body if flat or (body.get("code") is not None and string(body.get("message"))) else None


def _opened(value: Any, depth: int = 0) -> Any:
    """The value with errors in JSON that its texts quote (OpenRouter's raw, LiteLLM's sentences) in their place."""
    if depth > _DEEPEST:
        return value
    if isinstance(value, dict):
        some = islice(value.items(), _MOST_WORDS)
        return {key: inner if key in _ECHOES else _opened(inner, depth + 1) for key, inner in some}
    if isinstance(value, list):
        return [_opened(inner, depth + 1) for inner in value[:_MOST_WORDS]]
    found = _JSON.search(value, 0, _LONGEST_MESSAGE) if isinstance(value, str) else None
    if found is None:
        return value
    try:
        inner, end = _DECODER.raw_decode(value, found.start())
    except (ValueError, RecursionError):
        return value
    around = [value[: found.start()].strip(), value[end:].strip()]
    if any(around) and error_in(inner) is None:
        return value
    return [around[0], _opened(inner, depth + 1), around[1]]


def _facts(value: Any, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Every machine-readable word in an error, at any depth, with its name; parts that may echo the request are
    skipped, and what OpenRouter was told, which has other providers for the next attempt.
    """
    if depth > _DEEPEST:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in _FACTS and isinstance(inner, str | int):
                yield key, string(inner)[:_LONGEST_MESSAGE].lower() if isinstance(inner, str) else str(inner)
            elif key not in (*_ECHOES, "raw"):
                yield from _facts(inner, depth + 1)
    for inner in items(value):
        yield from _facts(inner, depth + 1)


def _messages(value: Any, depth: int = 0) -> Iterator[str]:
    """The human-readable sentences of an error, outermost first."""
    if depth > _DEEPEST:
        return
    if isinstance(value, str):
        yield " ".join(string(value[:_LONGEST_MESSAGE]).split())
    elif isinstance(value, dict):
        for key in ("message", "msg", "error", "detail", "raw", "metadata"):
            yield from _messages(value.get(key), depth + 1)
    for inner in items(value):
        yield from _messages(inner, depth + 1)


def _joined(value: Any) -> str:
    # Mistral and OpenRouter repeat some sentences
    return " ".join(filter(None, dict.fromkeys(islice(_messages(value), _MOST_WORDS))))


def _plain_text(response: HttpResponse, body: Any) -> str:
    """A body that is not JSON as text; HTML without its tags."""
    if body is not None:
        return ""
    text = response.body[: 2 * _LONGEST_MESSAGE].decode("utf-8", "replace")
    return " ".join(re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL | re.IGNORECASE).split())


def _status(http_status: int, code: Any, signs: Iterable[str]) -> int:
    """The HTTP status, or, if that is 2xx, the one that the error has as its code (OpenRouter) or that a sign names."""
    if not 200 <= http_status < 300:
        return http_status
    number = int(code) if isinstance(code, str) and re.fullmatch("[0-9]{3}", code) else code
    if type(number) is int and 400 <= number < 600:
        return number
    told = [re.sub("[_ ]error$", "", sign) for sign in signs]
    named = (status for status, names in _NAMED.items() if any(re.fullmatch(names, each) for each in told))
    return next(named, http_status)


def _forbidden_field(error: Any) -> str:
    """The request field that a FastAPI error forbids (Mistral, vLLM), or ``""``."""
    for place in (error, dig(error, "message")):
        for entry in items(dig(place, "detail")):
            if dig(entry, "type") == "extra_forbidden":
                return ".".join(string(step) for step in items(dig(entry, "loc"))[1:])
    return ""


def _delay(response: HttpResponse, told: str, message: str) -> float | None:
    """The requested wait: from headers, else Gemini's RetryInfo (``told``), else words such as "try again in 5.2s".

    For a rate limit without any of these, the reset time of the exhausted limit, if shown.
    """
    asked = headers.retry_after(response)
    if asked is not None:
        return asked
    if told:
        return headers.seconds(told, response)
    words = _WAIT.search(message)
    if words:
        return headers.seconds("".join(words.groups()).rstrip("."), response)
    return headers.exhausted_reset(headers.rate_info(response)) if response.status == 429 else None
