"""Undo the last edit: restore the previous values by a new edit; the history is never erased."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

import pandas as pd

from llmkit.catalog.rules import OWN_ACTORS
from llmkit.errors import EditConflict, ValidationError
from llmkit.money.amounts import column_in_words, dollars
from llmkit.records import DatedPrice, Model, Price, Provider, columns, price_on, since
from llmkit.store import Edit

ACTION = "undo"
_BOOKKEEPING = ("id", "created_at", "updated_at", "balance")
_HIDDEN = (*_BOOKKEEPING, "key")
_LABELS = {"amount": "balance", "is_default": "default", "is_enabled": "enabled", "value": " "}

Event = Mapping[str, Any]
Entry = TypeVar("Entry", Provider, Model)


def last_edit(events: pd.DataFrame) -> Sequence[Event]:
    """The events of the users' last edit that is not undone yet, oldest first."""
    mine = events[~events["actor"].isin(OWN_ACTORS) & events["action"].ne("restore")]  # that changed nothing
    open_edits: list[Sequence[Event]] = []
    for _, entries in mine.groupby("edit_id", sort=False):
        edit = columns.rows(entries)
        if edit[0]["action"] != ACTION:
            open_edits.append(edit)
        elif open_edits:
            open_edits.pop()
    if not open_edits:
        raise ValidationError("There is no change to undo.")
    return open_edits[-1]


def is_addition(event: Event) -> bool:
    """Whether the event added a provider or a model."""
    return event["entity"] in ("provider", "model") and not event["before"]


def in_words(events: Sequence[Event]) -> str:
    """The changes of these events, one clause per entry: ``openai:gpt-6-luna: input price $0.10 → $0.25``."""
    models = {event["reference"] for event in events if event["entity"] == "model"}
    clauses = []
    for event in events:
        if event["after"] is None:
            clauses.append(f"{event['reference']}: deleted")
        elif is_addition(event):
            clauses.append(f"{event['reference']}: added")
        elif event["entity"] == "price" and event["reference"] not in models:
            begins = event["after"]["valid_from"]
            clauses.append(f"{event['reference']}: the price from {begins[:10] if begins else 'the beginning'} on")
        elif event["entity"] not in ("price", "sync"):
            clauses.append(f"{event['reference']}: {_difference(event['before'] or {}, event['after']) or 'changed'}")
    return "; ".join(clauses)


def _difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    sides = ((name, _read(name, before.get(name)), _read(name, after[name])) for name in after if name not in _HIDDEN)
    return ", ".join(_change(name, old, new) for name, old, new in sides if old != new)


def _read(column: str, value: Any) -> Any:
    """A value of an event. Texts of the same number may end with more zeros if SQL has changed the row."""
    with contextlib.suppress(ValueError, TypeError, ArithmeticError):  # in a setting, anything may be called so
        if column == "batch_discount":
            return float(value)
        return Decimal(value) if "cost_" in column or column == "amount" else value
    return value


def _change(column: str, before: Any, after: Any) -> str:
    label = _LABELS.get(column) or column_in_words(column)
    old, new = _value(_only(before, after)), _value(_only(after, before))
    is_moved = old == new and isinstance(before, list)
    return (f"{label} in another order" if is_moved else f"{label} {old} → {new}").strip()


def _only(one: Any, other: Any) -> Any:
    """What only ``one`` has of two lists or mappings; other values are returned whole."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {name: each for name, each in one.items() if name not in other or other[name] != each}
    both = isinstance(one, list) and isinstance(other, list)
    return [each for each in one if each not in other] if both else one


def _value(value: Any) -> str:
    if isinstance(value, Decimal):
        return dollars(value, exact=True)
    if isinstance(value, list):
        return "; ".join(map(_value, value)) or "none"
    if isinstance(value, dict):
        named = ((column_in_words(name), _read(name, each)) for name, each in value.items() if each is not None)
        return ", ".join(f"{name} {_value(each)}" for name, each in named) or "none"
    return "none" if value is None else str(value) if not isinstance(value, bool) else "yes" if value else "no"


def take_back(edit: Edit, events: Sequence[Event], now: datetime) -> tuple[str, ...]:
    """Restore the values from before these events; return the references of changed entries."""
    for event in reversed(events):
        _TAKE_BACK[event["entity"]](edit, event, now)
    return tuple(dict.fromkeys(event["reference"] for event in events))


def _provider(edit: Edit, event: Event, now: datetime) -> None:
    before, current = _before(Provider, event, edit.state.providers)
    if before is None:
        edit.drop_provider(event["reference"], ACTION)
    else:
        edit.put_provider(replace(before, balance=current.balance) if current else before, ACTION)


def _model(edit: Edit, event: Event, now: datetime) -> None:
    before, _ = _before(Model, event, edit.state.models)
    if before is None:
        edit.drop_model(event["reference"], ACTION)
        return
    for price in event["before"]["prices"] if event["after"] is None else ():
        edit.add_price(DatedPrice.from_row(price), ACTION)
    edit.put_model(before, ACTION)


def _before(record: type[Entry], event: Event, entries: Mapping[str, Entry]) -> tuple[Entry | None, Entry | None]:
    """The entry before the event, if there was one, and now. Raises EditConflict if it is not as the event left it."""
    current = entries.get(event["reference"])
    if event["after"] is None:
        if current is not None:
            raise EditConflict(f"There is another {event['reference']} now, so the deleted one cannot be restored.")
    else:
        kept = {name: getattr(current, name) for name in _BOOKKEEPING if hasattr(current, name)}
        if replace(record.from_row(event["after"]), **kept) != current:
            raise EditConflict(f"{event['reference']} was changed again since, so the change cannot be undone.")
    return record.from_row(event["before"]) if event["before"] else None, current


def _price(edit: Edit, event: Event, now: datetime) -> None:
    """From the entry's day but not before now, append prices until those hold that held before it was made."""
    entry, history = DatedPrice.from_row(event["after"]), edit.history()
    if entry.reference not in edit.state.models:
        return  # its model was added by the same edit
    ours = history["entity"].eq("price") & history["reference"].eq(entry.reference) & ~history["actor"].isin(OWN_ACTORS)
    kept = list(reversed(edit.state.prices[entry.reference]))
    for after in history["after"][ours & history["event_id"].ge(event["event_id"])]:  # all undone, or made by undoing
        with contextlib.suppress(ValueError):  # SQL has removed it
            kept.remove(DatedPrice.from_row(after))
    kept.reverse()
    first = max(since(entry.valid_from), now)
    for begins in sorted({first, *(since(each.valid_from) for each in edit.state.prices[entry.reference])}):
        before = price_on(kept, begins) or DatedPrice(reference=entry.reference, price=Price())
        current = price_on(edit.state.prices[entry.reference], begins)
        if begins == first or (begins > first and current and before.price != current.price):
            edit.add_price(replace(before, valid_from=begins.astimezone(UTC)), ACTION)


def _setting(edit: Edit, event: Event, now: datetime) -> None:
    if edit.state.settings.get(event["reference"]) != event["after"]["value"]:
        raise EditConflict(f"{event['reference']} was changed again since, so the change cannot be undone.")
    edit.put_setting(event["reference"], event["before"]["value"] if event["before"] else None, ACTION)


def _balance(edit: Edit, event: Event, now: datetime) -> None:
    """Reverse the amount of the change; what runs have spent since stays deducted."""
    before, after = (_read("amount", (event[side] or {}).get("amount")) for side in ("before", "after"))
    current = edit.state.providers[event["reference"]].balance
    restored = before if None in (before, after, current) else current - (after - before)
    edit.set_balance(event["reference"], restored, ACTION)


_TAKE_BACK: Mapping[str, Callable[[Edit, Event, datetime], None]] = {
    "provider": _provider,
    "model": _model,
    "price": _price,
    "setting": _setting,
    "balance": _balance,
    "sync": lambda edit, event, now: None,  # the log of a sync stays, because it did happen
}
