"""A run in progress: how far it is, its cost, why requests wait; with buttons to cancel and resume it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import ipywidgets as ipw
import pandas as pd

from llmkit.analysis.stored_progress import progress_by_model
from llmkit.errors import CatalogBusy
from llmkit.money.amounts import billed, dollars
from llmkit.runs import ModelProgress, Progress, RunEvent, RunHandle
from llmkit.widgets import html
from llmkit.widgets.panel import Panel, line, shown
from llmkit.widgets.reader import Reader
from llmkit.widgets.run_summary import kernel_ended, summary_html
from llmkit.widgets.throttle import Throttle

_NOTHING = ModelProgress(total=0)
TICK = 1.0
"""Seconds after which the panel is redrawn even without events, because waits count down."""


class RunPanel(Panel):
    """A run started in this kernel. ``resume`` is ``kit.resume``; ``on_resume`` is called with the new handle.

    Events arrive on the background thread, thousands a minute, and only mark the panel as changed. One HTML widget is
    redrawn, at most ten times a second, and finally when the run has ended.
    """

    title = "Run"

    def __init__(self, handle: RunHandle[Any], resume: Callable[[str], RunHandle[Any]]) -> None:
        super().__init__()
        self._resume = resume
        self.island.ended = kernel_ended(handle.run_id)
        self.on_resume: Callable[[RunHandle[Any]], Any] = lambda handle: None
        self.reader: Reader | None = None
        self.summary = ipw.HTML(layout=ipw.Layout(width="100%", margin="0"))
        self.cancel_button = self.action_button(
            "Cancel", self._cancel, tooltip="Stop sending; answers in flight are saved"
        )
        self.resume_button = self.action_button(
            "Resume", self._resume_run, primary=True, tooltip="Send what is still unanswered"
        )
        self.answers_button = self.action_button(
            "Answers", self._show_answers, tooltip="Read answers and failures as they arrive"
        )
        self._place = ipw.VBox()
        buttons = line(self.cancel_button, self.resume_button, self.answers_button)
        self.widget.children = (self.summary, self.notice.widget, buttons, self._place)
        self._throttle = Throttle(self._draw)
        self._watch(handle)

    @property
    def progress(self) -> Progress:
        """The progress of the run, including what was done before it was resumed."""
        now = self.handle.progress
        models = {model: part + self._before.get(model, _NOTHING) for model, part in now.models.items()}
        now = replace(now, models=models, done_before=sum(part.done for part in self._before.values()))
        return replace(now, status="cancelling") if self._cancelling and now.running else now

    @property
    def df(self) -> pd.DataFrame:
        """One row per model: total, ok, failed, skipped, in_flight, waiting, cost (missing where unknown)."""
        counts = ("total", "ok", "failed", "skipped", "in_flight", "waiting")
        return pd.DataFrame(
            [
                {"model": model}
                | {name: getattr(part, name) for name in counts}
                | {"cost": None if part.unpriced and not part.cost else float(part.cost)}
                for model, part in self.progress.models.items()
            ],
            columns=["model", *counts, "cost"],
        )

    def refresh(self) -> None:
        """Show the current progress."""
        self._throttle.flush()

    def _pages(self) -> list[html.Page]:
        now, run_id = self.progress, self.handle.run_id
        spent = billed(now.cost, now.unpriced)
        of = "" if now.estimate is None else f" of about {dollars(now.estimate)}"
        title = (
            f"Run {run_id}, {now.status} at {datetime.now(UTC):%Y-%m-%d %H:%M} UTC: "
            f"{now.asked:,} of {now.total:,} probes done, {spent}{of}. "
            f'Later: kit.load("{run_id}").view()'
        )
        frame = pd.DataFrame(
            [
                {
                    "Model": model,
                    "Done": f"{part.asked:,} of {part.total:,}",
                    "Failed": part.failed,
                    "Waiting": part.waiting,
                    "Cost": billed(part.cost, part.unpriced),
                }
                for model, part in now.models.items()
            ]
        )
        return [html.Page(title, frame, right=("Done", "Failed", "Waiting", "Cost"))]

    # --- watching ---

    def _watch(self, handle: RunHandle[Any]) -> None:
        self.handle = handle
        self._cancelling = False
        self._before = _before(handle)
        self._ended = threading.Event()
        stop = handle.listen(self._hear)
        threading.Thread(target=self._tick, args=(handle, self._ended, stop), name="llmkit-panel", daemon=True).start()
        self.refresh()

    def _hear(self, event: RunEvent) -> None:
        if event.kind == "ended":
            self._ended.set()
        else:
            self._throttle.touch()

    def _tick(self, handle: RunHandle[Any], ended: threading.Event, stop: Callable[[], None]) -> None:
        """Redraw every second; when the run has ended, wait for its handle and draw a last time."""
        while not ended.wait(TICK) and not handle.done():
            self._throttle.touch()
        handle.wait()
        stop()
        self._throttle.flush()
        self.island.save()

    def _draw(self) -> None:
        now = self.progress
        self.summary.value = summary_html(self.handle.run_id, now, title=self.handle.name or "Run")
        shown(self.cancel_button, now.running)
        shown(self.resume_button, now.resumable)
        if self.cancel_button.disabled is not self._cancelling:
            self.cancel_button.disabled = self._cancelling

    # --- actions ---

    def _cancel(self) -> None:
        self._cancelling = True
        self.handle.cancel()

    def _resume_run(self) -> None:
        self._watch(self._resume(self.handle.run_id))
        self.on_resume(self.handle)
        if self.reader is not None:
            self._show_answers()

    def _show_answers(self) -> None:
        self.reader = Reader([self.handle.run])
        self.reader.island = self.island
        self._place.children = (self.reader.widget,)
        shown(self.answers_button, False)

    def _static(self) -> tuple[str, str]:
        page, text = super()._static()
        return (page if self.reader is None else page + self.reader.static_html()), text


def _before(handle: RunHandle[Any]) -> Mapping[str, ModelProgress]:
    """Progress by model from before the run was resumed; empty for a new run.

    A handle counts only its own probes; those done earlier are read from the catalog.
    """
    progress = handle.progress
    try:
        if int(handle.run.costs(by="run_id")["probes"].sum()) == progress.total:
            return {}
        probes = handle.run.probes
    except CatalogBusy:  # another process holds the database: count only this handle's probes
        return {}
    earlier = probes["completed_at"].notna() & (probes["completed_at"] < progress.started_at)
    return progress_by_model(probes[earlier & probes["status"].isin(("ok", "failed"))])
