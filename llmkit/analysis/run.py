"""A run's results: DataFrames in which every token and cent is accounted for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import pyarrow as pa

from llmkit.analysis import (
    annotating,
    archived_runs,
    charts,
    exports,
    hand_coding,
    markdown,
    prediction_powered,
    reader_data,
    report,
)
from llmkit.analysis.answer_columns import answer_columns, column, note_columns
from llmkit.analysis.charts import By
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
from llmkit.records.checks.near_names import unknown_column
from llmkit.runs import request_texts, stored_plan
from llmkit.store import Store, queries, run_rows, totals

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Table = Literal["probes", "turns", "attempts"]


@dataclass(frozen=True, slots=True)
class Run:
    """A run in the catalog; every property is read afresh.

    Made by ``await kit.run(...)``, ``handle.result()`` or ``kit.load(run_id)``.
    """

    id: str
    _store: Store
    _view: Callable[[Run], Any]
    _actor: str

    @property
    def name(self) -> str | None:
        """The name given to ``kit.run``, or by :meth:`rename` since."""
        name: str | None = self._row()["name"]
        return name

    @property
    def tags(self) -> list[str]:
        """The tags that it has, in alphabetical order."""
        names = self.labels["name"]
        return [name.removeprefix(annotating.TAG) for name in names if name.startswith(annotating.TAG)]

    @property
    def labels(self) -> pd.DataFrame:
        """What was noted about the run itself and holds, with who and when: name (``name``, ``note``, ``archived``,
        ``tag.<tag>``), value, actor, at."""
        return self._store.read(lambda c: run_rows.run_labels(c, self.id))

    def rename(self, name: str | None) -> None:
        """Give it another name, or none. Like all that is noted about a run, it is kept in the journal with who and
        when.

        Raises:
            ValidationError: not a line of text.
            JournalError: it could not be saved; so below.
        """
        self._label({"name": "" if name is None else texts.text(name, "name")})

    def tag(self, *tags: str) -> None:
        """Add tags, such as ``"pilot"``: ``kit.runs(tag="pilot")`` finds it by them.

        Raises:
            ValidationError: one that is not a line of text.
        """
        self._label(dict.fromkeys(annotating.tags(tags), True))

    def untag(self, *tags: str) -> None:
        """Take tags away, whoever gave them."""
        self._label(dict.fromkeys(annotating.tags(tags)))

    def note(self, text: str) -> None:
        """Note something about the run as a whole, in place of what was noted before; ``""`` takes it back.

        Raises:
            ValidationError: not text.
        """
        self._label({"note": shapes.string(text, "text").strip() or None})

    def hide(self, hidden: bool = True) -> None:
        """Leave it out of ``kit.runs()`` from now on (``archived``), or not any more; it is in all else as before.

        Raises:
            ValidationError: not True or False.
        """
        self._label({"archived": texts.flag(hidden, "hidden") or None})

    @property
    def status(self) -> str:
        """``completed``, ``budget`` (which ended it), ``cancelled``, ``failed``, ``running``, or ``interrupted`` when
        its process died.
        """
        return effective_status(self._row()["status"], self._store.is_live(self.id))

    @property
    def settings(self) -> dict[str, Any]:
        """How the run was asked: samples, parameters, order and its seed, budget, retry policy."""
        return dict(self._row()["settings"])

    @property
    def message(self) -> str | None:
        """Why the run ended before everything was asked, where it did so by itself: its budget, or an error."""
        message: str | None = self._row()["message"]
        return message

    @property
    def estimate(self) -> Decimal | None:
        """What the run was expected to cost when it was started, in US dollars; ``None`` when no price was known."""
        total = (self._row()["estimate"] or {}).get("total")
        return None if total is None else Decimal(total)

    @property
    def probes(self) -> pd.DataFrame:
        """One row for each scenario × model × sample, whatever happened: see ``llmkit.records.columns.PROBES``."""
        frame = self._table("probes", ("position",))
        names = self._store.read(lambda c: queries.dimension_names(c, self.id))
        dimensions = {name: column([row.get(name) for row in frame["dimensions"]]) for name in names}
        questions = self._store.read(lambda c: queries.questions(c, self.id))
        answers = answer_columns(list(frame["answer"]), questions)
        notes = note_columns(list(frame["notes"]), {*columns.PROBES, *names})
        parts = [pd.DataFrame(part, index=frame.index) for part in (dimensions, answers, notes)]
        return pd.concat([frame[list(columns.PROBES)], *parts], axis=1)

    @property
    def annotations(self) -> pd.DataFrame:
        """The last note of each person about each answer under each name: probe_id, name, value, actor, at."""
        return annotating.table(self._store, self.id)

    def hand_codes(self, name: str = "category") -> pd.DataFrame:
        """The codes that people gave under a name, as a table like that of ``kit.code``: probe_id, category,
        infra_model (who), at. ``llmkit.agreement`` takes both together: ``pd.concat([codes, run.hand_codes()])``."""
        return hand_coding.hand_codes(self.annotations, name)

    def annotate(
        self,
        probe_id: str | Sequence[str],
        *,
        mark: bool | None = None,
        comment: str | None = None,
        codes: Mapping[str, Any] | None = None,
    ) -> None:
        """Note something about one answer or several, as the reader does: columns ``mark``, ``comment`` and
        ``code.<name>`` of :attr:`probes`. It is kept in the journal with your name and the time.

        What is left out stays as it is; ``mark=False``, ``comment=""`` and ``codes={"tone": None}`` take back.

        Raises:
            ValidationError: there is no such probe in this run, or something that cannot be noted.
            JournalError: it could not be saved.
        """
        annotating.annotate(self._store, self.id, self._actor, probe_id, mark, comment, codes)

    @property
    def turns(self) -> pd.DataFrame:
        """One row for each answered prompt: see ``llmkit.records.columns.TURNS``."""
        return self._table("turns", ("position", "turn"))[list(columns.TURNS)]

    @property
    def attempts(self) -> pd.DataFrame:
        """One row for each HTTP request: see ``llmkit.records.columns.ATTEMPTS``.

        A request that was on its way when its process died has no outcome: it may have been billed.
        """
        frame = self._table("attempts", ("started_at", "position", "turn", "attempt"))
        frame["request"] = pd.Series(self._requests(frame), index=frame.index, dtype="str")
        if not self._store.is_live(self.id):
            lost = frame["ended_at"].isna()
            frame.loc[lost, "maybe_billed"] = True
            frame.loc[lost, "error_code"] = "UNKNOWN"
        return frame[list(columns.ATTEMPTS)]

    def costs(self, by: str | Sequence[str] = "model") -> pd.DataFrame:
        """Probes, tokens and costs (US dollars) by one or several columns of ``probes`` (dimensions and ``answer.…``
        too), ``day``, ``month`` or ``template``; see :mod:`llmkit.analysis.costs` for the columns. A column of your own
        that is called ``month`` or so is the one that is meant.

        Raises:
            ValidationError: no column or an unknown one; the message lists the known ones.
        """
        return cost_table(self._store, by, run_id=self.id)

    def reprice(self, as_of: datetime | date | str | None = None, model: str | None = None) -> pd.DataFrame:
        """What the same tokens cost at other prices; nothing is asked again. One row a probe, in US dollars.

        With no arguments at the prices noted when the run was started: every ``cost_after`` is its ``cost_before``.
        ``as_of``: at the catalog's prices in force then (a date, a time, or its text; UTC). ``model``: what it would
        have cost on another model, at its price now or as of then. Hours with prices of their own are those at which
        each request was made. Other models make other tokens of the same text, and longer or shorter answers: that is
        not known without asking them.

        Columns: probe_id, scenario_id, sample, status, model, priced_as, cost_before, cost_after, difference,
        source_before, source. ``.attrs`` holds the exact ``total``, ``total_before`` and ``difference`` as Decimal, of
        what is known; ``None`` when nothing is.

        Raises:
            ModelNotFound: no such model.
            ValidationError: a time that cannot be read.
        """
        return reprice(self._store, self.id, as_of=as_of, model=model)

    @property
    def total_cost(self) -> Decimal:
        """What is known to have been billed, in US dollars, exact."""
        return self._store.read(lambda c: totals.total_cost(c, self.id))

    def plot_costs(self, ax: Axes | None = None, *, by: By = "model") -> Axes:
        """A matplotlib bar chart of what each model cost, in US dollars, the most expensive on top.

        ``by`` is as in :meth:`costs`. What has no known price has no bar, and is labelled as unpriced.

        Raises:
            ValidationError: there is no such column.
        """
        return charts.plot_costs(self.costs(by), ax, by=by)

    def plot_latency(self, ax: Axes | None = None, *, by: By = "model") -> Axes:
        """A matplotlib box plot of how long each model took to answer, in seconds, the slowest on top.

        ``by`` is one or several columns of :attr:`probes`, here as in the charts below; an unknown one raises
        :class:`ValidationError`.
        """
        return charts.plot_latency(self.probes, ax, by=by)

    def plot_lengths(self, ax: Axes | None = None, *, by: By = "model") -> Axes:
        """A matplotlib box plot of how long answers are, in tokens without reasoning, the longest on top."""
        return charts.plot_lengths(self.probes, ax, by=by)

    def plot_cost_and_latency(self, ax: Axes | None = None, *, by: By = "model") -> Axes:
        """What an answer costs (mean, US dollars) against how long it takes (median, s), a point for each model."""
        return charts.plot_cost_and_latency(self.probes, ax, by=by)

    def plot_timeline(self, ax: Axes | None = None) -> Axes:
        """When requests waited, were on their way and were refused (429), over the seconds of the run, by provider."""
        return plot_timeline(self.attempts, ax)

    def plot_shares(self, by: By = "model", of: str | pd.DataFrame | None = None, ax: Axes | None = None) -> Axes:
        """How often each model gave each answer, in per cent, with 95 % intervals after Wilson.

        ``of`` is a column of :attr:`probes`, or the table of ``kit.code(run, codebook)``; left out, the first field of
        structured answers (``answer.…``) is counted. Intervals are clustered by scenario, as in :meth:`compare`.

        Raises:
            ValidationError: there is no such column, or nothing to count.
        """
        probes, column = categories(self.probes, of)
        return charts.plot_shares(probes, column, ax, by=by)

    def compare(self, value: str, by: By, within: By | None = "scenario_id") -> Comparison:
        """The levels of ``by`` compared in a column of numbers, as :func:`llmkit.compare` does.

        Errors are clustered by scenario; ``within=None`` takes all answers as independent of each other.

        Raises:
            ValidationError: there is no such column, or a value that is no number.
        """
        return compare(self.probes, value, by, within)

    def corrected_shares(
        self,
        codes: pd.DataFrame,
        by_hand: pd.DataFrame | None = None,
        by: str | None = None,
        within: str | None = "scenario_id",
    ) -> pd.DataFrame:
        """The share of each category in all that a model coded, corrected by what people said of a random part of it.

        Args:
            codes: the table of ``kit.code``, of one coder.
            by_hand: codes by people, as :meth:`hand_codes` has them (the default) from ``kit.coding_form``.
            by: a column of :attr:`probes` whose levels are kept apart, such as ``"config"``.
            within: what makes answers alike; ``None`` takes all as independent.

        Columns: ``by``, category, share with its 95 % interval (low, high), share_model and share_hand (what either
        alone says), n_hand, n, and weight (how far the model's codes count). By prediction-powered inference (PPI++,
        arXiv:2311.01453).

        Raises:
            ValidationError: codes of several coders, or fewer than two answers that both have coded.
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
        """Whether ``labels`` more by hand or answers for so many ``dollars`` more narrow :meth:`corrected_shares` more.

        Answers are to further scenarios, each at what one has cost here with its coding. Columns: category, half_width
        of the interval now, with_labels, with_answers, better. ``.attrs["answers"]`` is how many the money buys.

        Raises:
            ValidationError: as there, nothing left to label, or costs that are unknown.
        """
        table = self._coded(codes, by_hand, within=within)
        each = float(table["estimated_cost"].astype(float).mean() + codes.get("cost", pd.Series([0.0])).mean())
        if not each > 0:
            raise ValidationError("What an answer costs is not known: see run.costs().", field="dollars")
        answers = float(numbers.amount(dollars, "dollars")) / each
        result = prediction_powered.next_purchase(table, numbers.whole(labels, "labels", 1), answers, within)
        result.attrs["answers"] = int(answers)
        return result

    @property
    def notes(self) -> list[str]:
        """Sentences that a reader of the results should know: a model that was served in more than one version."""
        archive = self._row()["archive"]
        where = [] if archive is None else [f"its texts are in the archive at {archive} alone"]
        return [*version_notes(self._store.read(lambda c: totals.versions(c, self.id))), *where]

    def to_csv(self, path: File, table: Table = "probes") -> Path:
        """Write ``probes`` (or ``turns``, ``attempts``) as CSV, with text that a spreadsheet would run defused.

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
        """A table as a stream of Arrow batches in the order of the run, which would not have to fit into memory.

        Columns are those of :func:`llmkit.dataset`, so DECIMAL stays DECIMAL; ``columns`` names some of them.

        Raises:
            ValidationError: no such table or column, or its texts are in an archive alone.
        """
        shapes.one_of(table, Table, "table")
        return archived_runs.batches(self._store, self.id, table, columns)

    def archive(self, url: File, *, drop: bool = False) -> None:
        """Write the run into a folder, or to a URL that fsspec can open, as Parquet, and compare what was written.

        A folder may hold any number of runs; :func:`llmkit.dataset` reads them. An earlier archive of this run there
        is replaced. Costs stay DECIMAL, and requests and replies are whole.

        ``drop``: then its prompts, answers, requests and replies leave the database, a team's with it. What was
        counted, billed and noted stays, so costs, budgets and ``kit.runs()``, whose column ``archive`` says where the
        texts are, stay as they were; the run cannot be resumed, and its answers are not reused. The journal keeps all:
        a database that is made from it again drops them again. The file gets no smaller: what comes next fills it.

        Raises:
            ValidationError: it goes on, or the folder cannot be written; with ``drop``, also if it was interrupted.
        """
        if texts.flag(drop, "drop"):
            archived_runs.move(self._store, self.id, shapes.url(url), self._actor)
        else:
            archived_runs.write(self._store, self.id, shapes.url(url))

    def to_html(self, path: File) -> Path:
        """Write all answers as one HTML file to read and to send: filters and search work without a network.

        Raises:
            ValidationError: the file cannot be written.
        """
        title = f"Answers of {self.name or self.id}"
        return exports.to_text(reader_data.page(title, reader_data.pack(reader_data.answers([self]))), path)

    def report(self, path: File | None = None) -> str:
        """The run as a paper tells it, in Markdown: methods, a reporting checklist with blanks for what only the author
        knows, costs, and what was asked. With ``path``, a file is written too: ``.md``, or ``.html``, with charts.

        Raises:
            ValidationError: a name that ends otherwise, or the file cannot be written.
        """
        text = report.report(self._store, self.id)
        if path is not None:
            kind = shapes.path(path).suffix.lower()
            if kind not in (".md", ".html"):
                raise ValidationError("The name of a report ends in .md or .html.", field="path")
            exports.to_text(text if kind == ".md" else self._report_page(text), path)
        return text

    def _report_page(self, text: str) -> str:
        costs = self.costs("config")
        drawn = [(charts.svg(partial(self.plot_costs, by="config"), len(costs)), "Cost of each configuration.")]
        for plot, caption in (
            (self.plot_lengths, "Length of answers: median, quartiles, middle 90 %."),
            (self.plot_latency, "Time to an answer: median, quartiles, middle 90 %."),
        ):
            drawn.append((charts.svg(partial(plot, by="config"), len(costs)), caption))
        return markdown.page(report.title(self._row()), text, {"Costs": drawn})

    def _named(self, table: Table) -> pd.DataFrame:
        shapes.one_of(table, Table, "table")
        frame: pd.DataFrame = getattr(self, table)
        return frame

    def view(self) -> Any:
        """A widget with summary, cost per model, failures, charts and a reader for all answers."""
        return self._view(self)

    def __repr__(self) -> str:
        tally = self._store.read(lambda c: totals.tally(c, self.id))
        return f"<Run {self.id}{in_words(self._row(), self.status, tally, self.notes)}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return self._shown()._repr_mimebundle_(**kwargs)

    def _ipython_display_(self) -> None:
        self._shown()._ipython_display_()

    def _shown(self) -> Any:
        if self._row()["archive"] is not None:
            raise NotImplementedError  # then IPython shows the line that is its repr
        return self.view()

    def _coded(self, codes: pd.DataFrame, by_hand: pd.DataFrame | None, **columns: str | None) -> pd.DataFrame:
        """Codes of one model with those by hand, and the columns that are named, by argument."""
        table = prediction_powered.joined(codes, self.hand_codes() if by_hand is None else by_hand, self.probes)
        for field, name in columns.items():
            if name is not None and name not in table:
                raise unknown_column(name, table.columns, field)
        return table

    def _label(self, notes: Mapping[str, Any]) -> None:
        annotating.note(self._store, self.id, self._actor, notes)

    def _row(self) -> dict[str, Any]:
        return self._store.run(self.id)

    def _requests(self, attempts: pd.DataFrame) -> list[str | None]:
        """What was sent in each attempt, made anew."""
        plan = stored_plan(self._store.run(self.id, with_scenarios=True))
        turns = self._table("turns", ("position", "turn"))
        answers = zip(turns["position"], turns["response"], strict=True)
        rows: list[Any] = attempts.to_dict("records")
        return request_texts(plan, self._store.catalog().providers, rows, answers)

    def _table(self, name: str, order: Sequence[str]) -> pd.DataFrame:
        run_rows.check_texts(self._row())
        if not self._store.read(lambda c: run_rows.fits(c, self.id)):
            raise ValidationError(
                f"run.{name} would not fit into memory: ask kit.sql(...) for a part, read run.batches({name!r}), or "
                "run.archive(folder), which llmkit.dataset(folder) reads.",
                field=name,
            )
        return self._store.read(lambda c: queries.table(c, name, self.id, order))
