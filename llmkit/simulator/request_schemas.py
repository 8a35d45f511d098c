"""JSON schemas in requests: their validity, and Google's older dialect."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any


def is_schema(value: Any) -> bool:
    """Whether a value is a valid JSON schema in the form of an object."""
    return isinstance(value, Mapping) and _is_valid(json.dumps(value, sort_keys=True, default=str))


def modern(schema: Any) -> Any:
    """Convert a schema of Gemini's ``responseSchema``, with types in capitals and ``nullable``, to a JSON schema."""
    if isinstance(schema, list):
        return [modern(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    fields = {key: modern(value) for key, value in schema.items() if key not in ("nullable", "propertyOrdering")}
    kind = schema.get("type")
    return fields | {"type": kind.lower()} if isinstance(kind, str) else fields


# cached: every request of a run has one of a few schemas, and checking one takes longer than answering
@lru_cache(maxsize=256)
def _is_valid(text: str) -> bool:
    # lazy, for start-up time: most simulators never give structured answers
    from jsonschema import Draft202012Validator, SchemaError

    try:
        Draft202012Validator.check_schema(json.loads(text))
    except SchemaError:
        return False
    return True
