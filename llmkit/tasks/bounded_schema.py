"""Check answers against untrusted schemas in bounded time: patterns and references might take forever."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar
from functools import cache
from typing import Any, cast

import jsonschema
import jsonschema.protocols
import jsonschema.validators
import regex

LONGEST = 0.5
"""CPU seconds allowed for the check of one answer; benign schemas take a thousandth."""

_until: ContextVar[float] = ContextVar("until")


@contextlib.contextmanager
def in_time() -> Iterator[None]:
    """Raise ``TimeoutError`` in checks within this block that take too long."""
    token = _until.set(time.thread_time() + LONGEST)
    try:
        yield
    finally:
        _until.reset(token)


@cache
def validator_class() -> type[jsonschema.protocols.Validator]:
    """The JSON Schema 2020-12 validator, with a time limit on patterns and references."""
    rules = {
        "$ref": _reference("$ref"),
        "$dynamicRef": _reference("$dynamicRef"),
        "pattern": _pattern,
    }
    extend: Any = jsonschema.validators.extend
    return cast("type[jsonschema.protocols.Validator]", extend(jsonschema.Draft202012Validator, rules))


def _time_left() -> float:
    left = _until.get() - time.thread_time()
    if left <= 0:
        raise TimeoutError
    return left


def _reference(keyword: str) -> Any:
    usual = jsonschema.Draft202012Validator.VALIDATORS[keyword]

    def follow(validator: Any, target: Any, instance: Any, schema: Any) -> Any:
        _time_left()
        return usual(validator, target, instance, schema)

    return follow


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    if isinstance(instance, str) and regex.search(pattern, instance, timeout=_time_left()) is None:
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")
