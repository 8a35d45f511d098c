"""Which providers and models nothing more is sent to in a run, and why."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from llmkit.records import Failure, Model


@dataclass(frozen=True, slots=True)
class CircuitBreaker:
    """Accounts that refuse, and models that are not there, by provider name or model reference."""

    _closed: dict[str, Failure] = field(default_factory=dict)

    def note(self, model: Model, failure: Failure) -> None:
        """Close what a failure concerns for the rest of the run, if it concerns more than its own probe."""
        if concerns_others(failure):
            name = affected(model, failure)
            message = f"Not asked, since {name} refused: {failure.message}"
            self._closed.setdefault(name, replace(failure, message=message, usage=None, maybe_billed=False))

    def of(self, model: Model) -> Failure | None:
        """Why nothing is sent to a model any more; ``None`` while it is open. The same object each time."""
        return self._closed.get(model.provider) or self._closed.get(model.reference)


def concerns_others(failure: Failure) -> bool:
    """Whether every further request to the model or the provider would fail as well."""
    return not failure.code.retryable and failure.scope in ("provider", "model")


def affected(model: Model, failure: Failure) -> str:
    """The model reference or the provider name that a failure concerns."""
    return model.reference if failure.scope == "model" else model.provider
