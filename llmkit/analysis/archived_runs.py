"""Archived runs: written as Parquet, read in place however many there are.

The sums are those of ``run.costs()``, made in DECIMAL by the same SQL; memory does not grow with the number of rows.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, TypeVar

import pandas as pd
import pyarrow as pa

from llmkit.analysis.costs import cost_table
from llmkit.errors import ValidationError
from llmkit.records.checks import shapes
from llmkit.records.checks.near_names import unknown_column
from llmkit.runs import request_texts, stored_plan
from llmkit.store import Snapshot, Store, parquet, queries

T = TypeVar("T")

BATCH = 65_536
"""Rows of one Arrow batch, at most."""


def dataset(url: str | os.PathLike[str]) -> Dataset:
    """The runs that were archived in a folder or at a URL (``s3://…`` and whatever else fsspec can open).

    Raises:
        ValidationError: there are none, or they cannot be read.
    """
    return Dataset(url)


class Dataset:
    """Archived runs, read where they are; nothing is loaded before it is asked for. Made by :func:`llmkit.dataset`."""

    def __init__(self, url: str | os.PathLike[str]) -> None:
        self._folder = parquet.Folder(shapes.url(url))
        self._connection = self._folder.connect()

    @property
    def runs(self) -> pd.DataFrame:
        """One row a run, as it was when it was archived: run_id, name, kind, status, n_probes, started_at …"""
        return self.sql("SELECT run_id, * EXCLUDE (run_id, id, arms, session) FROM runs ORDER BY started_at, run_id")

    def costs(self, by: str | Sequence[str] = "model", since: datetime | date | str | None = None) -> pd.DataFrame:
        """Probes, tokens and costs (US dollars) of all runs, as in ``kit.costs`` but for the shares, by one or several
        columns. Memory does not grow with the number of rows.

        Raises:
            ValidationError: no column or an unknown one; the message lists the known ones.
        """
        return cost_table(self, by, since=since, shares=False)

    def sql(self, query: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> pd.DataFrame:
        """A SELECT over the views ``runs``, ``scenarios``, ``probes``, ``turns``, ``attempts``; other files are out of
        reach. ``params``: values for each ``?``, or a dict for ``$names``.

        Raises:
            ValidationError: DuckDB cannot answer it, for the reason that is given.
        """
        return self.read(lambda c: queries.frame(c, query, params))

    def probes(self, columns: Sequence[str] | None = None, where: str | None = None) -> pa.RecordBatchReader:
        """Probes as a stream of Arrow batches, in no order; all of them would not have to fit into memory.

        ``columns``: those of ``run.probes``, dimensions and ``answer.…`` too (default: all). ``where``: a condition in
        SQL, such as ``"status = 'ok' AND model = 'openai:gpt-6-luna'"``.

        Raises:
            ValidationError: an unknown column, or a condition that DuckDB does not understand.
        """
        known = self.read(lambda c: c.sql("FROM probes").columns)
        chosen = [columns] if isinstance(columns, str) else list(known if columns is None else columns)
        if unknown := [name for name in chosen if name not in known]:
            raise unknown_column(unknown[0], known, "columns")
        if not chosen:
            raise ValidationError("Name at least one column, or leave columns out for all.", field="columns")
        names = ", ".join('"' + name.replace('"', '""') + '"' for name in chosen)
        condition = "" if where is None else f" WHERE ({where})"
        return self.read(lambda c: c.sql(f"SELECT {names} FROM probes{condition}").to_arrow_reader(BATCH))

    def read(self, question: Callable[[Snapshot], T]) -> T:
        """Answer one of the questions that a catalog answers too."""
        return parquet.ask(self._connection, question)

    def __repr__(self) -> str:
        runs, probes = self.read(lambda c: c.execute("SELECT count(*), sum(n_probes) FROM runs").fetchone() or (0, 0))
        return f"<Dataset {self._folder.url}: {runs:,} run{'' if runs == 1 else 's'}, {probes:,} probes>"


def write(store: Store, run_id: str, url: str) -> None:
    """Archive a run: its tables are written, read again and compared.

    Raises:
        ValidationError: the run goes on, the folder cannot be written, or holds something else than what was written.
    """
    if store.is_live(run_id):
        raise ValidationError("This run goes on: archive it when it has ended, or cancel it first.", field="run")
    folder = parquet.Folder(url)
    plan, providers = stored_plan(store.run(run_id, with_scenarios=True)), store.catalog().providers

    def page(table: str, first: int) -> pa.Table:
        rows = store.read(lambda c: parquet.page(c, table, run_id, first))
        if table != "attempts":
            return rows
        answers: defaultdict[int, list[str]] = defaultdict(list)
        turns = store.read(lambda c: parquet.page(c, "turns", run_id, first))
        for position, response in zip(*(turns[name].to_pylist() for name in ("position", "response")), strict=True):
            answers[position].append(response)
        asked = rows.select(["request", "request_hash", "position", "turn", "dropped", "batch"]).to_pylist()
        for row in asked:
            row["dropped"] = json.loads(row["dropped"] or "[]")
        bodies = request_texts(plan, providers, asked, answers)
        return rows.set_column(rows.schema.get_field_index("request"), "request", pa.array(bodies, pa.string()))

    for table in parquet.TABLES:
        firsts = range(0, max(len(plan), 1), parquet.PAGE) if table in parquet.PAGED else range(1)
        folder.write(table, run_id, (page(table, first) for first in firsts))
    with folder.connect() as archived:
        if parquet.tally(archived, run_id) != store.read(lambda c: parquet.tally(c, run_id)):
            raise ValidationError(f"{url} does not hold what was written: archive the run again.", field="url")
