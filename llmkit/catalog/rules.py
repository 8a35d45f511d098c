"""The catalog's rules as pure functions of a snapshot: lookup, prices in force, models of internal tasks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from llmkit.catalog.purposes import PURPOSES, Purpose
from llmkit.errors import ModelNotFound, UnsupportedProvider, ValidationError
from llmkit.records import DatedPrice, Model, Provider, price_on
from llmkit.records.checks import near_names
from llmkit.store import CatalogState

_SNAPSHOT = re.compile(r"(?P<family>.+?)-(?P<day>20\d{2}-?[01]\d-?[0-3]\d)")
OWN_ACTORS = ("seed", "system")
"""The actors that are not users."""


def find_provider(state: CatalogState, name: Any) -> Provider:
    """The provider of that name; raises :class:`UnsupportedProvider` with the nearest names."""
    if isinstance(name, Provider):
        name = name.name
    if isinstance(name, str) and name in state.providers:
        return state.providers[name]
    near = near_names.near(str(name), state.providers)
    raise UnsupportedProvider(
        f"There is no provider {name!r}.{near_names.hint(near)} The catalog has: "
        f"{', '.join(state.providers) or 'none yet'}; kit.catalog.add_provider() adds any OpenAI-compatible endpoint.",
        suggestions=near,
    )


def find_model(state: CatalogState, ref: Any) -> Model:
    """The model with that reference; raises :class:`ModelNotFound` with the nearest references, for a bare model id at
    every provider, or :class:`UnsupportedProvider`.
    """
    if isinstance(ref, Model):
        ref = ref.reference
    if not isinstance(ref, str):
        raise ValidationError("A model is named by its reference, such as 'openai:gpt-6-luna'.", field="ref")
    reference = ref.strip()
    if reference in state.models:
        return state.models[reference]
    near = _nearest_models(state, reference)
    provider, colon, _ = reference.partition(":")
    meant = [ref for ref in near if reference.lower() in (ref.lower(), state.models[ref].model_id.lower())]
    if colon and provider not in state.providers and not meant:
        find_provider(state, provider)
    raise ModelNotFound(
        f"There is no model {ref!r} in the catalog.{near_names.hint(near)} A reference is provider:model_id; "
        "kit.catalog.models() lists them all, kit.catalog.add_model() adds one.",
        suggestions=near,
    )


def priced_as(state: CatalogState, reference: str) -> str:
    """The reference whose price applies: its own, or its family's for an unlisted dated snapshot."""
    snapshot = None if reference in state.models else _SNAPSHOT.fullmatch(reference)
    return snapshot["family"] if snapshot and snapshot["family"] in state.models else reference


def askable_model(state: CatalogState, ref: Any) -> Model:
    """The model with that reference; for an unlisted dated snapshot, its family under the snapshot's id, with the
    family's reference as ``priced_as`` in ``api_config``.
    """
    reference = ref.strip() if isinstance(ref, str) else ""
    family = priced_as(state, reference)
    if family == reference:
        return find_model(state, ref)
    model, model_id = state.models[family], reference.partition(":")[2]
    config = {**model.api_config, "priced_as": family}
    return replace(model, id=0, is_default=False, model_id=model_id, display_name=model_id, api_config=config)


def _nearest_models(state: CatalogState, wanted: str) -> Sequence[str]:
    """References near a misspelt one, or near a model id without its provider; the best first."""
    same_id = [reference for reference, model in state.models.items() if model.model_id.lower() == wanted.lower()]
    if same_id:
        return tuple(same_id)
    by_id = {model.model_id: reference for reference, model in state.models.items()}
    model_id = wanted.partition(":")[2] or wanted
    near = [*near_names.near(wanted, state.models), *(by_id[name] for name in near_names.near(model_id, by_id))]
    return tuple(dict.fromkeys(near))[:5]


def moment(state: CatalogState, at: datetime) -> datetime:
    """``at``, but not before a price that held when it was written: a clock may have been set back since, and those of
    colleagues differ. One that was ahead by more than a day is not believed.
    """
    return state.priced_at if state.priced_at and at < state.priced_at < at + timedelta(days=1) else at


def in_force(state: CatalogState, at: datetime) -> CatalogState:
    """The catalog with every model at its price in force at ``at``, even if the table does not have it yet."""
    return replace(state, models={**state.models, **{model.reference: model for model in due(state, at)}})


def due(state: CatalogState, at: datetime) -> list[Model]:
    """The models for which a dated price has come into force but is not written yet, at that price."""
    at = moment(state, at)
    now = ((model, priced(model, state.prices.get(reference, ()), at)) for reference, model in state.models.items())
    return [after for before, after in now if after is not before]


def priced(model: Model, entries: Iterable[DatedPrice], at: datetime) -> Model:
    """The model at the price of its history in force at ``at``; itself if it has that price already."""
    entry = price_on(entries, at)
    return replace(model, price=entry.price) if entry and entry.price != model.price else model


def find_purpose(name: Any) -> Purpose:
    """The purpose of that name."""
    if not isinstance(name, str) or name not in PURPOSES:
        raise ValidationError(f"The purpose is one of: {', '.join(PURPOSES)}.", field="purpose")
    return PURPOSES[name]


def infra_reference(state: CatalogState, purpose: Any) -> Any:
    """The reference set for a purpose, or else for its fallback; ``None`` when neither is set."""
    registered = find_purpose(purpose)
    own = state.settings.get(registered.key)  # anything, where SQL wrote it
    if own is None and registered.fallback:
        return infra_reference(state, registered.fallback)
    return own if isinstance(own, str) else None


def purposes_of(state: CatalogState, reference: str) -> tuple[str, ...]:
    """The purposes for which a model is set."""
    return tuple(name for name, purpose in PURPOSES.items() if state.settings.get(purpose.key) == reference)
