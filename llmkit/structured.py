"""Structured answers: a JSON schema to ask with, and the check of what comes back. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import jsonschema
from pydantic import BaseModel

from llmkit.errors import ValidationError

Schema = Mapping[str, Any] | type[BaseModel]
"""A JSON schema, or a pydantic model."""

_FENCE = re.compile(r"^```[a-zA-Z]*\s*\n(.*)\n```$", re.DOTALL)


def json_schema(schema: Schema | None) -> dict[str, Any] | None:
    """The JSON schema of an answer; ``None`` for free text.

    Raises:
        ValidationError: not a schema, or not one of an object.
    """
    if schema is None:
        return None
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        found: dict[str, Any] = schema.model_json_schema()
    elif isinstance(schema, Mapping):
        found = dict(schema)
    else:
        raise ValidationError("schema must be a JSON schema (a dict) or a pydantic model class.", field="schema")
    try:
        jsonschema.Draft202012Validator.check_schema(found)
    except jsonschema.SchemaError as error:
        raise ValidationError(f"schema is not a valid JSON schema: {error.message}", field="schema") from None
    if found.get("type") != "object":
        raise ValidationError("schema must describe an object (type: object) at its top.", field="schema")
    return found


def answer_check(schema: Mapping[str, Any]) -> Callable[[str], dict[str, Any]]:
    """A function from an answer's text to its object; it raises ``ValueError`` with a sentence when that fails."""
    validator = jsonschema.Draft202012Validator(schema)

    def check(text: str) -> dict[str, Any]:
        answer = _parsed(text)
        problem = next(validator.iter_errors(answer), None)
        if problem is not None:
            where = ".".join(str(part) for part in problem.absolute_path) or "the answer"
            raise ValueError(f"The answer does not match the schema at {where}: {_short(problem.message)}")
        return dict(answer)

    return check


def _parsed(text: str) -> Any:
    stripped = text.strip()
    if (fenced := _FENCE.match(stripped)) is not None:  # models like to wrap JSON in a Markdown fence
        stripped = fenced[1]
    try:
        return json.loads(stripped)
    except ValueError:
        raise ValueError("The answer is not JSON, though a schema asked for it.") from None


def _short(text: str) -> str:
    return text if len(text) <= 200 else text[:199] + "…"
