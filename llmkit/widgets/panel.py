"""What every panel is: a box of widgets that reads well without a kernel, and acts without breaking a cell."""

from __future__ import annotations

import re
import threading
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import ipywidgets as ipw
import pandas as pd

from llmkit.errors import LlmkitError
from llmkit.widgets import html
from llmkit.widgets.browser import in_turn
from llmkit.widgets.island import Island

_BUTTONS = {
    "update_model": "Edit",
    "update_provider": "the provider's form",
    "set_default_model": "Set as default",
    "reactivate_model": "Reactivate",
    "set_infra_model": "the list of infrastructure models",
    "check_prices": "Check prices",
}
"""What does in a form what a function of ``kit.catalog`` does in code: errors speak of functions."""


class Panel(ABC):
    """A panel: shown by leaving it at the end of a cell. ``widget`` is its box, ``df`` what it shows as a DataFrame."""

    title: str
    """What the panel is called, as people read it."""

    def __init__(self) -> None:
        self.notice = Sentence()
        self.widget = ipw.VBox(layout=ipw.Layout(width="100%", overflow="hidden", padding="4px 0"))
        self.island = Island(self.widget, self._static)
        self._acting = False

    @property
    @abstractmethod
    def df(self) -> pd.DataFrame:
        """What the panel shows, as a DataFrame."""

    @abstractmethod
    def refresh(self) -> None:
        """Show the current catalog, including changes made in other notebooks."""

    def renew(self) -> None:
        """Show the catalog as it is now, and save the notebook's output so."""
        self.refresh()
        self.island.save()

    @abstractmethod
    def _pages(self) -> list[html.Page]:
        """The panel's content for people without a kernel: text cells under plain headings."""

    def act(self, action: Callable[[], str | None], *, on_error: Callable[[LlmkitError], None] | None = None) -> bool:
        """Do what a click asks for, once; then refresh, and say in the panel what was done or why it was not.

        ``action`` returns the sentence to show. An :class:`LlmkitError` goes to ``on_error``, or is shown. Warnings of
        the catalog are shown too. Clicks that arrive meanwhile do nothing.
        """
        if self._acting:
            return False
        self._acting = True
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", UserWarning)
                said = action()
                self.renew()
        except LlmkitError as error:
            self.notice.clear()
            (on_error or self._refuse)(error)
            return False
        finally:
            self._acting = False
        warned = " ".join(str(entry.message) for entry in caught if issubclass(entry.category, UserWarning))
        if said or warned:
            self.notice.show(" ".join(filter(None, (said, warned))), "warn" if warned else "good")
        return True

    def button(self, label: str, on_click: Callable[[], Any], **how: Any) -> ipw.Button:
        """As :func:`button`; an :class:`LlmkitError`, of a kit that was closed for example, is shown in the panel."""
        return button(label, lambda: self.attempt(on_click), **how)

    def attempt(self, action: Callable[[], Any]) -> None:
        """Do something that changes nothing, or show why it cannot be done."""
        try:
            action()
        except LlmkitError as error:
            self._refuse(error)

    def _refuse(self, error: LlmkitError) -> None:
        self.notice.show(str(error), "bad")

    def _static(self) -> tuple[str, str]:
        """The panel for people without a kernel, as HTML and as plain text."""
        pages = self._pages()
        tables = [f"{page.title}\n{page.frame.to_string(index=False, max_rows=html.MOST_ROWS)}" for page in pages]
        return html.static(pages), "\n\n".join(tables)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return self.island.bundle()

    def _ipython_display_(self) -> None:
        self.island.show()


class Sentence:
    """A line that is there only while it says something."""

    def __init__(self) -> None:
        self.widget = ipw.HTML(layout=ipw.Layout(display="none", width="100%", margin="0"))
        self.text = ""

    def show(self, text: str, tone: html.Tone = "plain") -> None:
        """Say it; nothing where there is nothing to say."""
        if not text:
            self.clear()
            return
        self.text = re.sub(r"(?:kit\.catalog\.)?\b(\w+)\([^()]*\)", lambda call: _BUTTONS.get(call[1], call[0]), text)
        self.widget.value = html.sentence(self.text, tone)
        self.widget.layout.display = None

    def clear(self) -> None:
        """Say nothing."""
        if self.text:
            self.text = ""
            self.widget.value = ""
            self.widget.layout.display = "none"


def button(label: str, on_click: Callable[[], Any], *, primary: bool = False, tooltip: str | None = None) -> ipw.Button:
    """A button as wide as its words; no two buttons' ``on_click`` run at the same time."""
    made = ipw.Button(
        description=label,
        tooltip=tooltip,
        button_style="primary" if primary else "",
        layout=ipw.Layout(width="auto", flex="0 0 auto"),
    )
    made.on_click(in_turn(lambda _: on_click()))
    return made


def line(*children: ipw.Widget) -> ipw.HBox:
    """Widgets beside each other, which wrap where there is little room."""
    return ipw.HBox(children, layout=ipw.Layout(flex_flow="row wrap", align_items="center", width="100%"))


def shown(widget: ipw.Widget, visible: bool) -> None:
    """Show or hide a widget; nothing is sent when that is how it is."""
    display = None if visible else "none"
    if widget.layout.display != display:
        widget.layout.display = display


def described(widget: ipw.DOMWidget, **attributes: str) -> None:
    """Tell screen readers what a widget is: ``role`` and ``aria_...``.

    ipywidgets has no traits for it: they travel as classes (``role=row``), which ``island.mjs`` makes into attributes.
    """
    said = tuple(f"{name.replace('_', '-')}={value}" for name, value in attributes.items())
    names = tuple(name.replace("_", "-") + "=" for name in attributes)
    widget._dom_classes = (*(each for each in widget._dom_classes if not each.startswith(names)), *said)


def confirm(question: str, label: str, on_yes: Callable[[], Any], on_no: Callable[[], Any]) -> ipw.VBox:
    """A question in the place where it arose, with the button that does it and one that does not."""
    ask = Sentence()
    ask.show(question, "warn")
    return ipw.VBox([ask.widget, line(button(label, on_yes, primary=True), button("Cancel", on_no))])


def when_done(handle: Any, then: Callable[[], Any]) -> threading.Thread:
    """Call ``then`` on a thread of its own when the handle has ended; a click must not wait for a provider."""

    def wait() -> None:
        handle.wait()
        in_turn(then)()

    thread = threading.Thread(target=wait, name="llmkit-panel", daemon=True)
    thread.start()
    return thread
