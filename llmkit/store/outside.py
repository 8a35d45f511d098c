"""Changes made to the catalog's tables with plain SQL: kept, and recorded as events by the actor ``sql``.

The tables hold what the latest events say; where they differ, something other than llmkit has written. New and changed
rows become events like any other edit, so that neither a later edit nor a rebuild undoes them. What no edit may do
(delete or rename an entry, or make it unreadable) is reverted, with a warning.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

import duckdb

from llmkit.errors import ValidationError
from llmkit.records import BUDGETS, PRICE_COLUMNS, DatedPrice, Model, Price, Provider, SharedBudget, price_on
from llmkit.records.checks.api_config import api_config
from llmkit.records.checks.shared_budgets import shared_budget
from llmkit.records.checks.texts import first_of
from llmkit.records.rows import Row, as_json
from llmkit.records.user_warnings import warn
from llmkit.store import events
from llmkit.store.apply_catalog import BALANCES, PRICE_EVENTS, restore_prices
from llmkit.store.events import Change
from llmkit.store.lines import Event
from llmkit.store.peers import Write
from llmkit.store.queries import rows

log = logging.getLogger("llmkit.store")

ACTOR = "sql"
_UNREADABLE = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError, ValidationError)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setting(Row):
    id: int
    key: str
    value: Any = None
    updated_at: datetime | None = None


_ENTRIES: Mapping[events.Entity, tuple[type[Row], str]] = {
    "provider": (Provider, "SELECT *, name AS reference FROM llm_providers"),
    "model": (
        Model,
        "SELECT m.*, p.name AS provider, p.name || ':' || m.model_id AS reference "
        "FROM llm_models m JOIN llm_providers p ON p.id = m.provider_id",
    ),
    "setting": (_Setting, "SELECT *, key AS reference FROM system_settings"),
}


class Changes(NamedTuple):
    """The events that record the changes, and the references of models whose price history lost entries."""

    events: list[Event]
    lost_prices: list[str]


def changes(connection: duckdb.DuckDBPyConnection) -> Changes:
    """Compare the tables with the events behind them.

    Raises:
        ValidationError: a new row cannot be read.
    """
    now, edit_id = datetime.now(UTC), secrets.token_hex(8)
    entries: list[Change] = []
    for entity in _ENTRIES:
        for action, reference, before, after in _changed_entries(connection, entity):
            if isinstance(after, Model) and action != "restore":
                entries.extend(_price(connection, action, before, after, now))
            row = (after if action == "restore" else replace(after, updated_at=now)).to_row()
            entries.append(Change(action, entity, reference, as_json(before), row))
    recorded = {row["event_id"]: DatedPrice.from_row(row["after"]) for row in rows(connection, PRICE_EVENTS)}
    dated = _dated(connection) if recorded else {}
    for event_id, price in dated.items():
        if recorded.get(event_id) != price:
            entries.append(Change("add_price", "price", price.reference, None, price.to_row()))
    for row in rows(connection, _BALANCES):
        before, after = ({"amount": as_json(row[name])} for name in ("before", "after"))
        entries.append(Change("set_balance", "balance", row["name"], before, after))
    return Changes(
        [events.catalog(edit_id, ACTOR, each) for each in entries],
        [recorded[event_id].reference for event_id in recorded.keys() - dated.keys()],
    )


def take_over(connection: duckdb.DuckDBPyConnection, editing: AbstractContextManager[Write]) -> None:
    """Record the changes, and warn of those that are reverted; to be called before the journal is applied."""
    changed = changes(connection)
    if not any(changed):
        return
    if changed.events:
        with editing as write:
            write(changed.events)
    restore_prices(connection)
    log.info("changed with SQL", extra={"actor": ACTOR, "changes": len(changed.events)})
    restored = [each["reference"] for each in changed.events if each["action"] == "restore"]
    if names := list(dict.fromkeys([*restored, *changed.lost_prices])):
        warn(
            f"{first_of(names)}: what was deleted, renamed or made unreadable with SQL was restored, because runs "
            "refer to it. Deprecate models and disable providers that you do not want."
        )


def _changed_entries(
    connection: duckdb.DuckDBPyConnection, entity: events.Entity
) -> Iterator[tuple[str, str, Any, Any]]:
    """Action, reference, and the entry before and after, for each entry that differs from its latest event."""
    record, query = _ENTRIES[entity]
    latest = rows(
        connection,
        "SELECT reference, arg_max_null(after, event_id) AS after FROM catalog_events WHERE entity = ? "
        "GROUP BY ALL HAVING arg_max_null(after, event_id) IS NOT NULL",
        [entity],
    )
    recorded = {row["reference"]: record.from_row(row["after"]) for row in latest}
    ids = {row["after"]["id"] for row in latest}
    present = {row["reference"]: row for row in rows(connection, query)} if recorded else {}
    for reference, row in present.items():
        before = recorded.get(reference)
        if before is None and row["id"] in ids:
            continue  # it was renamed: the entry with that id is restored
        try:
            after = record.from_row(row)
            _check(before, after)
        except _UNREADABLE as error:
            if before is None and entity == "setting":
                before = _Setting(id=row["id"], key=reference, updated_at=row["updated_at"])  # it was not set
            elif before is None:
                raise ValidationError(f"The row of {reference} in the catalog cannot be read: {error}.") from error
            yield "restore", reference, before, before
            continue
        if isinstance(before, Provider) and isinstance(after, Provider):
            before = replace(before, balance=after.balance)  # balances have their own events
        if before != after:
            yield f"{'update' if before else 'add'}_{entity}", reference, before, after
    for reference in recorded.keys() - present.keys():
        yield "restore", reference, recorded[reference], recorded[reference]


def _check(before: Any, after: Any) -> None:
    """Refuse what can be read as a row, but not used."""
    if isinstance(after, Model) and after.api_config != getattr(before, "api_config", None):
        api_config(after.api_config)
    if isinstance(after, _Setting) and after.key == BUDGETS:
        for budget in SharedBudget.all_of(after.value):
            shared_budget(budget.scope, budget.amount, budget.alert_at, budget.provider)


def _price(
    connection: duckdb.DuckDBPyConnection, action: str, before: Model | None, after: Model, now: datetime
) -> Iterator[Change]:
    """The price history entry for a changed price: valid from now on, or for a new model from the beginning."""
    old = before.price if before else Price()
    new = {name: getattr(after.price, name) for name in PRICE_COLUMNS}
    if changed := {name: value for name, value in new.items() if value != getattr(old, name)}:
        entries = [price for price in _dated(connection).values() if price.reference == after.reference]
        entry = price_on(entries, now)
        price = replace(entry.price if entry else old, **changed)
        dated = DatedPrice(reference=after.reference, valid_from=now if before else None, price=price)
        yield Change(action, "price", after.reference, None, dated.to_row())


def _dated(connection: duckdb.DuckDBPyConnection) -> dict[str, DatedPrice]:
    prices = rows(connection, "SELECT * FROM llm_model_prices ORDER BY event_id")
    return {row["event_id"]: DatedPrice.from_row(row) for row in prices}


_BALANCES = f"""
    SELECT p.name, f.balance AS before, p.balance AS after FROM llm_providers p LEFT JOIN ({BALANCES}) f
        ON f.provider = p.name WHERE p.balance IS DISTINCT FROM f.balance"""
