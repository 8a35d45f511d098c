"""The behaviour of a simulator: the settings chosen at its start and changeable while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from llmkit.errors import ValidationError
from llmkit.records.checks import numbers, shapes
from llmkit.simulator.limiter import LimiterKind, Limits
from llmkit.simulator.stats import Received

Latency = float | tuple[float, float] | Callable[[Received], float]
PerProvider = int | Mapping[str, int] | None
Models = Iterable[str] | Mapping[str, Iterable[str]] | None
_AMOUNTS = ("rpm", "max_concurrent", "tpm", "burst")


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """The settings of ``serve``; see there."""

    latency: Latency = (0.02, 0.12)
    rpm: PerProvider = None
    max_concurrent: PerProvider = None
    tpm: PerProvider = None
    burst: PerProvider = None
    limiter: str | Mapping[str, str] = "token_bucket"
    models: Models = None
    batch_delay: float = 0.2

    def __post_init__(self) -> None:
        _check_latency(self.latency)
        if not shapes.is_number(self.batch_delay) or self.batch_delay < 0:
            raise ValidationError("batch_delay must be a number of seconds, 0 or more.", field="batch_delay")
        for name, check in _CHECKS.items():
            object.__setattr__(self, name, _each(getattr(self, name), check))

    def limits(self, provider: str) -> Limits:
        """The limits of a provider."""
        amounts = {name: _for(provider, getattr(self, name)) for name in _AMOUNTS}
        return Limits(**amounts, kind=_for(provider, self.limiter) or "token_bucket")

    def known_models(self, provider: str) -> tuple[str, ...] | None:
        """The models of a provider; ``None`` when every name is accepted."""
        models: tuple[str, ...] | None = _for(provider, self.models)
        return models

    def delay(self, received: Received, rng: Random) -> float:
        """Seconds that a request takes."""
        if callable(self.latency):
            return max(0.0, self.latency(received))
        return rng.uniform(*self.latency) if isinstance(self.latency, tuple | list) else self.latency


def _for(provider: str, value: Any) -> Any:
    return value.get(provider) if isinstance(value, Mapping) else value


def _each(value: Any, check: Callable[[Any], Any]) -> Any:
    if isinstance(value, Mapping):
        return {provider: check(own) for provider, own in value.items()}
    return None if value is None else check(value)


def _limiter(kind: Any) -> Any:
    shapes.one_of(kind, LimiterKind, "limiter")
    return kind


_CHECKS: Mapping[str, Callable[[Any], Any]] = {
    **{name: partial(numbers.whole, field=name, least=1) for name in _AMOUNTS},
    "models": partial(shapes.several, field="models", what="a list of model ids, or one for each provider"),
    "limiter": _limiter,
}
"""The settings that can differ between providers."""


def _check_latency(latency: Latency) -> None:
    if callable(latency):
        return
    bounds = latency if isinstance(latency, tuple | list) else (latency, latency)
    are_numbers = len(bounds) == 2 and all(isinstance(each, int | float) for each in bounds)
    if not are_numbers or not 0 <= bounds[0] <= bounds[1]:
        raise ValidationError(
            "latency is a number of seconds, a pair (shortest, longest), or a function of the request.", field="latency"
        )
