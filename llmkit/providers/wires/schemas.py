"""JSON schemas for structured answers: whether OpenAI's strict mode accepts them, and how to ask for them in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llmkit.records.checks.json_text import plain

# Keywords that OpenAI's strict mode does not support (its guide on structured outputs).
_BEYOND_STRICT = frozenset(
    {
        "allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "patternProperties",
        "unevaluatedProperties", "propertyNames", "minProperties", "maxProperties", "contains", "prefixItems",
    }
)  # fmt: skip
_NAMED = ("properties", "$defs", "definitions")


def json_schema_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Name, schema and strictness as OpenAI-compatible APIs expect them; the schema itself is never changed."""
    return {"name": "answer", "schema": plain(schema), "strict": fits_strict(schema)}


def fits_strict(schema: Any) -> bool:
    """Whether OpenAI's strict mode accepts the schema: the root is an object, no extra or optional properties."""
    return isinstance(schema, Mapping) and schema.get("type") == "object" and "anyOf" not in schema and _closed(schema)


def asks_for_json(schema: Mapping[str, Any]) -> str:
    """An instruction for models that support JSON but no schema; it must contain the word JSON (DeepSeek)."""
    return f"Answer only with JSON that matches this JSON schema:\n{json.dumps(plain(schema), ensure_ascii=False)}"


def _closed(node: Any) -> bool:
    if isinstance(node, list | tuple):
        return all(_closed(inner) for inner in node)
    if not isinstance(node, Mapping):
        return True
    if _BEYOND_STRICT & node.keys():
        return False
    types = node.get("type")
    is_object = types == "object" or (isinstance(types, list | tuple) and "object" in types)
    properties = node.get("properties")
    names = set(properties) if isinstance(properties, Mapping) else set()
    if is_object and (node.get("additionalProperties") is not False or set(node.get("required") or ()) != names):
        return False
    named = [inner for key in _NAMED if isinstance(node.get(key), Mapping) for inner in node[key].values()]
    return all(_closed(inner) for inner in (*named, node.get("items"), node.get("anyOf")))
