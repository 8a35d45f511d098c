"""One edit of the catalog: read everything, put what changes, and all of it is written or nothing."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

from llmkit.records import DatedPrice, Model, Provider
from llmkit.store import events
from llmkit.store.lines import Event
from llmkit.store.queries import CatalogState

Entry = TypeVar("Entry", Provider, Model)

_EPOCH = datetime.min.replace(tzinfo=UTC)


class Edit:
    """The catalog as it will be. Made by :meth:`llmkit.store.Store.edit`, which writes it when the block ends well."""

    def __init__(self, state: CatalogState, setting_rows: Mapping[str, Mapping[str, Any]], actor: str) -> None:
        self.state = state
        self.edit_id = secrets.token_hex(8)
        self.events: list[Event] = []
        self._actor = actor
        self._setting_rows = dict(setting_rows)
        self._now = datetime.now(UTC)

    def put_provider(self, provider: Provider, action: str) -> Provider:
        """Write a provider, known by its name; returns it with ``id`` and times filled in. Its balance stays."""
        known = self.state.providers
        filled = self._filled(provider, known.get(provider.name), known)
        self._record(action, "provider", provider.name, known.get(provider.name), filled)
        self.state = replace(self.state, providers={**known, provider.name: filled})
        return filled

    def put_model(self, model: Model, action: str) -> Model:
        """Write a model, known by its reference; returns it with ``id`` and times filled in."""
        known = self.state.models
        filled = self._filled(model, known.get(model.reference), known)
        self._record(action, "model", model.reference, known.get(model.reference), filled)
        self.state = replace(self.state, models={**known, model.reference: filled})
        return filled

    def drop_provider(self, provider: Provider, action: str) -> None:
        """Take a provider out, with its models and their prices."""
        for model in [model for model in self.state.models.values() if model.provider == provider.name]:
            self._drop_model(model, action)
        self.events.append(self._event(action, "provider", provider.name, provider.to_row(), None))
        kept = {name: each for name, each in self.state.providers.items() if name != provider.name}
        self.state = replace(self.state, providers=kept)

    def _drop_model(self, model: Model, action: str) -> None:
        prices = [entry.to_row() for entry in self.state.prices.get(model.reference, ())]
        self.events.append(self._event(action, "model", model.reference, {**model.to_row(), "prices": prices}, None))
        models, entries = dict(self.state.models), dict(self.state.prices)
        del models[model.reference]
        entries.pop(model.reference, None)
        self.state = replace(self.state, models=models, prices=entries)

    def add_price(self, entry: DatedPrice, action: str = "add_price") -> DatedPrice:
        """Append an entry to a model's price history."""
        self._record(action, "price", entry.reference, None, entry)
        entries = sorted(
            (*self.state.prices.get(entry.reference, ()), entry), key=lambda known: known.valid_from or _EPOCH
        )
        self.state = replace(self.state, prices={**self.state.prices, entry.reference: tuple(entries)})
        return entry

    def put_setting(self, key: str, value: Any, action: str = "set_setting") -> None:
        """Write a setting; ``value`` is anything that JSON holds."""
        before = self._setting_rows.get(key)
        row = {
            "id": before["id"] if before else 1 + max((row["id"] for row in self._setting_rows.values()), default=0),
            "key": key,
            "value": value,
            "updated_at": self._now.isoformat(),
        }
        old = {"value": before["value"]} if before else None
        self.events.append(self._event(action, "setting", key, old, row))
        self._setting_rows[key] = row
        self.state = replace(self.state, settings={**self.state.settings, key: value})

    def set_balance(self, provider: str, amount: Decimal | None, action: str = "set_balance") -> None:
        """Set what is left on a provider's account; ``None``: not tracked."""
        before = self.state.providers[provider]
        after = replace(before, balance=amount)
        text = None if amount is None else format(amount, "f")
        old = None if before.balance is None else format(before.balance, "f")
        self.events.append(self._event(action, "balance", provider, {"amount": old}, {"amount": text}))
        self.state = replace(self.state, providers={**self.state.providers, provider: after})

    def record_sync(self, provider: str, system: Decimal | None, entered: Decimal, delta: Decimal | None) -> None:
        """Log that a balance was compared with the provider's own figure."""
        after = {
            "system_balance": None if system is None else format(system, "f"),
            "entered_balance": format(entered, "f"),
            "delta": None if delta is None else format(delta, "f"),
        }
        self.events.append(self._event("sync_balance", "sync", provider, None, after))

    def _filled(self, record: Entry, before: Entry | None, known: Mapping[str, Entry]) -> Entry:
        return replace(
            record,
            id=before.id if before else 1 + max((entry.id for entry in known.values()), default=0),
            created_at=before.created_at if before else self._now,
            updated_at=self._now,
        )

    def _record(
        self, action: str, entity: events.Entity, reference: str, before: Any, after: Provider | Model | DatedPrice
    ) -> None:
        old = None if before is None else before.to_row()
        self.events.append(self._event(action, entity, reference, old, after.to_row()))

    def _event(
        self,
        action: str,
        entity: events.Entity,
        reference: str,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
    ) -> Event:
        return events.catalog(
            edit_id=self.edit_id,
            actor=self._actor,
            action=action,
            entity=entity,
            reference=reference,
            before=before,
            after=after,
        )
