"""A stored run: its outcome, costs, failures, charts and answers."""

from __future__ import annotations

import threading
from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import ipywidgets as ipw
import pandas as pd

from llmkit.analysis import Run, charts
from llmkit.analysis.stored_progress import stored_progress
from llmkit.money.amounts import billed, billed_row, dollars
from llmkit.records.checks.texts import counted, short
from llmkit.runs import RunHandle
from llmkit.widgets import html
from llmkit.widgets.browser import in_turn
from llmkit.widgets.panel import Panel, line, shown, when_done
from llmkit.widgets.reader import Reader
from llmkit.widgets.run_summary import kernel_ended, summary_html

_EXAMPLE = 300
_COSTS = {"Model": "auto", "Ok": "36px", "Failed": "48px", "Input": "68px", "Output": "68px",
          "Cost": "70px", "Per answer": "84px"}  # fmt: skip
_NUMBERS = tuple(_COSTS)[1:]
_FAILURES = {"Code": "150px", "Probes": "62px", "Models": "26%", "For example": "auto"}


class RunView(Panel):
    """A run from the catalog, in any notebook. ``resume`` is ``kit.resume``.

    The run is read when the view is created and on every refresh; one in progress is shown as far as it is stored.
    """

    title = "Run"

    def __init__(self, run: Run, resume: Callable[[str], RunHandle[Any]]) -> None:
        super().__init__()
        self.run = run
        self.island.ended = kernel_ended(run.id)
        self._resume = resume
        self._reading = threading.Lock()
        self.summary = ipw.HTML(layout=ipw.Layout(width="100%", margin="0"))
        self.tables = ipw.HTML(layout=ipw.Layout(width="100%", margin="0"))
        self.charts = ipw.HTML(layout=ipw.Layout(width="100%", margin="0"))
        self.reader = Reader([run])
        self.reader.island, self.reader.on_end = self.island, in_turn(self.renew)
        self.refresh_button = self.button("Refresh", self.renew, tooltip="Read the run again")
        self.resume_button = self.action_button(
            "Resume", self._resume_run, primary=True, tooltip="Send what is still unanswered"
        )
        self._place = ipw.VBox()
        self.widget.children = (
            self.summary,
            self.notice.widget,
            line(self.refresh_button, self.resume_button),
            self._place,
            self.tables,
            self.charts,
            ipw.HTML(html.heading("Answers")),
            self.reader.answers,
        )
        self.refresh()

    @property
    def df(self) -> pd.DataFrame:
        """Tokens and costs by model, as ``run.costs()``."""
        return self.run.costs()

    def refresh(self) -> None:
        """Read the run again."""
        with self._reading:
            self._status, self._name, self._tags = self.run.status, self.run.name, self.run.tags
            self._probes, self._costs = self.run.probes, self.run.costs()
            self._progress = stored_progress(self.run, self._status, self._probes)
            self.summary.value = self._summary()
            self.tables.value = self._tables()
            self.charts.value = _charts(self._costs, self._probes) if self._progress.done else ""
            self.reader.refresh()
            shown(self.resume_button, self._progress.resumable)

    def _summary(self) -> str:
        now = self._progress
        badges = [html.badge("simulated")] if self._probes["simulated"].any() else []
        badges += map(html.badge, self._tags)
        return summary_html(self.run.id, now, title=self._name or "Run", badges=badges, short=now.done == now.total)

    def _tables(self) -> str:
        """Costs by model, and failures by code with an example each."""
        costs = html.table(_COSTS, _cost_rows(self._costs), right=_NUMBERS, names=("Model",))
        parts = [html.heading("Costs", html.muted("tokens, and US dollars")), costs]
        if reused := int(self._probes["reused_from"].notna().sum()):
            had_cost = dollars(self._costs["original_cost"].sum(min_count=1))
            parts.append(html.quiet(f"Reused: {counted(reused, 'answer')}, which had cost {had_cost}."))
        if maybe := int(self._costs["maybe_billed"].sum()):
            lost = counted(maybe, "unpriced request")
            parts.append(html.quiet(f"{lost} may have been billed, though no answer arrived: see run.attempts."))
        if failures := _failures(self._probes):
            parts.append(html.heading("Failures"))
            parts.append(html.table(_FAILURES, failures))
        return html.literal("".join(parts))

    def _resume_run(self) -> str:
        handle = self._resume(self.run.id)
        self._place.children = (handle.panel().widget,)
        when_done(handle, self._finish)
        return "Resumed."

    def _finish(self) -> None:
        """Show the end of the resumed run; called on a separate thread."""
        self.notice.clear()
        self._place.children = ()
        self.attempt(self.renew)

    def _ipython_display_(self) -> None:
        self.reader._ipython_display_()

    def _pages(self) -> list[html.Page]:
        now = self._progress
        labels = [f"({self._name})"] * bool(self._name) + [f"[{tag}]" for tag in self._tags]
        title = (
            f"Run {' '.join([self.run.id, *labels])}, {self._status}: "
            f"{now.ok:,} of {now.total:,} probes answered, {billed(now.cost, now.unpriced)}"
        )
        pages = [html.Page(title, pd.DataFrame(_cost_rows(self._costs), columns=list(_COSTS)), right=_NUMBERS)]
        if failures := _failures(self._probes):
            pages.append(html.Page("Failures", pd.DataFrame(failures, columns=list(_FAILURES)), right=("Probes",)))
        return pages

    def _static(self) -> tuple[str, str]:
        page, text = super()._static()
        return page + self.charts.value + self.reader.static_html(), text


def _failures(probes: pd.DataFrame) -> list[tuple[str, ...]]:
    """Failures by code, the most frequent first, each with the message of its first probe."""
    failed = probes[probes["status"].isin(("failed", "skipped")) & probes["error_code"].notna()]
    groups = sorted(failed.groupby("error_code"), key=lambda entry: -len(entry[1]))
    return [
        (
            str(code),
            f"{len(group):,}",
            ", ".join(group["model"].unique()[:3]) + (" …" if group["model"].nunique() > 3 else ""),
            short(str(group["error_message"].iloc[0]), _EXAMPLE),
        )
        for code, group in groups
    ]


def _cost_rows(costs: pd.DataFrame) -> list[tuple[str, ...]]:
    """The cost table as text, the most expensive model first."""
    ranked = costs.sort_values("estimated_cost", ascending=False, na_position="last", kind="stable")
    return [
        (
            row["model"],
            *(_count(row[name]) for name in ("ok", "failed")),
            *(_count(row[name]) for name in ("input_tokens", "output_tokens")),
            billed_row(row) if row["unpriced"] or row["ok"] or row["failed"] else "",
            _per_answer(row),
        )
        for row in ranked.to_dict("records")
    ]


def _per_answer(row: Mapping[Any, Any]) -> str:
    """The mean cost of an answer, with the number of priced answers if that is not all of them."""
    if row["priced"] == row["ok"]:
        return "" if pd.isna(row["cost_per_ok"]) else dollars(row["cost_per_ok"])
    mean = row["estimated_cost"] / (row["priced"] or 1)
    return f"{dollars(mean)} ({row['priced']:,} of {row['ok']:,} priced)" if row["priced"] else ""


def _count(number: Any) -> str:
    return "" if pd.isna(number) else f"{int(number):,}"


def _charts(costs: pd.DataFrame, probes: pd.DataFrame) -> str:
    """The charts as transparent images that are legible in any theme."""
    known = costs.dropna(subset="estimated_cost").sort_values("estimated_cost", ascending=False)
    most = "no cost is known" if known.empty else f"{known['model'].iloc[0]} is the most expensive"
    pictures = (
        (partial(charts.plot_costs, costs), f"Bar chart of the cost by model in US dollars; {most}."),
        (
            partial(charts.plot_latency, probes),
            "Box plot of the seconds to an answer by model: median, quartiles, middle 90%.",
        ),
    )
    images = "".join(
        f'<img alt="{html.esc(words)}" '
        f'src="data:image/svg+xml;base64,{b64encode(charts.svg(plot, len(costs)).encode()).decode()}" '
        'style="flex: 1 1 340px; max-width: min(620px, 100%); min-width: 0">'
        for plot, words in pictures
    )
    return (
        f'<div style="display: flex; flex-wrap: wrap; gap: 8px; align-items: flex-start; margin: 8px 0">{images}</div>'
    )
