"""The parameters of a run's requests, checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from llmkit.errors import ValidationError
from llmkit.records import Params
from llmkit.records.checks import numbers, shapes, texts
from llmkit.records.checks.near_names import hint, near

MAX_SEED = 2**63 - 1
"""APIs read seeds as 64-bit integers."""


def make_params(
    direct: Mapping[str, Any], schema: Mapping[str, Any] | None, options: Mapping[str, Any], others: Iterable[str]
) -> Params:
    """The checked parameters of a run: ``direct`` are arguments of ``kit.run``, ``options`` holds the rarer ones.
    ``others`` may be written next to them and are read elsewhere."""
    names = _CHECKS.keys() - direct.keys()
    if unknown := sorted(options.keys() - names):
        listed = sorted({*names, *others})
        meant = hint(near(unknown[0], {*listed, *direct} - {*unknown}))
        raise ValidationError(
            f"Unknown option{'s' if len(unknown) > 1 else ''} {', '.join(map(repr, unknown))}.{meant} "
            f"Choose from: {', '.join(listed)}.",
            field="options",
        )
    values = {name: _CHECKS[name](value, name) for name, value in {**options, **direct}.items()}
    return Params(schema=schema, **values)


def _stops(value: Any, field: str) -> tuple[str, ...]:
    """One or more texts that end an answer; they may be whitespace only."""
    what = "a non-empty string or a list of them"
    listed = () if value is None else (value,) if isinstance(value, str) else shapes.several(value, field, what)
    if not all(isinstance(text, str) and text for text in listed):
        raise ValidationError(f"{field} must be {what}.", field=field)
    return tuple(shapes.string(text, field) for text in listed)


def _body(value: Any, field: str) -> Any:
    """The fields to merge into the request body, as plain JSON values."""
    body = shapes.mapping(value, field, "{'service_tier': 'flex'}")
    if ours := sorted(_OURS.keys() & body.keys()):
        raise ValidationError(f"{field} cannot hold {ours[0]!r}: {_OURS[ours[0]]}.", field=field)
    return texts.json_value(body, field)


_OURS = {
    "model": "its answers would have another model's price. Name the model in models=",
    "stream": "answers are read whole",
}
"""What ``extra_body`` may not replace, and why."""


_CHECKS: Mapping[str, Callable[[Any, str], Any]] = {
    "temperature": lambda value, field: numbers.between(value, field, 0, 2),
    "max_tokens": lambda value, field: None if value is None else numbers.whole(value, field, 1),
    "seed": lambda value, field: None if value is None else numbers.whole(value, field, 0, MAX_SEED),
    "service_tier": shapes.optional_string,
    "top_p": lambda value, field: numbers.between(value, field, 0, 1),
    "stop": _stops,
    "reasoning_effort": shapes.optional_string,
    "extra_body": _body,
    "strict": texts.flag,
}
