"""Common parts of reading the providers' lists of models."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from llmkit.providers.wires.answer import Answer, body_or_failure, defective
from llmkit.providers.wires.failure_rules import NO_ANSWER
from llmkit.providers.wires.values import count, dig, items, moment
from llmkit.records import Failure, HttpResponse, RemoteModel


def parse_list(
    response: HttpResponse, key: str, read: Callable[[Any], RemoteModel | None]
) -> list[RemoteModel] | Failure:
    """The entries under ``key`` (or of a bare list) as returned by ``read``, without those for which it is ``None``."""
    body, failure = body_or_failure(response)
    if failure is not None:
        return failure
    entries = body if isinstance(body, list) else dig(body, key)
    if not isinstance(entries, list):
        return defective(response, Answer(), NO_ANSWER)
    return [model for entry in items(entries) if (model := read(entry)) is not None]


def first_count(entry: Any, *names: str) -> int | None:
    """The first of the named values that is a plausible count above 0."""
    return next((value for name in names if (value := count(dig(entry, name)))), None)


def first_day(entry: Any, *names: str) -> date | None:
    """The first of the named values that is a date."""
    return next((at.date() for name in names if (at := moment(dig(entry, name))) is not None), None)
