"""A run's results: DataFrames in which every token and cent is accounted for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import pandas as pd
import pyarrow as pa

from llmkit.analysis import (
    annotating,
    archived_runs,
    charts,
    exports,
    markdown,
    prediction_powered,
    reader_data,
    report,
)
from llmkit.analysis.answer_columns import answer_columns, note_columns
from llmkit.analysis.charts import By, axes
from llmkit.analysis.comparison import Comparison, compare
from llmkit.analysis.costs import cost_table
from llmkit.analysis.exports import File
from llmkit.analysis.reprice import reprice
from llmkit.analysis.run_words import effective_status, in_words, version_notes
from llmkit.analysis.shares import categories
from llmkit.analysis.timeline import plot_timeline
from llmkit.errors import ValidationError
from llmkit.records import columns
from llmkit.records.checks import numbers, shapes, texts
from llmkit.records.checks.near_names import columns_named
from llmkit.runs import request_texts, stored_plan
from llmkit.runs.plan import Plan
from llmkit.store import Snapshot, Store, events, queries, run_rows, totals

T = TypeVar("T")

Table = Literal["probes", "turns", "attempts"]


@dataclass(frozen=True, slots=True)
class Run:
    """A run in the catalog; every property is read anew on access.

    Made by ``await kit.run(...)``, ``handle.result()`` or ``kit.load(run_id)``.
    """

    id: str
    _store: Store
    _view: Callable[[Run], Any]
    _actor: str
    _only: range | None = None
    """The positions of the probes in its tables; ``None`` for all."""
    _questions: list[Plan] = field(default_factory=list, repr=False, compare=False)
    """Its plan, once it was made for its questions, which never change."""

    @property
    def name(self) -> str | None:
        """The name given to ``kit.run`` or, later, to :meth:`rename`."""
        name: str | None = self._row()["name"]
        return name

    @property
    def tags(self) -> list[str]:
        """Its tags, in alphabetical order."""
        names = self.labels["name"]
        return [name.removeprefix(annotating.TAG) for name in names if name.startswith(annotating.TAG)]

    @property
    def labels(self) -> pd.DataFrame:
        """The current notes about the run itself: name (``name``, ``note``, ``archived``, ``tag.<tag>``), value, actor,
        at."""
        return self._look(run_rows.run_labels)

    def rename(self, name: str | None) -> None:
        """Change or remove its name. Like every note about a run, it is journaled with author and time.

        Raises:
            ValidationError: not a single line of text.
            JournalError: it could not be saved; likewise for the methods below.
        """
        self._label({"name": texts.optional_text(name, "name") or ""})

    def tag(self, *tags: str) -> None:
        """Add tags, such as ``"pilot"``, to be found by ``kit.runs(tag="pilot")``.

        Raises:
            ValidationError: a tag that is not a single line of text.
        """
        self._label(dict.fromkeys(annotating.tags(tags), True))

    def untag(self, *tags: str) -> None:
        """Remove tags, whoever added them."""
        self._label(dict.fromkeys(annotating.tags(tags)))

    def note(self, text: str) -> None:
        """Set the note about the run as a whole, replacing the previous one; ``""`` removes it.

        Raises:
            ValidationError: not text.
        """
        self._label({"note": shapes.string(text, "text").strip() or None})

    def hide(self, hidden: bool = True) -> None:
        """Hide it from ``kit.runs()`` (``archived``), or show it again; nothing else changes.

        Raises:
            ValidationError: not True or False.
        """
        self._label({"archived": texts.flag(hidden, "hidden") or None})

    @property
    def status(self) -> str:
        """``completed``, ``budget`` (stopped by it), ``cancelled``, ``failed``, ``running`` or ``interrupted`` (its
        process died); then, with batches that outlived it, ``waiting for batch, 340 of 1,000 back``.
        """
        row, is_live = self._row(), self._store.is_live(self.id)
        return effective_status(row["status"], is_live, None if is_live else self._in_batches(row["settings"]))

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of the run: samples, parameters, order and its seed, budget, retry policy."""
        return dict(self._row()["settings"])

    @property
    def message(self) -> str | None:
        """Why the run stopped early by itself: its budget, or an error."""
        message: str | None = self._row()["message"]
        return message

    @property
    def estimate(self) -> Decimal | None:
        """The cost estimated when the run was started, in US dollars; ``None`` when no price was known."""
        total = (self._row()["estimate"] or {}).get("total")
        return None if total is None else Decimal(total)

    def head(self, n: int) -> Run:
        """The run with only its first ``n`` probes in :attr:`probes`, :attr:`turns` and :attr:`attempts`, which takes
        less time to read; ``costs()`` and the like still cover all of them.

        Raises:
            ValidationError: not a whole number of at least 1.
        """
        return replace(self, _only=range(numbers.whole(n, "n", least=1)))

    def only(self, probe_id: str) -> Run:
        """The run with one probe alone, as :meth:`head` has the first.

        Raises:
            ValidationError: there is no such probe in this run.
        """
        (position,) = annotating.positions(self.id, probe_id, self._row()["n_probes"])
        return replace(self, _only=range(position, position + 1))

    @property
    def probes(self) -> pd.DataFrame:
        """One row per scenario × model × sample, whatever happened; see ``llmkit.records.columns.PROBES``.

        A note's column holds the latest, whoever wrote it; a warning says where people coded an answer differently.
        """
        frame, names, questions = self._store.ask_of_run(
            self.id,
            lambda c, row: (
                self._frame(c, row, "probes", ("position",)),
                queries.dimension_names(c, self.id),
                queries.questions(c, self.id),
            ),
        )
        if (frame["status"] == "pending").any() and not self._store.is_live(self.id):
            _count_lost(frame, self._look(run_rows.without_outcome))
        dimensions = {name: columns.column([row.get(name) for row in frame["dimensions"]]) for name in names}
        answers = answer_columns(list(frame["answer"]), questions)
        notes = note_columns(list(frame["notes"]), {*columns.PROBES, *names})
        if any(name.startswith("code.") for name in notes):
            annotating.point_out_disputes(self.annotations)
        parts = [pd.DataFrame(part, index=frame.index) for part in (dimensions, answers, notes)]
        return pd.concat([frame[list(columns.PROBES)], *parts], axis=1)

    @property
    def earlier_turns(self) -> Mapping[str, Sequence[Mapping[str, str]]]:
        """The turns before the prompt (role, content), by scenario_id, of scenarios with ``messages``."""
        return self._look(queries.earlier_turns)

    @property
    def question_texts(self) -> Mapping[str, str]:
        """What followed the prompt, by probe_id, where a scenario is a question: its options in the order sent."""
        if not self._questions:
            if not self._look(queries.questions):
                return {}
            self._questions.append(self._plan())
        plan = self._questions[0]
        shown = (self._only or range(len(plan)))[: len(plan)]
        texts = {position: plan.question_text_of(position) for position in shown}
        return {events.probe_id(self.id, position): text for position, text in texts.items() if text}

    @property
    def annotations(self) -> pd.DataFrame:
        """The latest note of each person, per answer and name: probe_id, name, value, actor, at."""
        return annotating.table(self._store, self.id)

    def hand_codes(self, name: str = "category") -> pd.DataFrame:
        """The codes that people gave under a name, as a table like that of ``kit.code``: probe_id, category,
        infra_model (the person), at. ``llmkit.agreement`` takes both: ``pd.concat([codes, run.hand_codes()])``."""
        notes = self.annotations
        codes = notes[notes["name"] == f"code.{name}"].rename(columns={"value": "category", "actor": "infra_model"})
        return codes[["probe_id", "category", "infra_model", "at"]].reset_index(drop=True)

    def annotate(
        self,
        probe_id: str | Sequence[str],
        *,
        mark: bool | None = None,
        comment: str | None = None,
        codes: Mapping[str, Any] | None = None,
    ) -> None:
        """Annotate one or more answers, as in the reader: columns ``mark``, ``comment`` and ``code.<name>`` of
        :attr:`probes`. Annotations are journaled with your name and the time.

        Omitted arguments change nothing; ``mark=False``, ``comment=""`` and ``codes={"tone": None}`` remove.

        Raises:
            ValidationError: there is no such probe in this run, or a value has the wrong type.
            JournalError: it could not be saved.
        """
        positions = annotating.positions(self.id, probe_id, self._row()["n_probes"])
        self._label(annotating.notes(mark, comment, codes), positions)

    @property
    def turns(self) -> pd.DataFrame:
        """One row per answered prompt; see ``llmkit.records.columns.TURNS``."""
        return self._table("turns", ("position", "turn"))[list(columns.TURNS)]

    @property
    def attempts(self) -> pd.DataFrame:
        """One row per HTTP request; see ``llmkit.records.columns.ATTEMPTS``.

        A request that was in flight when its process died has no outcome: it may have been billed. One in a batch is
        still to come.
        """
        frame = self._table("attempts", ("started_at", "position", "turn", "attempt"))
        frame["request"] = pd.Series(self._requests(frame), index=frame.index, dtype="str")
        if not self._store.is_live(self.id):
            lost = frame["ended_at"].isna() & frame["batch"].isna()
            frame.loc[lost, "maybe_billed"] = frame["worst_case"] != 0
            frame.loc[lost, "error_code"] = "UNKNOWN"
        return frame[list(columns.ATTEMPTS)]

    def costs(self, by: str | Sequence[str] = "model") -> pd.DataFrame:
        """Probes, tokens and costs (US dollars) by one or several columns of ``probes`` (including dimensions and
        ``answer.…``), ``day``, ``month`` or ``template``; see :mod:`llmkit.analysis.costs` for the columns. Your own
        column takes precedence, if it is called ``month``, say.

        Raises:
            ValidationError: no column or an unknown one; the message lists the known ones.
        """
        return cost_table(self._store, by, run_id=self.id)

    def reprice(self, as_of: datetime | date | str | None = None, model: str | None = None) -> pd.DataFrame:
        """Recompute the cost of the same tokens at other prices, without new requests. One row per probe, US dollars.

        Without arguments, at the prices recorded by the run: every ``cost_after`` equals its ``cost_before``.
        ``as_of``: at the catalog's prices in force then (a date, a time, or either as text; UTC). ``model``: at the
        prices of another model, current or as of then. Prices by the hour apply at the time of each request. Another
        model would tokenise the text differently and give longer or shorter answers, which is not accounted for.

        Columns: probe_id, scenario_id, sample, status, model, priced_as, cost_before, cost_after, difference,
        source_before, source. ``.attrs`` holds the exact ``total``, ``total_before`` and ``difference`` of the known
        amounts as Decimal; ``None`` when nothing is known.

        Raises:
            ModelNotFound, UnsupportedProvider: no such model.
            ValidationError: a time that cannot be read.
        """
        return reprice(self._store, self.id, as_of=as_of, model=model)

    @property
    def total_cost(self) -> Decimal:
        """The known amount billed, in US dollars, exact."""
        return self._look(totals.total_cost)

    def plot_costs(self, ax: axes.Axes | None = None, *, by: By = "model") -> axes.Axes:
        """A matplotlib bar chart of the cost of each model in US dollars, the most expensive on top, with wasted costs
        (failures and retries) in another colour.

        ``by`` is as in :meth:`costs`. Unpriced models have a label instead of a bar.

        Raises:
            ValidationError: there is no such column.
        """
        return charts.plot_costs(self.costs(by), ax, by=by)

    def plot_latency(self, ax: axes.Axes | None = None, *, by: By = "model") -> axes.Axes:
        """A matplotlib box plot of each model's time to answer in seconds (on the wire, summed over turns), the slowest
        on top: median, quartiles, and the middle 90% of ok answers.

        Here and in the charts below, ``by`` is one or several columns of :attr:`probes`; an unknown one raises
        :class:`ValidationError`.
        """
        return charts.plot_latency(self.probes, ax, by=by)

    def plot_lengths(self, ax: axes.Axes | None = None, *, by: By = "model") -> axes.Axes:
        """A matplotlib box plot of the length of answers in tokens without reasoning, as :meth:`plot_latency`."""
        return charts.plot_lengths(self.probes, ax, by=by)

    def plot_cost_and_latency(self, ax: axes.Axes | None = None, *, by: By = "model") -> axes.Axes:
        """The cost of an answer (mean, US dollars) against its time (median, s), one point per model.

        A model with unpriced answers is named with the number of priced ones; without any, its point is hollow.
        """
        return charts.plot_cost_and_latency(self.probes, ax, by=by)

    def plot_timeline(self, ax: axes.Axes | None = None) -> axes.Axes:
        """When requests waited, were in flight and were refused (429), over the seconds of the run, by provider."""
        return plot_timeline(self.attempts, ax)

    def plot_shares(
        self, by: By = "model", of: str | pd.DataFrame | None = None, ax: axes.Axes | None = None
    ) -> axes.Axes:
        """How often each model gave each answer, in per cent, with 95% Wilson intervals.

        ``of`` is a column of :attr:`probes`, or the table of ``kit.code(run, codebook)``; by default the answers to
        questions (``answer``), or the first field of structured answers (``answer.…``) with few values. Answers without
        a value do not count, and beyond seven values the rarest are merged. Intervals are clustered by scenario, as in
        :meth:`compare`.

        Raises:
            ValidationError: there is no such column, or nothing to count.
        """
        probes, column = categories(self.probes, of)
        return charts.plot_shares(probes, column, ax, by=by)

    def compare(self, value: str, by: By, within: By | None = "scenario_id") -> Comparison:
        """Compare the levels of ``by`` in a numeric column; see :func:`llmkit.compare`.

        Errors are clustered by scenario; ``within=None`` treats all answers as independent.

        Raises:
            ValidationError: there is no such column, or a value that is not a number.
        """
        return compare(self.probes, value, by, within)

    def corrected_shares(
        self,
        codes: pd.DataFrame,
        by_hand: pd.DataFrame | None = None,
        by: str | None = None,
        within: str | None = "scenario_id",
    ) -> pd.DataFrame:
        """The share of each category in a model's codes, corrected by hand codes of a random part of the answers.

        Args:
            codes: the table of ``kit.code``, of one coder.
            by_hand: codes by people, by default :meth:`hand_codes`, from ``kit.coding_form``.
            by: a column of :attr:`probes` whose levels are analysed separately, such as ``"config"``.
            within: the clusters of correlated answers; ``None`` treats all as independent.

        Columns: ``by``, category, share with its 95% interval (low, high), share_model and share_hand (the shares by
        either alone), n_hand, n, and weight (of the model's codes, from 0 to 1); one that is called as ``by`` is called
        ``corrected_<name>``. By prediction-powered inference (PPI++, arXiv:2311.01453).

        Raises:
            ValidationError: codes of several coders, or fewer than two answers coded by both.
        """
        return prediction_powered.corrected_shares(self._coded(codes, by_hand, by=by, within=within), by, within)

    def next_purchase(
        self,
        codes: pd.DataFrame,
        by_hand: pd.DataFrame | None = None,
        *,
        labels: int = 40,
        dollars: Decimal | int | str | float = 3,
        within: str | None = "scenario_id",
    ) -> pd.DataFrame:
        """Which narrows :meth:`corrected_shares` more: ``labels`` more hand codes, or more answers for ``dollars``.

        Answers are to further scenarios, at the mean cost of one so far, coding included. Columns: category, half_width
        of the interval now, with_labels, with_answers, better. ``.attrs["answers"]`` is how many the money buys.

        Raises:
            ValidationError: as there, nothing left to label, or unknown costs.
        """
        table = self._coded(codes, by_hand, within=within)
        unit_cost = float(table["estimated_cost"].astype(float).mean() + codes.get("cost", pd.Series([0.0])).mean())
        if not unit_cost > 0:
            raise ValidationError("The cost of an answer is unknown: see run.costs().", field="dollars")
        answers = float(numbers.amount(dollars, "dollars")) / unit_cost
        result = prediction_powered.next_purchase(table, numbers.whole(labels, "labels", 1), answers, within)
        result.attrs["answers"] = int(answers)
        return result

    @property
    def notes(self) -> list[str]:
        """Caveats as sentences: a model was served in more than one version, or the texts are only in an archive or
        have not been received from a colleague."""
        row, where = self._row(), list[str]()
        if row["archive"] is not None:
            where = [f"its texts are only in the archive at {row['archive']}"]
        elif row["is_head"]:
            where = ["its texts have not been received"]
        return [*version_notes(self._look(totals.versions)), *where]

    def to_csv(self, path: File, table: Table = "probes") -> Path:
        """Write ``probes`` (or ``turns``, ``attempts``) as CSV; text that a spreadsheet would execute is defused.

        Raises:
            ValidationError: no such table, or the file cannot be written.
        """
        return exports.to_csv(self._named(table), path)

    def to_excel(self, path: File, table: Table = "probes") -> Path:
        """Write a table as an Excel file (``pip install 'llmkit[excel]'``), with formulas in texts defused.

        Raises:
            ValidationError: no such table, openpyxl is missing, the table does not fit into a sheet, or the file
                cannot be written.
        """
        return exports.to_excel(self._named(table), path)

    def to_parquet(self, path: File, table: Table = "probes") -> Path:
        """Write a table as Parquet, with the types of its columns.

        Raises:
            ValidationError: no such table, or the file cannot be written.
        """
        return exports.to_parquet(self._named(table), path)

    def batches(self, table: Table = "probes", columns: Sequence[str] | None = None) -> pa.RecordBatchReader:
        """Stream a table as Arrow batches in the order of the run; it need not fit into memory.

        Columns are those of :func:`llmkit.dataset`, so DECIMAL stays DECIMAL; ``columns`` selects some of them.

        Raises:
            ValidationError: no such table or column, or the texts are only in an archive.
        """
        shapes.one_of(table, Table, "table")
        return archived_runs.batches(self._store, self.id, table, columns)

    def archive(self, url: File, *, drop: bool = False) -> None:
        """Write the run as Parquet into a folder, or to a URL that fsspec can open, and verify it.

        A folder may hold any number of runs; :func:`llmkit.dataset` reads them. An earlier archive of this run there
        is replaced. Costs stay DECIMAL, and requests and replies are complete.

        ``drop``: afterwards remove its prompts, answers, requests and replies from the database, and from those of the
        team. Counts, costs and notes stay, so costs, budgets and ``kit.runs()`` do not change; its column ``archive``
        says where the texts are. The run can no longer be resumed, nor its answers reused. The journal keeps
        everything, but a database rebuilt from it drops the texts again. The file does not shrink; the space is reused.

        Raises:
            ValidationError: it is still running, or the folder cannot be written; with ``drop``, also if it was
                interrupted.
        """
        if texts.flag(drop, "drop"):
            archived_runs.move(self._store, self.id, shapes.url(url), self._actor)
        else:
            archived_runs.write(self._store, self.id, shapes.url(url))

    def to_html(self, path: File) -> Path:
        """Write all answers as one HTML file to read or share, with filters and search that work offline.

        Raises:
            ValidationError: the file cannot be written.
        """
        title = f"Answers of {self.name or self.id}"
        return exports.to_text(reader_data.page(title, reader_data.pack(reader_data.answers([self]))), path)

    def report(self, path: File | None = None) -> str:
        """Report the run as a paper would, in Markdown: methods, a reporting checklist with blanks for the author,
        costs, and the prompts. With ``path``, also write a file: ``.md``, or ``.html`` with charts.

        Raises:
            ValidationError: another suffix, or the file cannot be written.
        """
        text = report.report(self._store, self.id)
        if path is not None:
            kind = shapes.path(path).suffix.lower()
            if kind not in (".md", ".html"):
                raise ValidationError("The name of a report must end in .md or .html.", field="path")
            exports.to_text(text if kind == ".md" else self._report_page(text), path)
        return text

    def _report_page(self, text: str) -> str:
        costs, probes = self.costs("config"), self.probes
        plots: tuple[tuple[Callable[..., axes.Axes], str], ...] = (
            (partial(charts.plot_costs, costs), "Cost of each configuration."),
            (partial(charts.plot_lengths, probes), "Length of answers: median, quartiles, middle 90%."),
            (partial(charts.plot_latency, probes), "Time to an answer: median, quartiles, middle 90%."),
        )
        drawn = [(charts.svg(partial(plot, by="config"), len(costs)), caption) for plot, caption in plots]
        return markdown.page(report.title(self._row()), text, "Costs", drawn)

    def _named(self, table: Table) -> pd.DataFrame:
        shapes.one_of(table, Table, "table")
        frame: pd.DataFrame = getattr(self, table)
        return frame

    def view(self) -> Any:
        """A widget with a summary, costs per model, failures, charts and a reader for all answers."""
        return self._view(self)

    def __repr__(self) -> str:
        tally = self._look(partial(totals.tally, is_live=self._store.is_live(self.id)))
        return f"<Run {self.id}{in_words(self._row(), self.status, tally, self.notes)}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return self._shown()._repr_mimebundle_(**kwargs)

    def _ipython_display_(self) -> None:
        self._shown()._ipython_display_()

    def _shown(self) -> Any:
        row = self._row()
        if row["archive"] is not None or row["is_head"]:
            raise NotImplementedError  # IPython then falls back to the repr
        return self.view()

    def _coded(self, codes: pd.DataFrame, by_hand: pd.DataFrame | None, **columns: str | None) -> pd.DataFrame:
        """The codes of one model joined with hand codes and probes; ``columns`` (name by argument) must exist."""
        table = prediction_powered.joined(codes, self.hand_codes() if by_hand is None else by_hand, self.probes)
        for argument, name in columns.items():
            if name is not None:
                columns_named(name, table.columns, argument)
        return table

    def _label(self, notes: Mapping[str, Any], positions: Sequence[int] = (events.OF_RUN,)) -> None:
        annotating.note(self._store, self.id, self._actor, notes, positions)

    def _row(self) -> dict[str, Any]:
        return self._store.run(self.id)

    def _in_batches(self, settings: Mapping[str, Any]) -> tuple[int, int] | None:
        """How many of its requests in batches are back, and how many there are; ``None`` if it waits for none."""
        is_batched = settings.get("batched")
        return self._look(lambda c, run_id: run_rows.in_batches(c).get(run_id)) if is_batched else None

    def _look(self, question: Callable[[Snapshot, str], T]) -> T:
        """Ask something about this run."""
        return self._store.look(lambda connection: question(connection, self.id), self.id)

    def _requests(self, attempts: pd.DataFrame) -> list[str | None]:
        """The request body of each attempt, rebuilt."""
        turns = self._table("turns", ("position", "turn"))
        answers = zip(turns["position"], turns["response"], strict=True)
        rows: list[Any] = attempts.to_dict("records")
        return request_texts(self._plan(), self._store.catalog().providers, rows, answers)

    def _plan(self) -> Plan:
        return stored_plan(self._store.run(self.id, with_scenarios=True))

    def _table(self, name: str, order: Sequence[str]) -> pd.DataFrame:
        return self._store.ask_of_run(self.id, lambda c, row: self._frame(c, row, name, order))

    def _frame(self, connection: Snapshot, row: Mapping[str, Any], name: str, order: Sequence[str]) -> pd.DataFrame:
        run_rows.check_texts(row)
        if run_rows.fits(connection, self.id):
            return queries.table(connection, name, self.id, order, self._only)
        raise ValidationError(
            f"run.{name} would not fit into memory: ask kit.sql(...) for a part, read run.batches({name!r}), or "
            "run.archive(folder), which llmkit.dataset(folder) reads.",
            field=name,
        )


def _count_lost(frame: pd.DataFrame, left: Sequence[Mapping[str, Any]]) -> None:
    """Count the requests of a dead process that never ended, except those in batches, which outlive it."""
    lost = {row["position"]: row["worst_case"] != 0 for row in left if row["batch"] is None}
    is_lost = frame["position"].isin(lost) & (frame["status"] == "pending")  # what has ended counts its own
    frame["attempts"] += is_lost
    frame.loc[is_lost, "maybe_billed"] += frame["position"].map(lost)
