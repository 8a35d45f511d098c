"""The parameters of a run's requests, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from llmkit.errors import ValidationError
from llmkit.records import Params
from llmkit.records.checks import numbers, shapes, texts

MAX_SEED = 2**63 - 1
"""APIs read seeds as integers of 64 bits."""


def make_params(
    *,
    temperature: float | None = None,
    max_tokens: int | None = None,
    seed: int | None = None,
    schema: Mapping[str, Any] | None = None,
    service_tier: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Params:
    """The parameters of a run, checked. ``options`` holds the rarer ones by their names in :class:`Params`.

    Raises:
        ValidationError: an unknown option, or a value out of range.
    """
    names = {field.name for field in fields(Params)} - {"temperature", "max_tokens", "seed", "schema", "service_tier"}
    values = shapes.mapping(options, "options", "{'top_p': 0.9}")
    if unknown := sorted(set(values) - names):
        raise ValidationError(
            f"Unknown option{'s' if len(unknown) > 1 else ''} {', '.join(map(repr, unknown))}. "
            f"options takes {', '.join(sorted(names))}.",
            field="options",
        )
    values["stop"] = _stops(values.get("stop"))
    values["extra_body"] = _body(values.get("extra_body"))
    values["top_p"] = numbers.between(values.get("top_p"), "top_p", 0, 1)
    params = Params(
        temperature=numbers.between(temperature, "temperature", 0, 2),
        max_tokens=None if max_tokens is None else numbers.whole(max_tokens, "max_tokens", 1),
        seed=None if seed is None else numbers.whole(seed, "seed", 0, MAX_SEED),
        schema=schema,
        service_tier=shapes.optional_string(service_tier, "service_tier"),
        **values,
    )
    shapes.optional_string(params.reasoning_effort, "reasoning_effort")
    texts.flag(params.strict, "strict")
    return params


def _stops(value: Any) -> tuple[str, ...]:
    """One text or several that end an answer; white space alone is one too."""
    if value is None:
        return ()
    texts = (
        (value,) if isinstance(value, str) else shapes.several(value, "stop", "a non-empty string or a list of them")
    )
    if not all(isinstance(text, str) and text for text in texts):
        raise ValidationError("stop must be a non-empty string or a list of them.", field="stop")
    return tuple(shapes.string(text, "stop") for text in texts)


def _body(value: Any) -> dict[str, Any]:
    """What is merged into the request, as JSON holds it."""
    body: dict[str, Any] = texts.json_value(
        shapes.mapping(value, "extra_body", "{'service_tier': 'flex'}"), "extra_body"
    )
    return body
