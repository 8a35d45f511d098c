"""May this model be used? The one answer for runs, estimates, internal tasks and pickers. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from llmkit.catalog import rules
from llmkit.errors import LlmkitError, MissingApiKey, ModelDeprecated
from llmkit.records import Model, Provider
from llmkit.store import CatalogState

SOON = timedelta(days=30)
"""How long before a model's retirement the warnings start."""


def is_retiring(model: Model, today: date) -> bool:
    """Whether a model is retired or soon will be."""
    return model.retires_on is not None and model.retires_on <= today + SOON


class ObstacleKind(StrEnum):
    """The kinds of obstacles to using a model."""

    DEPRECATED = "deprecated"
    PROVIDER_DISABLED = "provider_disabled"
    NO_KEY = "no_key"
    RETIRED = "retired"
    RETIRES_SOON = "retires_soon"


_ERRORS: dict[ObstacleKind, type[LlmkitError]] = {
    ObstacleKind.DEPRECATED: ModelDeprecated,
    ObstacleKind.PROVIDER_DISABLED: ModelDeprecated,
    ObstacleKind.NO_KEY: MissingApiKey,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """An obstacle to using a model. ``label`` is a short text for lists, ``reason`` continues a sentence that starts
    with the model's name, ``remedy`` says what to do about it.
    """

    kind: ObstacleKind
    reference: str
    label: str
    reason: str
    remedy: str

    @property
    def sentence(self) -> str:
        """The full text for a warning or an error."""
        return f"{self.reference} {self.reason}. {self.remedy}"

    @property
    def blocks(self) -> bool:
        """Whether the model must not be used; otherwise this is only a warning."""
        return self.kind in _ERRORS

    def error(self, message: str | None = None) -> LlmkitError:
        """The error to raise for a blocking obstacle."""
        return _ERRORS[self.kind](message or self.sentence)


@dataclass(frozen=True, slots=True)
class Access:
    """A catalog as it can be used here and today; ``has_key`` says whether a provider's key is set or not needed."""

    state: CatalogState
    has_key: Callable[[Provider], bool]
    today: date

    def obstacles(self, model: Model) -> tuple[Obstacle, ...]:
        """All obstacles to using a model, blocking ones first."""
        provider = rules.find_provider(self.state, model.provider)
        day, variable = model.retires_on, provider.api_key_env
        is_past = day is not None and day < self.today
        rows = (
            (
                not model.is_active, ObstacleKind.DEPRECATED, "deprecated", "is deprecated",
                f"Choose another, or bring it back with kit.catalog.reactivate_model({model.reference!r}).",
            ),
            (
                not provider.is_enabled, ObstacleKind.PROVIDER_DISABLED, "provider disabled",
                f"belongs to a provider, {provider.display_name}, that is disabled",
                f"Enable it with kit.catalog.update_provider({provider.name!r}, is_enabled=True).",
            ),
            (
                not self.has_key(provider), ObstacleKind.NO_KEY, f"no key: {variable}",
                f"needs a key: {variable} is not set",
                f"Set this environment variable, or type the key for this session with kit.ask_key({provider.name!r}).",
            ),
            (
                is_past, ObstacleKind.RETIRED, f"retired {day}", f"was retired on {day}",
                "Its provider may refuse every request; choose another.",
            ),
            (
                is_retiring(model, self.today) and not is_past, ObstacleKind.RETIRES_SOON, f"retires {day}",
                f"retires on {day}", "Its provider will refuse requests from then on.",
            ),
        )  # fmt: skip
        return tuple(
            Obstacle(kind=kind, reference=model.reference, label=label, reason=reason, remedy=remedy)
            for applies, kind, label, reason, remedy in rows
            if applies
        )

    def blocking(self, model: Model) -> Obstacle | None:
        """The first obstacle that blocks a model; ``None`` when it may be used."""
        return next((obstacle for obstacle in self.obstacles(model) if obstacle.blocks), None)
