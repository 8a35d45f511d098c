"""Update a database to the shipped catalog, without undoing anybody's changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from llmkit.catalog.rules import OWN_ACTORS
from llmkit.catalog.seed_files import MODEL_FIELDS, PROVIDER_FIELDS, Seed, load_seed, shipped_fingerprint
from llmkit.records import PRICE_COLUMNS, Model
from llmkit.store import CatalogState, Edit, Store

FINGERPRINT = "_seed_fingerprint"
"""The setting that identifies the catalog a database was last updated to; the underscore hides it from users."""

_NONE: frozenset[str] = frozenset()

EditedFields = Mapping[tuple[str, str], frozenset[str]]
"""The fields that users changed, by (entity, reference). All parts of a price count as the one field ``price``."""


def seed_catalog(store: Store, seed: Seed | None = None, *, now: datetime | None = None) -> bool:
    """Update a database to the shipped catalog, or to ``seed``; return ``False`` when it is up to date already (then
    nothing is written, and the shipped files are not parsed).

    In one edit by the actor ``seed``, missing entries are added and existing ones updated field by field, except for
    fields that a user has ever changed. A default that a user chose stays while it is active. Nothing is removed:
    models that are no longer shipped stay.
    """
    fingerprint = shipped_fingerprint() if seed is None else seed.fingerprint
    while True:
        before = store.catalog()
        if before.settings.get(FINGERPRINT) == fingerprint:
            return False
        edited = edited_fields(store.catalog_events())
        with store.edit(actor="seed") as edit:
            if edit.state == before:  # else there was another edit after the events were read
                _put(edit, seed or load_seed(), edited, now or datetime.now(UTC))
                edit.put_setting(FINGERPRINT, fingerprint, "seed")
                return True


def edited_fields(events: pd.DataFrame) -> EditedFields:
    """The fields that an actor other than llmkit itself has ever changed."""
    edited: dict[tuple[str, str], frozenset[str]] = {}
    for event in events[~events["actor"].isin(OWN_ACTORS)].to_dict("records"):
        entity, names = event["entity"], frozenset(_changed(event["before"] or {}, event["after"] or {}))
        if entity == "price" or not names.isdisjoint(PRICE_COLUMNS):
            entity, names = "model", names | {"price"}
        key = (entity, event["reference"])
        edited[key] = edited.get(key, _NONE) | names
    return edited


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Names whose value differs; a field left empty in a new entry does not count."""
    return (name for name in after if (before.get(name) or None) != (after[name] or None))


def _put(edit: Edit, seed: Seed, edited: EditedFields, moment: datetime) -> None:
    before = edit.state
    for provider in seed.providers.values():
        current = before.providers.get(provider.name)
        merged = _merged(current, provider, PROVIDER_FIELDS, edited.get(("provider", provider.name), _NONE))
        if merged != current:
            edit.put_provider(merged, "seed")
    for model in _merged_models(before, seed, edited, moment):
        if model != before.models.get(model.reference):
            edit.put_model(model, "seed")
    for reference, entries in seed.prices.items():
        if "price" not in edited.get(("model", reference), _NONE):
            for entry in entries:
                if entry not in before.prices.get(reference, ()):
                    edit.add_price(entry, "seed")
    for key, value in seed.settings.items():
        if ("setting", key) not in edited and before.settings.get(key) != value:
            edit.put_setting(key, value, "seed")


def _merged_models(before: CatalogState, seed: Seed, edited: EditedFields, moment: datetime) -> Sequence[Model]:
    """The merged models to write, in the files' order, but first those that stop being the default."""
    fields = (*MODEL_FIELDS, "price")
    models = {
        reference: _merged(before.models.get(reference), model, fields, edited.get(("model", reference), _NONE))
        for reference, model in seed.models(moment).items()
    }
    chosen = {
        model.provider
        for model in before.models.values()
        if model.is_default
        and models.get(model.reference, model).is_active
        and any(
            "is_default" in edited.get(("model", ref), _NONE)
            for ref, other in before.models.items()
            if other.provider == model.provider
        )
    }
    merged = []
    for reference, model in models.items():
        current = before.models.get(reference)
        kept = current is not None and current.is_default
        wanted = seed.unpriced_models[reference].is_default and model.is_active
        merged.append(replace(model, is_default=kept if model.provider in chosen else wanted))
    losing = {reference for reference, model in before.models.items() if model.is_default}
    return sorted(merged, key=lambda model: model.is_default or model.reference not in losing)


def _merged(current: Any, shipped: Any, fields: Sequence[str], edited: frozenset[str]) -> Any:
    """The shipped record, or the current one with the shipped values of all fields that no user changed."""
    if current is None:
        return shipped
    values = {name: getattr(shipped, name) for name in fields if name not in edited}
    if "api_config" in values:  # keep what was learned from its API
        learned = {name: value for name, value in current.api_config.items() if name.startswith("learned_")}
        values["api_config"] = {**values["api_config"], **learned}
    return replace(current, **values)
