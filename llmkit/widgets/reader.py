"""The panel to read answers: live while the kernel lives, a sandboxed page in a saved notebook."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anywidget
import pandas as pd

from llmkit.analysis import Run, exports, reader_data
from llmkit.errors import CatalogBusy, LlmkitError
from llmkit.widgets import html
from llmkit.widgets.panel import Panel

SAVED = 1_900_000
"""The most bytes of packed answers saved in a notebook; base64 makes them a third larger."""

Reply = tuple[Mapping[str, Any], Sequence[bytes]]
"""A reply to the browser: a message, and the bytes that go with it."""

_TICK = 2.0  # seconds between looks at a running run; more where looking takes long
_RECENT = 10.0  # seconds for which answers are not read again: when displayed, they are saved first and then sent
_PLAIN = 20  # answers below the page, for viewers without frames


class AnswersWidget(anywidget.AnyWidget):
    """The list and the conversation. Content is sent by messages, so that no widget state holds an answer."""

    _esm = reader_data.MODULE
    view = "all"
    """The module's view to use."""

    def __init__(self, data: Callable[[], Mapping[str, Any]], reply: Callable[[Mapping[str, Any]], Reply]) -> None:
        super().__init__()
        self._data = data
        self._reply = reply
        self.on_msg(lambda _widget, content, _buffers: self._receive(content))

    def show_changed(self, data: Mapping[str, Any]) -> None:
        """Replace probes by id."""
        self.send({"type": "changed"}, [reader_data.pack(data)])

    def _receive(self, content: Mapping[str, Any]) -> None:
        if content.get("type") == "ready":
            self.send({"type": self.view}, [reader_data.pack(self._data())])
        else:
            message, buffers = self._reply(content)
            self.send({**message, "number": content.get("number")}, buffers)


class Reader(Panel):
    """The answers of runs, with filters, search and side-by-side view. Runs in progress are followed."""

    title = "Answers"

    def __init__(self, runs: Sequence[Run]) -> None:
        super().__init__()
        self._runs = {run.id: run for run in runs}
        self._sent: dict[str, Any] = {}
        self._latest: tuple[float, Mapping[str, Any]] = (-math.inf, {})
        self.answers = AnswersWidget(self._recent, self._reply)
        self.widget.children = (self.notice.widget, self.answers)
        if any(run.status == "running" for run in runs):
            threading.Thread(target=self._follow, name="llmkit-reader", daemon=True).start()

    @property
    def df(self) -> pd.DataFrame:
        """The probes, as ``run.probes``."""
        return pd.concat([run.probes for run in self._runs.values()], ignore_index=True)

    def refresh(self) -> None:
        """Read the runs again, and show changes."""
        if not (before := self._sent):
            return  # nothing is on screen yet: it will read when it asks
        data = self._read()
        changed = [probe for probe in data["probes"] if before.get(probe["id"]) != probe]
        if changed:
            self.answers.show_changed({**data, "probes": changed})

    def _read(self) -> Mapping[str, Any]:
        data = reader_data.answers(self._runs.values())
        self._sent = {probe["id"]: probe for probe in data["probes"]}
        self._latest = time.monotonic(), data
        return data

    def _recent(self) -> Mapping[str, Any]:
        at, data = self._latest
        return data if time.monotonic() - at < _RECENT else self._read()

    def _reply(self, content: Mapping[str, Any]) -> Reply:
        """Answer a request of the browser; an error becomes a sentence in the reader."""
        answers = {"attempts": self._attempts, "note": self._note, "export": self._export}
        try:
            return answers[content["type"]](content)
        except LlmkitError as error:
            return {"error": str(error)}, []

    def _attempts(self, content: Mapping[str, Any]) -> Reply:
        """The requests of one probe."""
        attempts = self._runs[content["run"]].attempts
        chosen = attempts[attempts["probe_id"] == content["probe"]]
        shown = chosen[["turn", "attempt", "status_code", "error_code", "request", "reply"]]
        return {"attempts": reader_data.records(shown)}, []

    def _note(self, content: Mapping[str, Any]) -> Reply:
        """Save a note."""
        notes = {name: content.get(name) for name in ("mark", "comment", "codes")}
        self._runs[content["run"]].annotate(content["probe"], **notes)
        self._latest = (-math.inf, {})
        return {}, []

    def _export(self, content: Mapping[str, Any]) -> Reply:
        """These probes as a CSV file."""
        probes = self.df
        return {}, [exports.csv_bytes(probes[probes["probe_id"].isin(content["probes"])])]

    def _follow(self) -> None:
        """Refresh while a run is in progress, spending at most a twentieth of the time on it."""
        running = True
        while running:
            begun = time.monotonic()
            try:
                running = any(run.status == "running" for run in self._runs.values())
                self.refresh()
            except CatalogBusy:  # another process holds the database: shown at the next look
                running = True
            except LlmkitError as error:  # the files are gone, for one
                self._refuse(error)
                return
            time.sleep(max(_TICK, 20 * (time.monotonic() - begun)) if running else 0)
        self.island.save()

    def static_html(self) -> str:
        """The answers as a sandboxed page, up to :data:`SAVED` bytes, and the first ones as a plain table."""
        return self._static()[0]

    def _static(self) -> tuple[str, str]:
        packed, left_out = reader_data.fitting(self._read(), SAVED)
        table, text = super()._static()
        title = f"Answers of {', '.join(self._runs)}"
        rest = "" if not left_out else html.quiet(reader_data.LEFT_OUT.format(left_out))
        plain = f'<details><summary style="{html.FONT}">As plain text</summary>{table}</details>'
        return f"{reader_data.frame(title, packed)}{rest}{plain}", text

    def _pages(self) -> list[html.Page]:
        data = self._recent()
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
        return [html.Page(self.title, pd.DataFrame(rows, columns=["Model", "Prompt", "Answer"]))]
