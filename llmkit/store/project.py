"""The projection: journal events become rows, idempotently.

How far each segment was applied stands in the database itself and is moved in the same transaction as the rows, so that
a crash at any moment leaves either both or neither. A database is rebuilt by applying everything to an empty one. A
line that is damaged, of a type that is not known, or that does not fit into a table is set aside in
``journal_quarantine``; it keeps no other line out.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import duckdb

from llmkit.store import apply_runs, format_1
from llmkit.store.apply_catalog import apply_catalog, fold_balances
from llmkit.store.apply_runs import RunLine
from llmkit.store.journal import CATALOG, Block, Journal, Segment, segment
from llmkit.store.lines import Event, dumps, id_of, loads, verified
from llmkit.store.trouble import words

log = logging.getLogger("llmkit.store")

_LEAST, _MOST = 4 << 20, 32 << 20
"""Bytes of a run's segment that are applied in one transaction: more go faster, and hold others up for longer."""
_BATCH = 500
"""Events of one transaction where each is looked at."""
_CHANGES_CATALOG = {CATALOG, "run_state"}
_UNFIT = (duckdb.DataError, duckdb.IntegrityError, duckdb.InvalidInputException, LookupError, TypeError, ValueError,
          AttributeError)  # fmt: skip
"""What a line raises that does not fit, other than a disk that is full or a file that is damaged."""


class Line(NamedTuple):
    """A line of a segment and where it stands."""

    segment: str
    offset: int
    data: bytes


class _Batch(NamedTuple):
    """What one transaction applies."""

    lines: Sequence[Line]
    ends: Mapping[str, int]
    """How far each segment is applied then."""


def behind(connection: duckdb.DuckDBPyConnection, journal: Journal) -> bool:
    """Whether the journal holds bytes that this database has not seen (a torn last line counts: it may be whole)."""
    applied = offsets(connection)
    return any(size > applied.get(name, 0) for name, size in journal.sizes().items())


def due_for_catalog(connection: duckdb.DuckDBPyConnection, journal: Journal) -> Collection[str]:
    """The segments to apply before the catalog is read or edited.

    What is asked and answered in runs, here or in other kernels, does not change the catalog and can wait; what a run
    spent changes balances. In segments of the first format everything depends on what came before.
    """
    types = _types(journal, offsets(connection))
    due = {name for name, kinds in types.items() if kinds & _CHANGES_CATALOG}
    old = {name for name in types if not segment(name).about}
    return due | old if due & old else due


def leaves_catalog(journal: Journal, sizes: Mapping[str, int]) -> bool:
    """Whether nothing that was written after these sizes changes the catalog."""
    return not any(kinds & _CHANGES_CATALOG for kinds in _types(journal, sizes).values())


def _types(journal: Journal, applied: Mapping[str, int]) -> dict[str, set[str]]:
    """Which types of event come after the given offsets, by segment; of a catalog's segment only that it grew."""
    grown = {name: applied.get(name, 0) for name, size in journal.sizes().items() if size > applied.get(name, 0)}
    return {
        name: {CATALOG} if segment(name).about == CATALOG else journal.types(segment(name), offset)
        for name, offset in grown.items()
    }


def offsets(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """How many bytes of each segment have been applied."""
    return dict(connection.execute("SELECT segment, applied_bytes FROM journal_segments").fetchall())


def lost_segments(connection: duckdb.DuckDBPyConnection, journal: Journal) -> list[str]:
    """The segments that this database rests on and that are missing, or shorter than what was applied of them."""
    sizes = journal.sizes()
    return sorted(name for name, applied in offsets(connection).items() if applied > sizes.get(name, 0))


def set_aside(connection: duckdb.DuckDBPyConnection) -> int:
    """How many lines of the journal were set aside."""
    row = connection.execute("SELECT count(*) FROM journal_quarantine").fetchone()
    return int(row[0]) if row else 0


def last_event_id(connection: duckdb.DuckDBPyConnection) -> str:
    """The latest event applied; empty when there is none."""
    row = connection.execute("SELECT coalesce(max(last_event_id), '') FROM journal_segments").fetchone()
    return str(row[0]) if row else ""


def project(connection: duckdb.DuckDBPyConnection, journal: Journal, only: Collection[str] | None = None) -> None:
    """Apply what is missing, in batches of one transaction each; ``only`` names the segments, ``None`` is all."""
    applied = offsets(connection)
    due = [
        (segment(name), applied.get(name, 0), size)
        for name, size in journal.sizes().items()
        if size > applied.get(name, 0) and (only is None or name in only)
    ]
    runs = [each for each in due if each[0].about not in ("", CATALOG)]
    merged = _merged(journal, [each for each in due if each not in runs])
    while lines := list(itertools.islice(merged, _BATCH)):
        _apply(connection, _Batch(lines, _ends(lines)))
    for which, offset, size in runs:
        for block in journal.blocks(which, offset, min(max((size - offset) // 8, _LEAST), _MOST)):
            _apply(connection, _Batch(list(_lines(block)), {which.name: block.end}))


def _merged(journal: Journal, due: Sequence[tuple[Segment, int, int]]) -> Iterator[Line]:
    """The lines of several segments in the order of their ids."""

    def read(which: Segment, offset: int) -> Iterator[tuple[str, Line]]:
        last = ""
        for block in journal.blocks(which, offset, _LEAST):
            for each in _lines(block):
                last = id_of(each.data) or last  # a damaged line stays where it stands
                yield last, each

    merged = heapq.merge(*(read(which, offset) for which, offset, _ in due), key=lambda entry: entry[0])
    return (each for _, each in merged)


def _ends(lines: Sequence[Line]) -> dict[str, int]:
    return {each.segment: each.offset + len(each.data) + 1 for each in lines}


def _lines(block: Block) -> Iterator[Line]:
    offset = block.start
    for data in block.lines:
        yield Line(block.segment.name, offset, data)
        offset += len(data) + 1


def _apply(connection: duckdb.DuckDBPyConnection, batch: _Batch) -> None:
    """Apply a batch in one transaction; if a line of it does not fit, in halves, until that line is alone."""
    try:
        _in_transaction(connection, batch, _sort(connection, batch))
    except _UNFIT as error:
        if len(batch.lines) == 1:
            why = words(error) if isinstance(error, duckdb.Error) else error
            reason = f"does not fit: {type(error).__name__}: {why}"
            _in_transaction(connection, batch, _Sorted(aside=[(batch.lines[0], reason)]))
            return
        middle = len(batch.lines) // 2
        for lines in batch.lines[:middle], batch.lines[middle:]:
            _apply(connection, _Batch(lines, _ends(lines)))


def _in_transaction(connection: duckdb.DuckDBPyConnection, batch: _Batch, found: _Sorted) -> None:
    connection.begin()
    try:
        if found.catalog:
            apply_catalog(connection, found.catalog)
        if found.runs:
            apply_runs.apply_lines(connection, found.runs)
        if found.catalog or any(each.type == "run_state" for each in found.runs):
            fold_balances(connection)
        for each, reason in found.aside:
            log.warning("a line was set aside", extra={"segment": each.segment, "offset": each.offset})
            connection.execute(
                "INSERT INTO journal_quarantine VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [each.segment, each.offset, reason, each.data],
            )
        for name, end in batch.ends.items():
            connection.execute(
                "INSERT INTO journal_segments VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                "applied_bytes = excluded.applied_bytes, next_seq = coalesce(excluded.next_seq, next_seq), "
                "last_event_id = greatest(excluded.last_event_id, last_event_id), "
                "header = coalesce(excluded.header, header)",
                [name, end, found.last.get(name, ""), found.next_seq.get(name), found.headers.get(name)],
            )
        connection.commit()
    except BaseException:
        with contextlib.suppress(duckdb.TransactionException):  # a commit that failed has ended it already
            connection.rollback()
        raise


@dataclass(slots=True)
class _Sorted:
    """The lines of a batch by what is done with them."""

    catalog: list[Event] = field(default_factory=list)
    runs: list[RunLine] = field(default_factory=list)
    aside: list[tuple[Line, str]] = field(default_factory=list)
    last: dict[str, str] = field(default_factory=dict)
    next_seq: dict[str, int] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


def _sort(connection: duckdb.DuckDBPyConnection, batch: _Batch) -> _Sorted:
    found = _Sorted(next_seq=_next_seqs(connection, batch.ends))
    counted: dict[str, format_1.Counted] | None = None
    for each in batch.lines:
        which = segment(each.segment)
        if which.about:
            _take(found, which, each)
        elif each.data:
            counted = _counted(connection) if counted is None else counted
            _take_old(found, each, counted)
    return found


def _take(found: _Sorted, which: Segment, each: Line) -> None:
    seen, name = verified(each.data), each.segment
    expected = found.next_seq.get(name, 0)
    if seen is None:
        found.aside.append((each, "damaged"))
        found.next_seq[name] = expected + 1
        return
    event_id, kind, seq = seen
    if seq != expected:
        found.aside.append((each, f"line {seq} stands where line {expected} should"))
    found.next_seq[name] = seq + 1
    found.last[name] = max(event_id, found.last.get(name, ""))
    if kind == "segment":
        found.headers[name] = each.data.decode()
    elif kind == "catalog":
        found.catalog.append(loads(each.data))
    elif kind in apply_runs.TYPES:
        found.runs.append(RunLine(which.about, event_id, kind, each.data))
    else:
        found.aside.append((each, f"type {kind} is not known to this version"))


def _take_old(found: _Sorted, each: Line, counted: dict[str, format_1.Counted]) -> None:
    try:
        event = loads(each.data)
    except ValueError:
        found.aside.append((each, "damaged"))
        return
    found.last[each.segment] = max(event["id"], found.last.get(each.segment, ""))
    if event["type"] == "catalog":
        found.catalog.append(event)
    elif event["type"] in apply_runs.TYPES:
        modern = format_1.modern(event, counted)
        found.runs.extend(RunLine(event["run_id"], event["id"], now["type"], dumps(now)) for now in modern)
    else:
        found.aside.append((each, f"type {event['type']} is not known to this version"))


def _next_seqs(connection: duckdb.DuckDBPyConnection, names: Collection[str]) -> dict[str, int]:
    rows = connection.execute("SELECT segment, next_seq FROM journal_segments WHERE next_seq IS NOT NULL").fetchall()
    return {name: seq for name, seq in rows if name in names}


def _counted(connection: duckdb.DuckDBPyConnection) -> dict[str, format_1.Counted]:
    rows = connection.execute(
        "SELECT run_id, max(number), coalesce(max(number) FILTER (status = 'running'), 0) FROM run_states GROUP BY ALL"
    ).fetchall()
    return {run_id: format_1.Counted(states, session) for run_id, states, session in rows}
