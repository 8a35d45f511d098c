"""Turn catalog events into rows: each event carries the whole entry after the change."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence

import duckdb

from llmkit.records import Provider
from llmkit.store.lines import Event
from llmkit.store.tables import Row, cast, upsert


def apply_catalog(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    """Write the events, and the entries after the change; an entry that a later event has changed is left alone."""
    latest = dict(
        connection.execute(
            "SELECT entity || ' ' || reference, max(event_id) FROM catalog_events "
            "WHERE reference IN (SELECT unnest(?)) GROUP BY ALL",
            [[event["reference"] for event in events]],
        ).fetchall()
    )
    rows = [{**event, "event_id": event["id"]} for event in events]
    upsert(connection, "catalog_events", rows, "event_id")
    due = [e for e in events if e["entity"] in _LOGS or e["id"] > latest.get(f"{e['entity']} {e['reference']}", "")]
    for entity, group in itertools.groupby(due, key=lambda event: event["entity"]):
        if entity != "balance":  # fold_balances handles these
            _ENTITIES[entity](connection, list(group))


PRICE_EVENTS = """
    SELECT event_id, after FROM catalog_events e LEFT JOIN (
        SELECT reference, max(event_id) AS gone FROM catalog_events
        WHERE entity = 'model' AND after IS NULL GROUP BY ALL
    ) USING (reference) WHERE entity = 'price' AND (gone IS NULL OR event_id > gone) ORDER BY event_id"""
"""The entries of the price history, without those of models deleted since."""


def restore_prices(connection: duckdb.DuckDBPyConnection) -> None:
    """Rebuild the price history from its events, without what was written into it with SQL."""
    recorded = connection.execute(PRICE_EVENTS).fetchall()
    connection.begin()
    connection.execute("DELETE FROM llm_model_prices")
    _apply_prices(connection, [{"id": event_id, "after": json.loads(after)} for event_id, after in recorded])
    connection.commit()


def fold_balances(connection: duckdb.DuckDBPyConnection) -> None:
    """Recompute each balance: the amount last entered, plus the changes of events with later ids."""
    connection.execute(f"""
        UPDATE llm_providers SET balance = f.balance FROM ({BALANCES}) f
        WHERE f.provider = llm_providers.name AND f.balance IS DISTINCT FROM llm_providers.balance
    """)


def deducted(events: str = "true") -> str:
    """SQL for what such events deducted for a run from a balance: what its processes, which may not know of each other,
    know to have been spent so far; of lines of earlier versions the sum.
    """
    added_up = f"sum(amount) FILTER (so_far IS NULL AND {events})"
    return f"coalesce(greatest(max(so_far) FILTER ({events}), {added_up}), 0)"


BALANCES = f"""
    WITH entered AS (
        SELECT reference AS provider, max(event_id) AS entered_id,
            max_by(coalesce(after ->> '$.amount', ''), event_id) AS entered
        FROM catalog_events WHERE entity = 'balance' AND json_exists(after, '$.amount') GROUP BY ALL
    ), changes AS (
        SELECT event_id, reference AS provider, event_id AS run_id, NULL AS so_far,
            -TRY_CAST(after ->> '$.delta' AS DECIMAL(38, 10)) AS amount
        FROM catalog_events WHERE entity = 'balance' AND json_exists(after, '$.delta')
        UNION ALL BY NAME SELECT event_id, provider, run_id, so_far, amount FROM provider_balance_deductions
    ), by_run AS (
        SELECT e.provider, any_value(entered) AS entered,
            {deducted()} - {deducted("event_id <= entered_id")} AS amount
        FROM entered e LEFT JOIN changes c ON c.provider = e.provider GROUP BY e.provider, run_id
    ), sums AS (
        SELECT provider, TRY_CAST(any_value(entered) AS DECIMAL(38, 10)) - sum(amount) AS balance
        FROM by_run GROUP BY provider
    )
    SELECT provider, {cast("balance", "DECIMAL(18, 10)")} AS balance FROM sums"""


def _apply_providers(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    kept, gone = _latest(events)
    connection.execute("DELETE FROM llm_providers WHERE name IN (SELECT unnest(?))", [gone])
    providers = [Provider.from_row(row).to_row() for row in kept]  # old events name no dialect
    upsert(connection, "llm_providers", providers, "id")  # fold_balances then corrects their balances


def _apply_models(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    kept, gone = _latest(events)
    connection.execute(
        "DELETE FROM llm_models USING llm_providers p WHERE p.id = provider_id "
        "AND p.name || ':' || model_id IN (SELECT unnest(?))",
        [gone],
    )
    connection.execute("DELETE FROM llm_model_prices WHERE reference IN (SELECT unnest(?))", [gone])
    provider_ids = dict(connection.execute("SELECT name, id FROM llm_providers").fetchall())
    rows = [{**row, "provider_id": provider_ids[row["provider"]]} for row in kept]
    # clear the old default first, or the unique index would reject the new one
    connection.execute(
        "UPDATE llm_models SET is_default = false WHERE is_default AND id IN (SELECT unnest(?))",
        [[row["id"] for row in rows]],
    )
    upsert(connection, "llm_models", rows, "id")


def _apply_prices(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    rows = [{**event["after"], "event_id": event["id"]} for event in events]
    upsert(connection, "llm_model_prices", rows, "event_id")


def _apply_settings(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    rows = [{**row, "value": json.dumps(row["value"])} for row in _latest(events)[0]]
    upsert(connection, "system_settings", rows, "id")


def _apply_syncs(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    rows = [{**e["after"], "event_id": e["id"], "provider": e["reference"], "at": e["at"]} for e in events]
    upsert(connection, "provider_balance_syncs", rows, "event_id")


_LOGS = ("price", "sync")
"""Entities with one row per event."""

_ENTITIES: Mapping[str, Callable[[duckdb.DuckDBPyConnection, Sequence[Event]], None]] = {
    "provider": _apply_providers,
    "model": _apply_models,
    "price": _apply_prices,
    "setting": _apply_settings,
    "sync": _apply_syncs,
}


def _latest(events: Sequence[Event]) -> tuple[list[Row], list[str]]:
    """The last state of each entry, and the references of deleted ones; an upsert may name a row only once."""
    latest = {event["reference"]: event.get("after") for event in events}  # lines hold no nulls
    return [row for row in latest.values() if row is not None], [name for name, row in latest.items() if row is None]
