"""The outputs of panels: static HTML that a saved notebook keeps, replaced by live widgets while the kernel lives.

If an output contains a widget view, JupyterLab ignores everything else in it and shows "model not found" once the
kernel is gone (ipywidgets #3773). So outputs hold only HTML, and a small module (``island.mjs``) inserts the live view.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from importlib import resources
from typing import Any
from uuid import uuid4

import anywidget
import ipywidgets as ipw
import traitlets
from IPython.display import publish_display_data

from llmkit.widgets import html
from llmkit.widgets.browser import kernel_here

VIEW = "application/vnd.jupyter.widget-view+json"

_ELSEWHERE = ("VSCODE_PID", "VSCODE_CWD", "COLAB_RELEASE_TAG")
"""Set in front ends that isolate outputs in frames, where only a standard widget view can be live."""


class _Mount(anywidget.AnyWidget):
    """A widget without a view, whose module runs in the browser as soon as the kernel creates it."""

    _esm = (resources.files(__package__) / "island.mjs").read_text(encoding="utf-8")
    panel = traitlets.Unicode().tag(sync=True)
    ended = traitlets.Unicode().tag(sync=True)


class Island:
    """One panel's outputs. ``static`` returns the HTML and plain text to save for the panel's current state."""

    def __init__(self, widget: ipw.DOMWidget, static: Callable[[], tuple[str, str]]) -> None:
        self._widget = widget
        self._static = static
        self._mount: _Mount | None = None
        self._display_id = ""
        self._saved = ""
        self._publishing = threading.Lock()  # an update that overtakes what it updates is lost
        self.ended = "The kernel of this form has ended: run the cell again to use it."

    def bundle(self) -> dict[str, Any]:
        """The content of an output by MIME type."""
        return self._bundle(*self._static())

    def _bundle(self, page: str, text: str) -> dict[str, Any]:
        if self._mount is None:
            self._mount = _Mount(panel=self._widget.model_id, ended=self.ended)
        # a class, because JupyterLab removes data attributes from notebooks that are not trusted
        place = f'<div class="tex2jax_ignore mathjax_ignore llmkit-panel-{self._widget.model_id}">'
        bundle: dict[str, Any] = {"text/html": f"{place}{page}</div>", "text/plain": text}
        if any(name in os.environ for name in _ELSEWHERE):
            bundle[VIEW] = {"version_major": 2, "version_minor": 0, "model_id": self._widget.model_id}
        return bundle

    def show(self, words: str | None = None) -> None:
        """Show the panel in the output of the running cell; with ``words`` instead of its static form until
        :meth:`save` is called, if that takes long to make.
        """
        with self._publishing:
            self._display_id = uuid4().hex if kernel_here() else ""  # a terminal would print each update anew
            later = words if self._display_id else None
            self._publish(self._static() if later is None else (html.quiet(later), later), update=False)

    def save(self) -> None:
        """Update the saved form of the output; the live view is unaffected."""
        with self._publishing:
            if self._display_id:
                self._publish(self._static(), update=True)

    def _publish(self, static: tuple[str, str], *, update: bool) -> None:
        page, text = static
        if update and page == self._saved:
            return
        self._saved, bundle = page, self._bundle(page, text)
        publish_display_data(bundle, transient={"display_id": self._display_id}, update=update)  # type: ignore[no-untyped-call]
