"""Which models a run asks: those that were named, or the default of every provider that can be asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from llmkit.catalog import Obstacle, blocking, rules
from llmkit.errors import LlmkitError, MissingApiKey, ValidationError, refuse
from llmkit.records import Model, Provider
from llmkit.records.checks import shapes
from llmkit.store import CatalogState

_MODELS = "references such as 'openai:gpt-6-luna', one or a list of them"


def choose_models(
    models: str | Model | Sequence[str | Model] | None,
    state: CatalogState,
    has_key: Callable[[Provider], bool],
) -> tuple[Model, ...]:
    """The models of a run, in their order; ``None``: the default of every enabled provider with a key.

    Raises:
        ModelNotFound, ModelDeprecated, MissingApiKey, ValidationError: the one problem that there is.
        RunRefused: several of them.
    """
    if models is None:
        return _defaults(state, has_key)
    entries = [models] if isinstance(models, str | Model) else shapes.several(models, "models", _MODELS)
    if not entries:
        raise ValidationError("models is empty: name at least one, or leave it out for the defaults.", field="models")
    problems: list[LlmkitError] = []
    chosen: dict[str, Model] = {}
    for entry in entries:
        reference = entry.reference if isinstance(entry, Model) else entry
        try:
            model = rules.find_model(state, reference)
            if (obstacle := _blocking(model, state, has_key)) is not None:
                raise obstacle.error()
        except LlmkitError as problem:
            problems.append(problem)
            continue
        if model.reference in chosen:
            problems.append(
                ValidationError(f"{model.reference} is named twice: use samples= to ask it more often.", field="models")
            )
        chosen[model.reference] = model
    refuse(problems)
    return tuple(chosen.values())


def _blocking(model: Model, state: CatalogState, has_key: Callable[[Provider], bool]) -> Obstacle | None:
    provider = state.providers[model.provider]
    return blocking(model, provider, has_key(provider), datetime.now(UTC).date())


def _defaults(state: CatalogState, has_key: Callable[[Provider], bool]) -> tuple[Model, ...]:
    active = [model for model in state.models.values() if _blocking(model, state, has_key) is None]
    defaults = tuple(model for model in active if model.is_default)
    if not defaults:
        if active:
            raise ValidationError(
                f"{state.providers[active[0].provider].display_name} can be asked, but has no default model. Name "
                f"models=, or choose one with kit.catalog.set_default_model({active[0].reference!r}).",
                field="models",
            )
        enabled = [provider for provider in state.providers.values() if provider.is_enabled]
        variables = ", ".join(sorted({p.api_key_env for p in enabled if p.api_key_env}))
        raise MissingApiKey(
            "No provider is available. Set at least one of these environment variables and try again: "
            f"{variables}. Or rehearse without keys: llmkit.open(simulate=True)."
        )
    return defaults
