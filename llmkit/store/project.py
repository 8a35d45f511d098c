"""The projection: journal events become rows, idempotently.

The database itself records how far each segment was applied, in the same transaction as the rows, so that a crash at
any moment leaves either both or neither. A database is rebuilt by applying everything to an empty one. A line that is
damaged, of unknown type or does not fit into a table is set aside in ``journal_quarantine``, without blocking others.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import duckdb

from llmkit.store import apply_runs, damage
from llmkit.store.apply_catalog import apply_catalog, fold_balances
from llmkit.store.damage import FOREIGN
from llmkit.store.journal import Block, Journal
from llmkit.store.lines import id_of
from llmkit.store.queries import column
from llmkit.store.segments import CATALOG, Segment, is_copy, segment
from llmkit.store.triage import Aside, Sorted, known_now, sort
from llmkit.store.trouble import words

log = logging.getLogger("llmkit.store")

_FEW, _MANY = 8 << 20, 32 << 20
"""Bytes of run lines per transaction, in a small journal and in one of a gigabyte: more is faster (100 µs of CPU an
attempt with 8 MB, 67 with 32, no fewer with 64), but takes seven times those bytes of memory.
"""
_BLOCK = 1 << 20
"""Bytes of a segment split into lines at once, during which no other thread runs."""
_AT_ONCE = 64 << 20
"""Bytes of segments in memory while they are merged."""
_BATCH = 500
"""Events per transaction where segments are merged line by line."""
_UNFIT = (duckdb.DataError, duckdb.IntegrityError, duckdb.InvalidInputException, LookupError, TypeError, ValueError,
          AttributeError)  # fmt: skip
"""Raised by a line that does not fit, but not by a full disk or a damaged file."""


class Unfinished(Exception):
    """More of the journal remains to be applied; internal to the store. ``share`` is what has been applied so far."""

    def __init__(self, share: float) -> None:
        super().__init__(share)
        self.share = share


class _Due(NamedTuple):
    """A segment that has grown to ``size`` since it was applied up to ``offset``."""

    segment: Segment
    offset: int
    size: int


def behind(connection: duckdb.DuckDBPyConnection, journal: Journal, *, catalog_only: bool = False) -> list[_Due]:
    """The segments with bytes not yet applied (a torn last line counts: it may be complete by now).

    ``catalog_only``: those to apply before the catalog is read or edited. Requests and answers of runs, here or in
    other kernels, do not change it and can wait; what a run spent changes balances. In segments of format 1 each line
    depends on those before it.
    """
    due = _grown(journal, dict(connection.execute("SELECT segment, applied_bytes FROM journal_segments").fetchall()))
    if not catalog_only:
        return due
    changing = {each for each in due if _changes_catalog(journal, each)}
    is_old = any(not each.segment.about for each in changing)
    return [each for each in due if each in changing or (is_old and not each.segment.about)]


def leaves_catalog(journal: Journal, sizes: Mapping[str, int]) -> bool:
    """Whether nothing written beyond these sizes changes the catalog."""
    return not any(_changes_catalog(journal, each) for each in _grown(journal, sizes))


def _grown(journal: Journal, applied: Mapping[str, int]) -> list[_Due]:
    ends = ((name, applied.get(name, 0), size) for name, size in journal.sizes().items())
    return [_Due(segment(name), offset, size) for name, offset, size in ends if size > offset]


def _changes_catalog(journal: Journal, due: _Due) -> bool:
    is_certain = due.segment.about == CATALOG  # its lines need not be read
    return is_certain or not journal.types(due.segment, due.offset).isdisjoint({CATALOG, "run_state"})


def set_aside(connection: duckdb.DuckDBPyConnection) -> int:
    """How many journal lines were set aside, foreign segments not counted."""
    return int(column(connection, "SELECT count(*) FROM journal_quarantine WHERE reason != ?", [FOREIGN])[0])


def follow(connection: duckdb.DuckDBPyConnection, journal: Journal) -> None:
    """Make new events come after everything that was applied."""
    rows = connection.execute(
        "SELECT segment, last_event_id FROM journal_segments ANTI JOIN "
        "(FROM journal_quarantine WHERE reason = ?) aside USING (segment)",
        [FOREIGN],
    ).fetchall()
    latest = max((name for name, _ in rows if not is_copy(name)), default="")
    journal.follow(next(iter(damage.journals(connection)), ""), latest, max((last for _, last in rows), default=""))


def project(
    connection: duckdb.DuckDBPyConnection,
    journal: Journal,
    *,
    catalog_only: bool = False,
    adopting: bool = False,
    within: float = math.inf,
) -> bool:
    """Apply what is missing, one transaction per batch, and return whether anything was.

    ``catalog_only`` as for :func:`behind`. ``adopting``: take in the runs of other journals, but never their catalogs,
    whose ids mean other entries.

    Raises:
        Unfinished: it takes longer than ``within`` seconds; what has been applied is committed.
    """
    until, total = time.monotonic() + within, sum(journal.sizes().values())
    due = behind(connection, journal, catalog_only=catalog_only)
    if not due:
        return False
    due = _without_foreign(connection, journal, due, adopting)
    runs = [each for each in due if each.segment.about not in ("", CATALOG)]
    merged = _merged(journal, [each for each in due if each.segment.about in ("", CATALOG)])
    catalog = iter(lambda: list(itertools.islice(merged, _BATCH)), [])
    most = min(_MANY, max(_FEW, total // 32))
    all_due = left = sum(each.size - each.offset for each in due)
    try:
        for blocks in itertools.chain(catalog, _gathered(journal, runs, most)):
            _apply(connection, blocks)
            left -= sum(block.end - block.start for block in blocks)
            if left and time.monotonic() > until:
                raise Unfinished(1 - left / total)
            del blocks  # before the next are read
    finally:
        if all_due > _FEW // 2:
            duckdb.connect().close()  # as an instance ends, DuckDB returns what all have freed: 150 MiB
    return True


def _without_foreign(
    connection: duckdb.DuckDBPyConnection, journal: Journal, due: Sequence[_Due], adopting: bool
) -> list[_Due]:
    """The segments of this journal. Each segment of another one is set aside as a whole, in one row."""
    noted = column(connection, "SELECT segment FROM journal_segments WHERE header IS NOT NULL")
    unseen = {each.segment.name for each in due}.difference(noted)
    foreign = damage.foreign(connection, journal, unseen) if unseen else set()
    if adopting:
        foreign = {name for name in foreign if segment(name).about == CATALOG}
    for which, _, size in due:
        if which.name in foreign:
            aside = Aside(which.name, 0, FOREIGN, b"")
            _in_transaction(connection, Sorted(aside=[aside]), {which.name: size})
    return [each for each in due if each.segment.name not in foreign]


def adopt(connection: duckdb.DuckDBPyConnection) -> None:
    """Reconsider the segments that were set aside as belonging to another journal."""
    names = column(connection, "SELECT segment FROM journal_quarantine WHERE reason = ?", [FOREIGN])
    for table in ("journal_segments", "journal_quarantine"):
        connection.execute(f"DELETE FROM {table} WHERE segment IN (SELECT unnest(?))", [names])


def take_up(connection: duckdb.DuckDBPyConnection) -> None:
    """Apply lines that an earlier version set aside as unknown or unfit."""
    rows = connection.execute("""
        SELECT segment, "offset", line FROM journal_quarantine
        WHERE starts_with(reason, 'type ') OR starts_with(reason, 'does not fit') ORDER BY ALL""").fetchall()
    for name, offset, data in rows:
        if (lines := known_now(name, data)) is not None:
            with contextlib.suppress(*_UNFIT):  # it stays set aside
                _in_transaction(connection, lines, {})
                connection.execute('DELETE FROM journal_quarantine WHERE segment = ? AND "offset" = ?', [name, offset])


def _gathered(journal: Journal, due: Sequence[_Due], most: int) -> Iterator[list[Block]]:
    """The lines of runs, in batches of about ``most`` bytes."""
    gathered: list[Block] = []
    held = 0
    for which, offset, end in due:
        for block in journal.blocks(which, offset, min(end - offset, _BLOCK)):
            size = block.end - block.start
            if gathered and held + size > most:
                yield gathered
                gathered, held = [], 0
            gathered.append(block)
            held += size
    if gathered:
        yield gathered


def _merged(journal: Journal, due: Sequence[_Due]) -> Iterator[Block]:
    """The lines of several segments, merged in the order of their ids."""

    size = min(_BLOCK, max(_AT_ONCE // max(len(due), 1), 1 << 14))

    def read(which: Segment, offset: int) -> Iterator[tuple[str, Block]]:
        last = ""
        for block in journal.blocks(which, offset, size):
            for each in block.singly():
                last = id_of(each.lines[0]) or last  # a damaged line keeps its place
                yield last, each

    merged = heapq.merge(*(read(which, offset) for which, offset, _ in due), key=lambda entry: entry[0])
    return (each for _, each in merged)


def _apply(connection: duckdb.DuckDBPyConnection, blocks: Sequence[Block]) -> None:
    """Apply lines in one transaction; if one does not fit, split them in halves until that line is alone."""
    ends = {block.segment.name: block.end for block in blocks}
    try:
        lines = sort(connection, blocks)
        try:
            _in_transaction(connection, lines, ends, are_new=True)
        except duckdb.ConstraintException:  # a copy of a segment, or a probe that a resumed run has asked again
            _in_transaction(connection, lines, ends)
    except _UNFIT as error:
        singly = [each for block in blocks for each in block.singly()]
        if len(singly) == 1:
            (which, [data], start, _), why = singly[0], words(error) if isinstance(error, duckdb.Error) else error
            aside = Aside(which.name, start, f"does not fit: {type(error).__name__}: {why}", data)
            _in_transaction(connection, Sorted(aside=[aside]), ends)
            return
        middle = len(singly) // 2
        _apply(connection, singly[:middle])
        _apply(connection, singly[middle:])


def _in_transaction(
    connection: duckdb.DuckDBPyConnection, lines: Sorted, ends: Mapping[str, int], *, are_new: bool = False
) -> None:
    """Write the rows of lines that ``are_new`` (or perhaps not), and up to where segments are now applied."""
    connection.begin()
    try:
        if ends:  # all in one statement: a journal may have thousands of segments
            last = [lines.last.get(name, "") for name in ends]
            rest = ([column.get(name) for name in ends] for column in (lines.next_seq, lines.headers))
            connection.execute(
                "INSERT INTO journal_segments SELECT unnest(?::VARCHAR[]), unnest(?::BIGINT[]), unnest(?::VARCHAR[]), "
                "unnest(?::BIGINT[]), unnest(?::VARCHAR[]) ON CONFLICT DO UPDATE SET "
                "applied_bytes = excluded.applied_bytes, next_seq = coalesce(excluded.next_seq, next_seq), "
                "last_event_id = greatest(excluded.last_event_id, last_event_id), "
                "header = coalesce(excluded.header, header)",
                [list(ends), list(ends.values()), last, *rest],
            )
        if lines.catalog:
            apply_catalog(connection, lines.catalog)
        if lines.runs:
            apply_runs.apply_lines(connection, lines.runs, are_new=are_new)
        if lines.catalog or "run_state" in lines.runs:
            fold_balances(connection)
        for aside in lines.aside:
            log.warning("a line was set aside", extra={"segment": aside.segment, "offset": aside.offset})
            connection.execute("INSERT INTO journal_quarantine VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", aside)
        connection.commit()
    except BaseException:
        with contextlib.suppress(duckdb.TransactionException):  # a failed commit has already ended it
            connection.rollback()
        raise
