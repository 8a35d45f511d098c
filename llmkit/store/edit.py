"""One edit of the catalog: all of its changes are written, or none."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

import pandas as pd

from llmkit.records import DatedPrice, Model, Provider, since
from llmkit.records.rows import as_json
from llmkit.store import events
from llmkit.store.lines import Event
from llmkit.store.queries import CatalogState

Entry = TypeVar("Entry", Provider, Model)


class Edit:
    """The catalog as it will be. Made by :meth:`llmkit.store.Store.edit`, which writes it if the block succeeds."""

    def __init__(self, state: CatalogState, history: Callable[[], pd.DataFrame], actor: str) -> None:
        self.state = state
        self.history = history
        """The events before this edit, oldest first; read once, when they are needed."""
        self.edit_id = secrets.token_hex(8)
        self.events: list[Event] = []
        self._actor = actor
        self._now = datetime.now(UTC)

    def put_provider(self, provider: Provider, action: str) -> Provider:
        """Write a provider, identified by its name; returns it with ``id`` and times filled in. Keeps its balance."""
        filled = self._put(action, "provider", provider.name, provider, self.state.providers)
        self.state = replace(self.state, providers={**self.state.providers, provider.name: filled})
        return filled

    def put_model(self, model: Model, action: str) -> Model:
        """Write a model, identified by its reference; returns it with ``id`` and times filled in."""
        filled = self._put(action, "model", model.reference, model, self.state.models)
        self.state = replace(self.state, models={**self.state.models, model.reference: filled})
        return filled

    def drop_provider(self, name: str, action: str) -> None:
        """Remove a provider with its models and their prices."""
        for reference, model in self.state.models.items():
            if model.provider == name:
                self.drop_model(reference, action)
        providers = dict(self.state.providers)
        self._note(action, "provider", name, providers.pop(name), None)
        self.state = replace(self.state, providers=providers)

    def drop_model(self, reference: str, action: str) -> None:
        """Remove a model with its prices."""
        models, prices = dict(self.state.models), dict(self.state.prices)
        before = {**models.pop(reference).to_row(), "prices": as_json(prices.pop(reference, ()))}
        self._note(action, "model", reference, before, None)
        self.state = replace(self.state, models=models, prices=prices)

    def add_price(self, entry: DatedPrice, action: str = "add_price") -> DatedPrice:
        """Append an entry to a model's price history."""
        self._note(action, "price", entry.reference, None, entry)
        entries = (*self.state.prices.get(entry.reference, ()), entry)
        ordered = tuple(sorted(entries, key=lambda each: since(each.valid_from)))
        self.state = replace(self.state, prices={**self.state.prices, entry.reference: ordered})
        return entry

    def put_setting(self, key: str, value: Any, action: str = "set_setting") -> None:
        """Write a setting; ``value`` is anything that JSON can hold."""
        ids = self.state.setting_ids
        number = ids[key] if key in ids else 1 + max(ids.values(), default=0)
        old = {"value": self.state.settings[key]} if key in ids else None
        row = {"id": number, "key": key, "value": value, "updated_at": self._now.isoformat()}
        self._note(action, "setting", key, old, row)
        settings = {**self.state.settings, key: value}
        self.state = replace(self.state, settings=settings, setting_ids={**ids, key: number})

    def set_balance(self, provider: str, amount: Decimal | None, action: str = "set_balance") -> None:
        """Set the balance of a provider's account; ``None``: not tracked."""
        before = self.state.providers[provider]
        old, new = ({"amount": as_json(each)} for each in (before.balance, amount))
        self._note(action, "balance", provider, old, new)
        self.state = replace(self.state, providers={**self.state.providers, provider: replace(before, balance=amount)})

    def record_sync(self, provider: str, system: Decimal | None, entered: Decimal, delta: Decimal | None) -> None:
        """Log that a balance was compared with the provider's own figure."""
        amounts = {"system_balance": system, "entered_balance": entered, "delta": delta}
        after = {name: as_json(amount) for name, amount in amounts.items()}
        self._note("sync_balance", "sync", provider, None, after)

    def _put(
        self, action: str, entity: events.Entity, reference: str, record: Entry, others: Mapping[str, Entry]
    ) -> Entry:
        before = others.get(reference)
        filled = replace(
            record,
            id=before.id if before else 1 + max((entry.id for entry in others.values()), default=0),
            created_at=before.created_at if before else self._now,
            updated_at=self._now,
        )
        self._note(action, entity, reference, before, filled)
        return filled

    def _note(self, action: str, entity: events.Entity, reference: str, before: Any, after: Any) -> None:
        change = events.Change(action, entity, reference, as_json(before), as_json(after))
        self.events.append(events.catalog(self.edit_id, self._actor, change))
