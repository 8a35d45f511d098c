"""The providers and models to which a run sends nothing more, and why."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from llmkit.records import Failure, Model


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """Refusals that close a provider or a model to a run, by provider name or model reference."""

    _refusals: dict[str, Failure] = field(default_factory=dict)

    def note(self, model: Model, failure: Failure) -> None:
        """Close the model or provider that a failure concerns, if it concerns more than its own probe."""
        if failure.scope in ("provider", "model"):
            message = f"Not asked, because {affected(model, failure)} refused: {failure.message}"
            self.trip(model, replace(failure, message=message, usage=None, maybe_billed=False))

    def trip(self, model: Model, refusal: Failure) -> None:
        """Close the model or its provider, whichever is the refusal's scope. The first refusal stays."""
        self._refusals.setdefault(affected(model, refusal), refusal)

    def refusal(self, model: Model) -> Failure | None:
        """Why a model is closed, always the same object; ``None`` while requests may be sent."""
        return self._refusals.get(model.provider) or self._refusals.get(model.reference)


def affected(model: Model, failure: Failure) -> str:
    """The model reference or the provider name that a failure concerns."""
    return model.reference if failure.scope == "model" else model.provider
