"""The projection: journal events become rows, idempotently.

How far each segment was applied stands in the database itself and is moved in the same transaction as the rows, so that
a crash at any moment leaves either both or neither. A database is rebuilt by applying everything to an empty one.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence

import duckdb

from llmkit.store import apply_runs
from llmkit.store.apply_catalog import apply_catalog
from llmkit.store.journal import Entry, Event, Journal
from llmkit.store.tables import upsert

BATCH = 500
"""Events of one transaction. More go a little faster; but while a run goes on, every batch holds up the event loop."""
_ASKED = {"run", "intent", "outcome", "probe", "skip"}  # events of a run that leave the catalog as it is


def behind(connection: duckdb.DuckDBPyConnection, journal: Journal) -> bool:
    """Whether the journal holds bytes that this database has not seen (a torn last line counts: it may be whole)."""
    applied = offsets(connection)
    return any(size > applied.get(name, 0) for name, size in journal.sizes().items())


def due_for_catalog(connection: duckdb.DuckDBPyConnection, journal: Journal) -> Collection[str] | None:
    """The segments to apply before the catalog is read or edited; ``None`` is all of them.

    What is asked and answered in runs, here or in other kernels, does not change the catalog and can wait: applying it
    takes as long as several edits. What a run spent changes balances, and runs may go on from one segment to another,
    so where more than catalog changes wait in a segment that is due, everything is.
    """
    types = journal.types(offsets(connection))
    due = {name: found for name, found in types.items() if found - _ASKED}
    return set(due) if all(found == {"catalog"} for found in due.values()) else None


def leaves_catalog(journal: Journal, sizes: Mapping[str, int]) -> bool:
    """Whether nothing that was written after these sizes changes the catalog."""
    return all(found <= _ASKED for found in journal.types(sizes).values())


def offsets(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """How many bytes of each segment have been applied."""
    return dict(connection.execute("SELECT segment, applied_bytes FROM journal_segments").fetchall())


def last_event_id(connection: duckdb.DuckDBPyConnection) -> str:
    """The latest event applied; empty when there is none."""
    row = connection.execute("SELECT coalesce(max(last_event_id), '') FROM journal_segments").fetchone()
    return str(row[0]) if row else ""


def project(connection: duckdb.DuckDBPyConnection, journal: Journal, only: Collection[str] | None = None) -> int:
    """Apply what is missing, in batches of one transaction each; returns the number of events.

    ``only`` names the segments to apply; ``None`` is all.
    """
    applied, count = offsets(connection), 0
    entries = journal.read(applied, only)
    while batch := list(itertools.islice(entries, BATCH)):
        connection.begin()
        try:
            _apply(connection, [entry.event for entry in batch])
            _move_offsets(connection, batch)
            connection.commit()
        except BaseException:
            with contextlib.suppress(duckdb.TransactionException):  # a commit that failed has ended it already
                connection.rollback()
            raise
        count += len(batch)
    return count


def _move_offsets(connection: duckdb.DuckDBPyConnection, batch: Sequence[Entry]) -> None:
    last = {entry.segment: entry for entry in batch}
    rows = [
        {"segment": name, "applied_bytes": entry.end, "last_event_id": entry.event["id"]}
        for name, entry in last.items()
    ]
    upsert(connection, "journal_segments", ("segment", "applied_bytes", "last_event_id"), rows, key=("segment",))


def _apply(connection: duckdb.DuckDBPyConnection, events: Sequence[Event]) -> None:
    """Apply a batch: stretches of one kind in order; within a stretch of what was asked and answered, types in the
    order in which they depend on each other.
    """
    for _, stretch in itertools.groupby(events, key=_kind):
        by_type: dict[str, list[Event]] = {}
        for event in stretch:
            by_type.setdefault(event["type"], []).append(event)
        for kind, apply in _APPLY.items():
            if found := by_type.get(kind):
                apply(connection, found)


def _kind(event: Event) -> str:
    """Catalog changes and changes of a whole run must stay where they stand; all else may be grouped by type."""
    return str(event["type"]) if event["type"] in ("catalog", "skip", "run_state") else "asked"


_APPLY: dict[str, Callable[[duckdb.DuckDBPyConnection, Sequence[Event]], None]] = {
    "catalog": apply_catalog,
    "run": apply_runs.apply_runs,
    "intent": apply_runs.apply_intents,
    "outcome": apply_runs.apply_outcomes,
    "probe": apply_runs.apply_probes,
    "skip": apply_runs.apply_skips,
    "run_state": apply_runs.apply_run_states,
}
