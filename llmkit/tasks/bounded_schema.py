"""Check answers against untrusted schemas in bounded time: patterns and references might take forever."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
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
        "patternProperties": _pattern_properties,
        "additionalProperties": _additional_properties,
    }
    extend: Any = jsonschema.validators.extend
    return cast("type[jsonschema.protocols.Validator]", extend(jsonschema.Draft202012Validator, rules))


def _time_left() -> float:
    left = _until.get() - time.thread_time()
    if left <= 0:
        raise TimeoutError
    return left


def _matches(pattern: str, text: str) -> bool:
    return regex.search(pattern, text, timeout=_time_left()) is not None


def _reference(keyword: str) -> Any:
    usual = jsonschema.Draft202012Validator.VALIDATORS[keyword]

    def follow(validator: Any, target: Any, instance: Any, schema: Any) -> Any:
        _time_left()
        return usual(validator, target, instance, schema)

    return follow


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    if isinstance(instance, str) and not _matches(pattern, instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Mapping[str, Any], instance: Any, schema: Any) -> Iterator[Any]:
    for pattern, inner in patterns.items() if isinstance(instance, dict) else ():
        for name, value in instance.items():
            if _matches(pattern, name):
                yield from validator.descend(value, inner, path=name, schema_path=pattern)


def _additional_properties(validator: Any, rule: Any, instance: Any, schema: Mapping[str, Any]) -> Any:
    """Remove the properties that match patterns, and apply the usual rule to the rest."""
    if isinstance(instance, dict) and (patterns := schema.get("patternProperties")):
        instance = {k: v for k, v in instance.items() if not any(_matches(each, k) for each in patterns)}
        schema = {name: value for name, value in schema.items() if name != "patternProperties"}
    return jsonschema.Draft202012Validator.VALIDATORS["additionalProperties"](validator, rule, instance, schema)
