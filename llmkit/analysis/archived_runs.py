"""Archived runs: written as Parquet and read in place, however many there are.

Costs come from the same SQL as ``run.costs()``, summed in DECIMAL; memory does not grow with the number of rows.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa

from llmkit.analysis import annotating
from llmkit.analysis.costs import cost_table
from llmkit.errors import ValidationError
from llmkit.records import Provider
from llmkit.records.checks import shapes
from llmkit.records.checks.near_names import columns_named
from llmkit.records.checks.texts import counted
from llmkit.runs import request_texts, stored_plan
from llmkit.runs.plan import Plan
from llmkit.store import Snapshot, Store, events, parquet, user_sql
from llmkit.store.tables import quoted

T = TypeVar("T")

_STILL_RUNNING = "This run is still running: wait until it has ended, or cancel it first."

BATCH = 65_536
"""The most rows in an Arrow batch."""


def dataset(url: str | os.PathLike[str]) -> Dataset:
    """The runs archived in a folder or at a URL (``s3://…`` and whatever else fsspec can open).

    Raises:
        ValidationError: there are none, or they cannot be read.
    """
    return Dataset(url)


class Dataset:
    """Archived runs, read in place and on demand. Made by :func:`llmkit.dataset`."""

    def __init__(self, url: str | os.PathLike[str]) -> None:
        self._folder = parquet.Folder(shapes.url(url))
        self._connection = self._folder.connect()

    @property
    def runs(self) -> pd.DataFrame:
        """One row per run, as of its archiving: run_id, name, kind, status, n_probes, started_at …"""
        return self.sql("SELECT run_id, * EXCLUDE (run_id, id, arms, session) FROM runs ORDER BY started_at, run_id")

    def costs(self, by: str | Sequence[str] = "model", since: datetime | date | str | None = None) -> pd.DataFrame:
        """Probes, tokens and costs (US dollars) of all runs by one or several columns, as in ``kit.costs`` but without
        the shares. Memory does not grow with the number of rows.

        Raises:
            ValidationError: no column or an unknown one; the message lists the known ones.
        """
        return cost_table(self, by, since=since, shares=False)

    def sql(self, query: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Run a SELECT over the views ``runs``, ``scenarios``, ``probes``, ``turns``, ``attempts``, and nothing else.
        ``params``: values for each ``?``, or a dict for ``$names``.

        Raises:
            ValidationError: as in ``kit.sql``.
        """
        return user_sql.ask(self._connection.cursor(), query, user_sql.checked(params))

    def probes(self, columns: Sequence[str] | None = None, where: str | None = None) -> pa.RecordBatchReader:
        """Stream probes as Arrow batches, in no particular order; they need not fit into memory.

        ``columns``: any of ``run.probes``, including dimensions and ``answer.…`` (default: all). ``where``: an SQL
        condition, such as ``"status = 'ok' AND model = 'openai:gpt-6-luna'"``.

        Raises:
            ValidationError: an unknown column, or a condition that DuckDB does not understand.
        """
        stored = self.look(lambda c: c.sql("FROM probes").columns)
        shown = [name for name in parquet.HIDDEN if parquet.archived(name) in stored]
        chosen = _chosen(columns, [name for name in stored if name not in map(parquet.archived, shown)])
        values = {name: quoted(parquet.archived(name)) for name in shown}
        swapped = ", ".join(f"{value} AS {name}" for name, value in values.items())
        stars = f"* EXCLUDE ({', '.join(values.values())}) REPLACE ({swapped})" if values else "*"
        names, condition = ", ".join(map(quoted, chosen)), "" if where is None else f" WHERE ({where})"
        query = f"SELECT {names} FROM (SELECT {stars} FROM probes){condition}"
        return self.look(lambda c: c.sql(query).to_arrow_reader(BATCH))

    def look(self, question: Callable[[Snapshot], T], about: str | None = None) -> T:
        """Run a query written for a store's snapshot on the archived tables."""
        return parquet.ask(self._connection, question)

    def __repr__(self) -> str:
        runs, probes = self.look(lambda c: c.execute("SELECT count(*), sum(n_probes) FROM runs").fetchone() or (0, 0))
        return f"<Dataset {self._folder.url}: {counted(runs, 'run')}, {probes:,} probes>"


def _pages(store: Store, run_id: str, plan: Plan, table: str) -> Iterator[pa.Table]:
    """A table of a run as archived, with all texts, in pages of at most :data:`parquet.PAGE` probes."""

    def page(name: str, first: int) -> pa.Table:
        return store.read(lambda c: parquet.page(c, name, run_id, first))

    firsts = range(0, max(len(plan), 1), parquet.PAGE) if table in parquet.PAGED else range(1)
    if table != "attempts":
        return (page(table, first) for first in firsts)
    providers = store.catalog().providers
    return (_with_requests(page("attempts", first), page("turns", first), plan, providers) for first in firsts)


def _with_requests(attempts: pa.Table, turns: pa.Table, plan: Plan, providers: Mapping[str, Provider]) -> pa.Table:
    """The bodies that were sent, rebuilt."""
    answers = zip(turns["position"].to_pylist(), turns["response"].to_pylist(), strict=True)
    requests = attempts.select(["request", "request_hash", "position", "turn", "dropped", "batch"]).to_pylist()
    for request in requests:
        request["dropped"] = json.loads(request["dropped"] or "[]")
    bodies = request_texts(plan, providers, requests, answers)
    return attempts.set_column(attempts.schema.get_field_index("request"), "request", pa.array(bodies, pa.string()))


def batches(store: Store, run_id: str, table: str, columns: Sequence[str] | None) -> pa.RecordBatchReader:
    """A table of a run, holding one page in memory at a time; see :meth:`llmkit.Run.batches`."""
    pages = map(_shown, _pages(store, run_id, stored_plan(store.run(run_id, with_scenarios=True)), table))
    first = next(pages)
    chosen = _chosen(columns, first.column_names)
    schema = first.select(chosen).schema
    tables = (page.select(chosen).cast(schema) for page in itertools.chain([first], pages))
    return pa.RecordBatchReader.from_batches(schema, (batch for each in tables for batch in each.to_batches(BATCH)))


def _shown(page: pa.Table) -> pa.Table:
    for name in parquet.HIDDEN:
        if (stored := parquet.archived(name)) in page.column_names:
            place = page.column_names.index(name)
            page = page.set_column(place, name, page[stored]).drop_columns([stored])
    return page


def _chosen(columns: str | Sequence[str] | None, known: Sequence[str]) -> list[str]:
    return list(known) if columns is None else columns_named(columns, known, "columns")


def write(store: Store, run_id: str, url: str) -> None:
    """Archive a run: write its tables, read them back and compare."""
    if store.is_live(run_id):
        raise ValidationError(_STILL_RUNNING, field="run")
    _write(store, run_id, parquet.Folder(url))


def move(store: Store, run_id: str, url: str, actor: str) -> None:
    """Archive a run and drop its texts from the database, now and whenever it is rebuilt from the journal."""
    if not store.claim_run(run_id):  # nobody may resume it during the move
        raise ValidationError(_STILL_RUNNING, field="run")
    try:
        if store.run(run_id)["status"] == "running":
            raise ValidationError(f"This run was interrupted, and kit.resume({run_id!r}) needs its texts.", field="run")
        folder = parquet.Folder(url)
        _write(store, run_id, folder)
        annotating.note(store, run_id, actor, {events.ARCHIVE: folder.place})
    finally:
        store.release_run(run_id)
    store.sync()


def _write(store: Store, run_id: str, folder: parquet.Folder) -> None:
    plan = stored_plan(store.run(run_id, with_scenarios=True))
    for table in parquet.TABLES:
        folder.write(table, run_id, _pages(store, run_id, plan, table))
    with folder.connect() as archived:
        if parquet.tally(archived, run_id) != store.read(lambda c: parquet.tally(c, run_id)):
            raise ValidationError(
                f"{folder.url} does not contain what was written to it: archive the run again.", field="url"
            )
