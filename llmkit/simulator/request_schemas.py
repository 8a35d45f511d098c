"""JSON schemas as they arrive in requests: whether they are any, and Google's older dialect of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any


def is_schema(value: Any) -> bool:
    """Whether a value is a valid JSON schema that describes something."""
    return isinstance(value, Mapping) and _is_valid(json.dumps(value, sort_keys=True, default=str))


def modern(schema: Any) -> Any:
    """A schema of Gemini's ``responseSchema`` as a JSON schema: its types are in capitals, null is ``nullable``."""
    if isinstance(schema, list):
        return [modern(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    fields = {key: modern(value) for key, value in schema.items() if key not in ("nullable", "propertyOrdering")}
    kind = schema.get("type")
    return fields | {"type": kind.lower()} if isinstance(kind, str) else fields


# The same few schemas come with every request of a run, and checking one takes longer than answering.
@lru_cache(maxsize=256)
def _is_valid(text: str) -> bool:
    # Lazy, for start-up time: most simulators are never asked for structured answers.
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(json.loads(text))
    except SchemaError:
        return False
    return True
