"""Structured answers: the JSON schema of a request, and the check of the answer.

Schemas are untrusted, and their patterns and references might take forever: an answer is checked in bounded time.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from llmkit.errors import ValidationError
from llmkit.records.checks import texts
from llmkit.records.checks.json_text import parse_json
from llmkit.records.later import Later

if TYPE_CHECKING:
    import jsonschema
    import pydantic
    import referencing.exceptions
    import regex
    from referencing import jsonschema as referenced
else:  # imported only when a schema is used: with JupyterLab's extras jsonschema takes a second
    jsonschema, pydantic, regex = Later("jsonschema"), Later("pydantic"), Later("regex")
    referencing, referenced = Later("referencing"), Later("referencing.jsonschema")

Schema: TypeAlias = Mapping[str, Any] | type[Any]
"""A JSON schema, or the class of a pydantic model, of which only the JSON schema is used, not its Python validators."""

LONGEST = 0.5
"""CPU seconds allowed for the check of one answer; benign schemas take a thousandth."""

_until: ContextVar[float] = ContextVar("until")


def json_schema(schema: Schema | None) -> dict[str, Any] | None:
    """The JSON schema of an answer; ``None`` for free text."""
    if schema is None:
        return None
    if isinstance(schema, type) and issubclass(schema, pydantic.BaseModel):
        checked: dict[str, Any] = schema.model_json_schema()
    elif isinstance(schema, Mapping):
        checked = texts.json_value(dict(schema), "schema")
    else:
        raise ValidationError("schema must be a JSON schema (a dict) or a pydantic model class.", field="schema")
    try:
        jsonschema.Draft202012Validator.check_schema(checked)
        _refuse_dangling(checked)
        checked = _rooted(checked)
        _try_out(checked)
    except jsonschema.SchemaError as error:
        raise ValidationError(f"schema is not a valid JSON schema: {error.message}", field="schema") from None
    except RecursionError:
        raise ValidationError("schema nests too deeply, or refers to itself without end.", field="schema") from None
    if checked.get("type") != "object":
        raise ValidationError("schema must describe an object (type: object) at its top.", field="schema")
    return checked


def _try_out(schema: Mapping[str, Any]) -> None:
    """Refuse an unusable schema now, before any answer is paid for."""
    if any(key == "patternProperties" for key, _ in _items(schema)):
        raise ValidationError("schema has patternProperties: name the fields of an answer instead.", field="schema")
    try:
        for key, pattern in _items(schema):
            if key == "pattern" and isinstance(pattern, str):
                regex.compile(pattern)
        answer_check(schema)("{}")
    except regex.error as error:
        raise ValidationError(f"schema has an invalid regular expression: {error}", field="schema") from None
    except Unchecked as error:
        raise ValidationError(f"schema cannot be used: {error}", field="schema") from None
    except ValueError:  # an empty answer need not match
        pass


def answer_check(schema: Mapping[str, Any]) -> Callable[[str], dict[str, Any]]:
    """Return a function from an answer's text to its object, which raises ``ValueError`` with a sentence on failure."""
    validator = _validator_class()(schema, registry=referencing.Registry(), format_checker=_formats())

    def check(text: str) -> dict[str, Any]:
        try:
            answer = parse_json(text)
            with _in_time():
                problem = next(validator.iter_errors(answer), None)
        except (RecursionError, ArithmeticError):
            raise Unchecked("The answer cannot be checked: it nests too deeply, or has too large a number.") from None
        except TimeoutError:
            raise Unchecked("The answer cannot be checked: its patterns or references take too long.") from None
        if problem is not None:
            where = ".".join(str(part) for part in problem.absolute_path) or "the answer"
            raise ValueError(f"The answer does not match the schema at {where}: {texts.short(problem.message, 200)}")
        return dict(answer)

    return check


class Unchecked(ValueError):
    """It cannot be determined whether an answer matches its schema."""


@contextlib.contextmanager
def _in_time() -> Iterator[None]:
    """Raise ``TimeoutError`` in checks within this block that take too long."""
    token = _until.set(time.thread_time() + LONGEST)
    try:
        yield
    finally:
        _until.reset(token)


def _time_left() -> float:
    left = _until.get() - time.thread_time()
    if left <= 0:
        raise TimeoutError
    return left


@cache
def _validator_class() -> Any:
    """The JSON Schema 2020-12 validator, with a time limit on patterns and references."""
    rules = {"$ref": _reference("$ref"), "$dynamicRef": _reference("$dynamicRef"), "pattern": _pattern}
    extend: Any = jsonschema.validators.extend
    return extend(jsonschema.Draft202012Validator, rules)


def _reference(keyword: str) -> Any:
    usual = jsonschema.Draft202012Validator.VALIDATORS[keyword]

    def follow(validator: Any, target: Any, instance: Any, schema: Any) -> Any:
        _time_left()
        return usual(validator, target, instance, schema)

    return follow


def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[jsonschema.ValidationError]:
    if isinstance(instance, str) and regex.search(pattern, instance, timeout=_time_left()) is None:
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


@cache
def _formats() -> jsonschema.FormatChecker:
    """Formats that need no packages besides jsonschema, so that answers are judged alike on every machine."""
    checker = jsonschema.FormatChecker(formats=("date", "email", "ipv4", "ipv6", "uuid"))
    checker.checks("date-time", raises=ValueError)(lambda value: not isinstance(value, str) or _moment(value))
    return checker


def _refuse_dangling(schema: Mapping[str, Any]) -> None:
    """Refuse references to anything outside the schema: nothing is fetched to check an answer."""
    resource = referenced.DRAFT202012.create_resource(schema)
    resolver = referencing.Registry().with_resource("", resource).resolver()
    for reference in _references(schema):
        try:
            resolver.lookup(reference)
        except referencing.exceptions.Unresolvable:
            raise ValidationError(
                f"schema refers to {reference!r}, which is not in it: put the definition under $defs.", field="schema"
            ) from None


def _references(schema: Any) -> Iterator[str]:
    return (value for key, value in _items(schema) if key in ("$ref", "$dynamicRef") and isinstance(value, str))


def _items(node: Any) -> Iterator[tuple[str, Any]]:
    """All keys of a schema with their values, at any depth."""
    for key, inner in node.items() if isinstance(node, Mapping) else ():
        yield key, inner
        yield from _items(inner)
    for inner in node if isinstance(node, list | tuple) else ():
        yield from _items(inner)


def _rooted(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with an object at its top; that of a recursive pydantic model starts with a reference."""
    prefix, reference = "#/$defs/", schema.get("$ref")
    if isinstance(reference, str) and reference.startswith(prefix):
        return {**schema["$defs"][reference.removeprefix(prefix)], "$defs": schema["$defs"]}
    return schema


def _moment(text: str) -> bool:
    return bool(datetime.fromisoformat(text))
