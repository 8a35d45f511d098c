"""Validation of ``api_config``: every key that llmkit reads must have a value of the right type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from llmkit.errors import ValidationError
from llmkit.records.checks import numbers, shapes, texts


def api_config(value: Any, field: str = "api_config") -> Mapping[str, Any]:
    """A dict that JSON can hold. Known keys are those of ``providers.wires.options`` and ``limits``, the model's own
    limits under the names of a provider's. Other keys are kept unchanged.
    """
    config = shapes.mapping(value, field, "{'max_tokens_param': 'max_tokens'}")
    for name, setting in config.items():
        if name in _KNOWN:
            _KNOWN[name](setting, f"{field}.{name}")
    return MappingProxyType(texts.json_value(config, field))


def _limits(value: Any, field: str) -> None:
    if value is None:
        return
    if not isinstance(value, Mapping) or not value.keys() <= _LIMITS.keys():
        raise ValidationError(f"{field} is a dict of {', '.join(_LIMITS)}, or of some of these.", field=field)
    for name, limit in value.items():
        if limit is None and name != "tokens_per_minute":
            raise ValidationError(f"{field}.{name} is a number; leave it out for the provider's.", field=field)
        numbers.count(limit, f"{field}.{name}", _LIMITS[name])


def _texts(value: Any, field: str) -> None:
    if not isinstance(value, list | tuple) or not all(isinstance(entry, str) for entry in value):
        raise ValidationError(f"{field} must be a list of words such as ['seed'].", field=field)


def _one_of(value: Any, field: str, *, allowed: tuple[Any, ...]) -> None:
    if not any(value is one or (isinstance(one, str) and value == one) for one in allowed):
        raise ValidationError(f"{field} must be one of: {', '.join(map(repr, allowed))}.", field=field)


_LIMITS: Mapping[str, int] = {
    "max_parallel_requests": numbers.MAX_PARALLEL,
    "requests_per_minute": numbers.MAX_PER_MINUTE,
    "tokens_per_minute": numbers.MAX_TOKENS,
}
_KNOWN: Mapping[str, Callable[[Any, str], object]] = {
    "wire": texts.wire,
    "limits": _limits,
    "rejects": _texts,
    "learned_rejects": _texts,
    "reasoning_efforts": _texts,
    "sampling": partial(_one_of, allowed=(True, False, "without_reasoning")),
    "structured": partial(_one_of, allowed=("json_schema", "json_object", None)),
    "reasoning": texts.flag,
    "cache_min_tokens": numbers.count,
    **dict.fromkeys(
        ("default_reasoning_effort", "reasoning_style", "max_tokens_param", "seed_param", "anthropic_version"),
        texts.optional_text,
    ),
}
