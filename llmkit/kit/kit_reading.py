"""What a kit tells of its runs and costs; nothing here writes or sends."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Literal

import pandas as pd

from llmkit.analysis import Run, effective_status
from llmkit.analysis.calibration import calibration
from llmkit.analysis.costs import cost_table
from llmkit.errors import RunNotFound
from llmkit.kit.connections import Connections
from llmkit.store import Snapshot, Store, past, queries


class Reading:
    """The part of a kit that reads."""

    def __init__(self, store: Store, connections: Connections, view: Callable[[Run], Any]) -> None:
        self._store = store
        self._connections = connections
        self._view = view

    def sql(self, sql: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Answer a SELECT over the catalog and all runs; read-only, and without access to other files.

        ``params`` is a list for the ``?`` of the statement, or a dict for its ``$names``. Times come in UTC, DECIMAL as
        float64, columns of type JSON as lists and dicts; two columns of one name as ``name`` and ``name_1``.

        Raises:
            ValidationError: the statement fails, or would write.
        """
        return self._store.query(sql, params)

    def snapshot(self) -> Snapshot:
        """A DuckDB connection of your own, in memory, with a copy of every table."""
        return self._store.snapshot()

    def runs(self) -> pd.DataFrame:
        """All runs, newest first, with their probes counted by state, and what they cost in US dollars.

        A run whose process died is ``interrupted``; ``unknown`` counts requests that it left without an answer, which
        may have been billed. ``kit.resume(run_id)`` takes it up again.
        """
        frame = self._store.read(queries.runs)
        live = {run_id: self._store.is_live(run_id) for run_id in frame.loc[frame["status"] == "running", "run_id"]}
        now = [
            effective_status(status, live.get(run_id, False))
            for status, run_id in zip(frame["status"], frame["run_id"], strict=True)
        ]
        frame["status"] = pd.Series(now, index=frame.index, dtype=frame["status"].dtype)  # text, also of no runs
        return frame

    def load(self, run_id: str) -> Run:
        """A run by its id.

        Raises:
            RunNotFound: there is none of that id.
        """
        self._store.run(run_id)
        return self._run(run_id)

    def last_run(self) -> Run:
        """The run that was started last, in any notebook.

        Raises:
            RunNotFound: there is none yet.
        """
        runs = self._store.read(queries.runs)
        probes = runs[runs["kind"] == "probe"]
        if probes.empty:
            raise RunNotFound("There are no runs yet: start one with kit.run(...).")
        return self._run(str(probes.iloc[0]["run_id"]))

    def costs(
        self,
        since: datetime | date | str | None = None,
        by: str | Sequence[str] = "model",
        *,
        simulated: bool | None = None,
    ) -> pd.DataFrame:
        """Tokens and costs over all runs, internal tasks included, as in :meth:`llmkit.Run.costs`.

        ``by`` also takes ``run_name`` and ``kind``. Other than there, ``month``, ``day``, ``run_name``, ``kind`` and
        ``template`` are always llmkit's own, whatever columns your prompts had: rename yours to group by it.

        ``since`` is a date or a time, or its text (``"2026-11-01"``), in UTC: only what was asked from then on counts.
        ``simulated`` chooses rehearsals (True) or real runs (False); left out, a kit shows the kind that it makes.

        Raises:
            ValidationError: an unknown column, or a time that cannot be read.
        """
        return cost_table(self._store, by, since=since, simulated=self._own_kind(simulated))

    def calibration(self, by: Literal["model", "run"] = "model", *, simulated: bool | None = None) -> pd.DataFrame:
        """Estimates held against what came: one row for each completed run and model, or for each run.

        Columns: run_id, name, started_at, model, probes, ok, then in US dollars ``estimate``, ``low`` and ``high``
        (the 80 % interval) and ``actual``; ``ratio`` is actual / estimate, ``inside`` whether the interval held it;
        ``basis`` and ``observations`` say what the estimate rested on. Costs are missing where a price is unknown.
        ``simulated`` as in :meth:`costs`.

        Raises:
            ValidationError: ``by`` is something else.
        """
        only = self._own_kind(simulated)
        return calibration(self._store.read(lambda c: past.estimates(c, simulated=only)), by)

    def _own_kind(self, simulated: bool | None) -> bool:
        return self._connections.simulating if simulated is None else simulated

    def _run(self, run_id: str) -> Run:
        return Run(run_id, self._store, self._view)
