"""JSON schemas in requests, and values that match them and look like answers."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from random import Random
from typing import Any, cast

from llmkit.simulator.vocabulary import QUESTIONS, SENTENCES, sentence, topics

_USUAL_LENGTH = 3
_MOST_ASKED = 500
_TRIES = 20  # to find a value that is not used yet
_LONGEST = 10_000  # entries or characters: a schema must not be able to fill the memory
_DEEPEST = 12  # where recursive schemas are cut off
_COUNTED = r"scenario|question|item|entr|example|idea|prompt|row|answer|case"
_COUNT = re.compile(rf"\b(\d{{1,3}})\b(?=[^.\n]{{0,60}}\b(?:{_COUNTED}))", re.I)
_ANY_COUNT = re.compile(r"\b(?:exactly|list|give|write|make|propose|generate|of)\s+(\d{1,3})\b", re.I)
# The usual ways to number texts, the clearest first: <answer id="7">, a line "id=7: ...", {"id": 7}. Only the first
# kind that occurs counts, because the texts themselves may contain the others.
_IDS = (
    re.compile(r"""<[\w-]+\s[^<>\n]*?\bid=["']?([\w.:/#-]+)[^<>\n]*>"""),
    re.compile(r"^\s*(?:\w+_)?id\s*[:=]\s*([\w-]+)[:.)]?\s*", re.I | re.M),
    re.compile(r"""["'](?:\w+_)?id["']\s*:\s*["']?([\w.:/#-]+)""", re.I),
)
_IS_ID = re.compile(r"(^|_)id$")
_SUGGESTIVE = {"object": ("properties", "required"), "array": ("items", "prefixItems")}


def is_schema(value: Any) -> bool:
    """Whether a value is a valid JSON schema in the form of an object."""
    return isinstance(value, Mapping) and _is_valid(json.dumps(value, sort_keys=True, default=str))


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


def structured(schema: Mapping[str, Any], prompt: str, rng: Random, fault: str | None = None) -> Any:
    """A value that validates against the schema, or one that the faults ``too_few`` or ``duplicates`` have spoiled.

    Lists have as many entries as the prompt asks for, within the schema's bounds, and no duplicates. To rehearse the
    coding of texts, ids are taken from the prompt (``"id": "7"``) and quotes from the text that follows them. Not
    supported: ``pattern``, ``if``, ``not``, ``patternProperties``.
    """
    return _Maker(schema, prompt, rng, fault).value(schema, "", 0, None)


def schema_in(text: str) -> Mapping[str, Any] | None:
    """The JSON schema in a text, for models that get their schema in the prompt."""
    decoder = json.JSONDecoder()
    for brace in re.finditer(r"\{", text):
        try:
            value, _ = decoder.raw_decode(text, brace.start())
        except ValueError:
            continue
        looks_right = isinstance(value, dict) and ("properties" in value or value.get("type") in ("object", "array"))
        if looks_right and is_schema(value):
            return cast(Mapping[str, Any], value)
    return None


class _Maker:
    """Walks a schema. ``place`` is the index of the entry of the outermost list."""

    def __init__(self, root: Mapping[str, Any], prompt: str, rng: Random, fault: str | None) -> None:
        self._root, self._prompt, self._rng, self._fault = root, prompt, rng, fault
        self._topics = topics(prompt)
        self._numbered = dict[int | None, tuple[str, str]](enumerate(_numbered_texts(prompt)))
        self._used: set[str] = set()

    def value(self, schema: Any, name: str, depth: int, place: int | None) -> Any:
        schema = self._resolved(schema, depth)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._rng.choice(schema["enum"])
        kind = _kind(schema)
        if kind == "object":
            return self._object(schema, depth, place)
        if kind == "array":
            return self._array(schema, name, depth, place)
        if kind == "string":
            return self._string(schema, name, place)
        if kind in ("integer", "number"):
            return self._number(schema, name, kind, place)
        return self._rng.random() < 0.5 if kind == "boolean" else None

    def _resolved(self, schema: Any, depth: int) -> Mapping[str, Any]:
        """The schema with references resolved, alternatives chosen and ``allOf`` merged."""
        for _ in range(_DEEPEST):
            if not isinstance(schema, Mapping):
                return {}
            if isinstance(reference := schema.get("$ref"), str):
                schema = {**self._referred(reference), **{k: v for k, v in schema.items() if k != "$ref"}}
            elif choices := schema.get("anyOf") or schema.get("oneOf"):
                # deep inside, the simplest alternative (often null) ends a recursion
                simple = [choice for choice in choices if _kind(choice) == "null"]
                chosen = simple[0] if simple and depth >= _DEEPEST // 2 else choices[0]
                schema = _merged([{k: v for k, v in schema.items() if k not in ("anyOf", "oneOf")}, chosen])
            elif parts := schema.get("allOf"):
                schema = _merged([{k: v for k, v in schema.items() if k != "allOf"}, *parts])
            else:
                return schema
        return {}

    @cached_property
    def _resolver(self) -> Any:
        # lazy, for start-up time: most simulators never give structured answers
        from referencing import Registry
        from referencing.jsonschema import DRAFT202012

        return Registry().with_resource("", DRAFT202012.create_resource(self._root)).resolver()

    def _referred(self, reference: str) -> Mapping[str, Any]:
        from referencing.exceptions import Unresolvable

        try:
            node = self._resolver.lookup(reference).contents
        except (Unresolvable, TypeError, ValueError):
            return {}
        return node if isinstance(node, Mapping) else {}

    def _object(self, schema: Mapping[str, Any], depth: int, place: int | None) -> dict[str, Any]:
        properties, required = schema.get("properties", {}), schema.get("required", ())
        wanted = {key: each for key, each in properties.items() if key in required or depth < _DEEPEST // 2}
        wanted |= {key: schema.get("additionalProperties") for key in required if key not in properties}
        return {key: self.value(each, key, depth + 1, place) for key, each in wanted.items()}

    def _array(self, schema: Mapping[str, Any], name: str, depth: int, place: int | None) -> list[Any]:
        first = [self.value(each, name, depth + 1, place) for each in schema.get("prefixItems", ())]
        entries: list[Any] = []
        for index in range(self._length(schema, depth) - len(first)):
            for _ in range(_TRIES + 1):
                made = self.value(schema.get("items", {}), name, depth + 1, index if place is None else place)
                if made not in entries:
                    break
            if made in entries and schema.get("uniqueItems") and len(first) + len(entries) >= schema.get("minItems", 0):
                break  # no more distinct values, as with enums
            entries.append(made)
        if place is None and self._fault == "duplicates":
            entries = entries[:1] * len(entries)
        if place is None and self._fault == "too_few":
            entries = entries[: len(entries) // 2]
        return first + entries

    def _length(self, schema: Mapping[str, Any], depth: int) -> int:
        asked = self._asked_length(schema) if depth <= 1 else 0
        wanted: int = asked or (_USUAL_LENGTH if depth < _DEEPEST // 2 else 0)
        least, most = schema.get("minItems", 0), schema.get("maxItems", wanted)
        return min(max(int(least), min(wanted, int(most))), _LONGEST)

    def _asked_length(self, schema: Mapping[str, Any]) -> int:
        entry = self._resolved(schema.get("items", {}), 0)
        if self._numbered and any(_IS_ID.search(key) for key in entry.get("properties", {})):
            return len(self._numbered)
        count = _COUNT.search(self._prompt) or _ANY_COUNT.search(self._prompt)
        return min(int(count[1]), _MOST_ASKED) if count else 0

    def _string(self, schema: Mapping[str, Any], name: str, place: int | None) -> str:
        text = _FORMATS.get(schema.get("format", ""), "") or self._words(name, place)
        shortest, longest = min(schema.get("minLength", 0), _LONGEST), schema.get("maxLength")
        while len(text) < shortest:
            text += " " + sentence(SENTENCES, self._topics, self._rng)
        return text if longest is None else text[:longest]

    def _words(self, name: str, place: int | None) -> str:
        key, rng = name.lower(), self._rng
        number, text = self._numbered.get(place, ("", self._prompt))
        if _IS_ID.search(key) and number:
            return number
        if "quote" in key:
            return _excerpt(text, rng)
        if re.search(r"prompt|question|scenario|followup", key):
            return self._fresh(QUESTIONS)
        if re.search(r"(^|_)(id|name|title|label|key|topic|category|level|value)s?$", key):
            return f"{rng.choice(self._topics)} {rng.randint(1, 9999)}"
        return self._fresh(SENTENCES)

    def _fresh(self, templates: Sequence[str]) -> str:
        """A sentence that is not used yet in this value; if all are, one made unique by a number."""
        for _ in range(_TRIES):
            text = sentence(templates, self._topics, self._rng)
            if text not in self._used:
                break
        else:
            text = f"{text} (Case {len(self._used) + 1}.)"
        self._used.add(text)
        return text

    def _number(self, schema: Mapping[str, Any], name: str, kind: str, place: int | None) -> int | float:
        number, _ = self._numbered.get(place, ("", ""))
        if kind == "integer" and _IS_ID.search(name.lower()) and number.isdecimal():
            return int(number)
        step = schema.get("multipleOf", 1 if kind == "integer" else 0.01)
        low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
        high = schema.get("maximum", schema.get("exclusiveMaximum", low + 100 * step))
        first = -(-low // step) + ("exclusiveMinimum" in schema and low % step == 0)
        last = high // step - ("exclusiveMaximum" in schema and high % step == 0)
        value = self._rng.randint(int(first), max(int(first), int(last))) * step
        return int(value) if kind == "integer" else round(value, 10)


_FORMATS = {
    "date": "2026-11-24",
    "date-time": "2026-11-24T12:00:00Z",
    "time": "12:00:00Z",
    "email": "reader@example.org",
    "uri": "https://example.org/",
    "uuid": "7f8d9a52-3a0c-4f6e-9a55-0d7a2f1c4b11",
}


def _kind(schema: Any) -> str:
    """The type of a schema: the first that is not null, or if it has none, the one that its keywords suggest."""
    schema = schema if isinstance(schema, Mapping) else {}
    kind = schema.get("type")
    if isinstance(kind, list | tuple):
        kind = next((each for each in kind if each != "null"), "null")
    suggested = (kind for kind, keywords in _SUGGESTIVE.items() if not schema.keys().isdisjoint(keywords))
    return kind if isinstance(kind, str) else next(suggested, "string")


def _merged(schemas: Sequence[Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for schema in (each for each in schemas if isinstance(each, Mapping)):
        properties = {**merged.get("properties", {}), **schema.get("properties", {})}
        required = [*merged.get("required", ()), *schema.get("required", ())]
        merged |= {**schema, "properties": properties, "required": required}
    return {key: value for key, value in merged.items() if value or key not in ("properties", "required")}


def _numbered_texts(prompt: str) -> list[tuple[str, str]]:
    """The distinct ids in a prompt, each with the text up to the next."""
    matches = next((ids for pattern in _IDS if (ids := list(pattern.finditer(prompt)))), [])
    ends = [*(match.start() for match in matches[1:]), len(prompt)] if matches else []
    texts = {match[1]: prompt[match.end() : end] for match, end in zip(matches, ends, strict=True)}
    return list(texts.items())


def _excerpt(text: str, rng: Random) -> str:
    """A verbatim excerpt of a text: a sentence, or a few words."""
    stretches = [each.strip() for each in re.findall(r"[^\n.!?<>{}\"\\]{12,200}[.!?]?", text) if each.strip()]
    return rng.choice(stretches) if stretches else text.strip()[:80]
