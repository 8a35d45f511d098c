"""The panel to read answers: live while the kernel lives, a sandboxed page in a saved notebook."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import anywidget
import pandas as pd
import traitlets

from llmkit.analysis import Run, exports, reader_data
from llmkit.errors import CatalogBusy, LlmkitError
from llmkit.records import columns
from llmkit.widgets import html
from llmkit.widgets.panel import Panel

SAVED = 1_900_000
"""The most bytes of packed answers saved in a notebook; base64 makes them a third larger."""

Reply = tuple[Mapping[str, Any], Sequence[bytes]]
"""A reply to the browser: a message, and the bytes that go with it."""

_TICK = 2.0  # seconds between looks at whether a run still runs
_AT_ONCE = 200  # probes shown before all are read
_PLAIN = 20  # answers below the page, for viewers without frames


class AnswersWidget(anywidget.AnyWidget):
    """The list and the conversation. Content is sent by messages, so that no widget state holds an answer."""

    _esm = reader_data.MODULE
    view = "all"
    """The module's view to use."""
    coming = traitlets.Bool(False).tag(sync=True)
    """Whether the content is about to be sent, so that the browser need not ask for it."""

    def __init__(
        self, parts: Callable[[], Iterable[Mapping[str, Any]]], reply: Callable[[Mapping[str, Any]], Reply]
    ) -> None:
        super().__init__()
        self._parts = parts
        self.sending = threading.Lock()
        self._reply = reply
        self.on_msg(lambda _widget, content, _buffers: self._receive(content))

    def show(self) -> None:
        """Send the content: the first part replaces what is on the screen, the others are added to it."""
        kind = self.view
        with self.sending:
            for part in self._parts():
                self.send({"type": kind}, [reader_data.pack(part)])
                kind = "changed"

    def _receive(self, content: Mapping[str, Any]) -> None:
        if content.get("type") == "ready":
            self.show()
        else:
            try:
                message, buffers = self._reply(content)
            except LlmkitError as error:  # becomes a sentence on the screen
                message, buffers = {"error": str(error)}, []
            self.send({**message, "number": content.get("number")}, buffers)


class Reader(Panel):
    """The answers of runs, with filters, search and side-by-side view. Runs in progress are followed."""

    title = "Answers"

    def __init__(self, runs: Sequence[Run]) -> None:
        super().__init__()
        self._runs = {run.id: run for run in runs}
        self._shown: Mapping[str, Any] = {}
        self.on_end: Callable[[], None] = lambda: self.island.save()
        self.answers = AnswersWidget(self._parts, self._reply)
        self.widget.children = (self.notice.widget, self.answers)
        if any(run.status == "running" for run in runs):
            threading.Thread(target=self._follow, name="llmkit-reader", daemon=True).start()

    @property
    def df(self) -> pd.DataFrame:
        """The probes, as ``run.probes``."""
        return pd.concat([run.probes for run in self._runs.values()], ignore_index=True)

    def refresh(self) -> None:
        """Read the runs again, and show changes."""
        with self.answers.sending:  # what is read later must not arrive earlier
            if not self._shown:
                return  # nothing is on screen yet: it will read when it asks
            before = {probe["id"]: probe for probe in self._shown["probes"]}
            self._shown = self._read()
            changed = [probe for probe in self._shown["probes"] if before.get(probe["id"]) != probe]
            if changed:
                self.answers.send({"type": "changed"}, [reader_data.pack({**self._shown, "probes": changed})])

    def _read(self) -> Mapping[str, Any]:
        return reader_data.answers(self._runs.values())

    def _parts(self) -> Iterable[Mapping[str, Any]]:
        """The first answers, then all, which take longer to read."""
        self._shown = reader_data.answers(run.head(_AT_ONCE) for run in self._runs.values())
        if len(self._shown["probes"]) < _AT_ONCE:
            yield self._shown
            return
        yield {**self._shown, "more": True}
        self._shown = self._read()
        yield self._shown

    def _ipython_display_(self) -> None:
        """Show the first answers, send the others, and only then make what is saved."""
        self.answers.coming = True
        try:
            self.island.show(self._heading)
            self.answers.show()
            self.island.save()
        finally:
            self.answers.coming = False

    def _reply(self, content: Mapping[str, Any]) -> Reply:
        """Answer a request of the browser."""
        return {"attempts": self._attempts, "note": self._note, "export": self._export}[content["type"]](content)

    def _attempts(self, content: Mapping[str, Any]) -> Reply:
        """The requests of one probe."""
        attempts = self._runs[content["run"]].only(content["probe"]).attempts
        shown = attempts[["turn", "attempt", "status_code", "error_code", "request", "reply"]]
        return {"attempts": columns.rows(shown)}, []

    def _note(self, content: Mapping[str, Any]) -> Reply:
        """Save a note."""
        notes = {name: content.get(name) for name in ("mark", "comment", "codes")}
        self._runs[content["run"]].annotate(content["probe"], **notes)
        return {}, []

    def _export(self, content: Mapping[str, Any]) -> Reply:
        """These probes as a CSV file."""
        probes = self.df
        return {}, [exports.csv_bytes(probes[probes["probe_id"].isin(content["probes"])])]

    def _follow(self) -> None:
        """Refresh at the end of a run and, spending at most a twentieth of the time on it, while it is in progress."""
        running, due = True, 0.0
        while running:
            time.sleep(_TICK)
            try:
                running = any(run.status == "running" for run in self._runs.values())
                if not running or time.monotonic() >= due:
                    begun = time.thread_time()
                    self.refresh()
                    due = time.monotonic() + 20 * (time.thread_time() - begun)
                if not running:
                    self.on_end()
            except CatalogBusy:  # another process holds the database: shown at the next look
                running = True
            except LlmkitError as error:  # the files are gone, for one
                self._refuse(error)
                return

    def static_html(self) -> str:
        """The answers as a sandboxed page, up to :data:`SAVED` bytes, and the first ones as a plain table."""
        return self._static()[0]

    def _static(self) -> tuple[str, str]:
        data = (self.answers.coming and self._shown) or self._read()
        packed, left_out = reader_data.fitting(data, SAVED)
        table, text = html.static([self._first(data)])
        rest = "" if not left_out else html.quiet(reader_data.LEFT_OUT.format(left_out))
        first = f": the first {_PLAIN}" if len(data["probes"]) > _PLAIN else ""
        plain = f'<details><summary style="{html.FONT}">As plain text{first}</summary>{table}</details>'
        return f"{reader_data.frame(self._heading, packed)}{rest}{plain}", text

    @property
    def _heading(self) -> str:
        return f"Answers of {', '.join(self._runs)}"

    def _pages(self) -> list[html.Page]:
        return [self._first(self._read())]

    def _first(self, data: Mapping[str, Any]) -> html.Page:
        """The first answers, for viewers without frames."""
        rows = [
            {
                "Model": probe["model"],
                "Prompt": data["scenarios"][probe["s"]]["prompts"][0],
                "Answer": (probe["turns"][-1]["response"] if probe["turns"] else None)
                or probe["message"]
                or probe["status"],
            }
            for probe in data["probes"][:_PLAIN]
        ]
        return html.Page(self.title, pd.DataFrame(rows, columns=["Model", "Prompt", "Answer"]))
