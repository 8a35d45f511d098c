"""The base of every panel: a box of widgets that is readable without a kernel and shows errors as sentences."""

from __future__ import annotations

import itertools
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
}
"""The control that corresponds to each function of ``kit.catalog`` named in error messages."""


_number = itertools.count()


class Panel(ABC):
    """A panel, displayed as the last expression of a cell. ``widget`` is its box, ``df`` its content as a DataFrame."""

    title: str
    """The panel's title."""

    def __init__(self) -> None:
        self.notice = Sentence()
        self.widget = ipw.VBox(layout=ipw.Layout(width="100%", overflow="hidden", padding="4px 0"))
        self.island = Island(self.widget, self._static)
        self._acting = False

    @property
    @abstractmethod
    def df(self) -> pd.DataFrame:
        """The panel's content as a DataFrame."""

    @abstractmethod
    def refresh(self) -> None:
        """Show the current state, including changes made in other notebooks."""

    def renew(self) -> None:
        """Refresh, and update the saved output."""
        self.refresh()
        self.island.save()

    @abstractmethod
    def _pages(self) -> list[html.Page]:
        """The panel's static content: tables of text under plain titles."""

    def act(
        self,
        action: Callable[[], str | None],
        *,
        on_error: Callable[[LlmkitError], None] | None = None,
        at: Sentence | None = None,
    ) -> bool:
        """Perform the action of a click, refresh, and report in the panel what was done or why not.

        ``action`` returns the sentence to show, ``at`` the place of the click if the top of the panel may be off the
        screen then. An :class:`LlmkitError` is passed to ``on_error``, or shown. Warnings are shown too. Clicks during
        the action are ignored.
        """
        place = at or self.notice
        if self._acting:
            return False
        self._acting = True
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", UserWarning)
                sentence = action()
                self.renew()
        except LlmkitError as error:
            place.clear()
            if on_error:
                on_error(error)
            else:
                place.show(str(error), "bad")
            return False
        finally:
            self._acting = False
        warning = " ".join(str(entry.message) for entry in caught if issubclass(entry.category, UserWarning))
        if sentence and warning.startswith(sentence.partition(". ")[0]):
            sentence = None  # the warning says it, and more
        if sentence or warning:
            place.show(" ".join(filter(None, (sentence, warning))), "warn" if warning else "good")
        return True

    def button(self, label: str, on_click: Callable[[], Any], **how: Any) -> ipw.Button:
        """Like :func:`button`; an :class:`LlmkitError` (the kit was closed, say) is shown in the panel."""
        return button(label, lambda: self.attempt(on_click), **how)

    def action_button(self, label: str, action: Callable[[], str | None], **how: Any) -> ipw.Button:
        """A button that performs an action as :meth:`act` does."""
        return button(label, lambda: self.act(action), **how)

    def attempt(self, action: Callable[[], Any]) -> None:
        """Perform an action that changes nothing, or show why it failed."""
        try:
            action()
        except LlmkitError as error:
            self._refuse(error)

    def _refuse(self, error: LlmkitError) -> None:
        self.notice.show(str(error), "bad")

    def _static(self) -> tuple[str, str]:
        """The panel without a kernel, as HTML and as plain text."""
        return html.static(self._pages())

    def __repr__(self) -> str:
        return f"<{self.title}: a panel for Jupyter and IPython; .df has its content>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return self.island.bundle()

    def _ipython_display_(self) -> None:
        self.island.show()


class Sentence:
    """A line of text, hidden while empty."""

    def __init__(self) -> None:
        self.widget = ipw.HTML(layout=ipw.Layout(display="none", width="100%", margin="0"))
        self.text = ""

    def show(self, text: str, tone: html.Tone = "plain") -> None:
        """Show a text, with function names replaced by those of controls; an empty one hides the line."""
        if not text:
            self.clear()
            return
        self.text = re.sub(r"(?:kit\.catalog\.)?\b(\w+)\([^()]*\)", lambda call: _BUTTONS.get(call[1], call[0]), text)
        self.widget.value = html.sentence(self.text, tone)
        self.widget.layout.display = None

    def clear(self) -> None:
        """Hide the line."""
        if self.text:
            self.text = ""
            self.widget.value = ""
            self.widget.layout.display = "none"


def button(label: str, on_click: Callable[[], Any], *, primary: bool = False, tooltip: str | None = None) -> ipw.Button:
    """A button as wide as its label; handlers of buttons never run concurrently.

    A click on a button that was hidden or disabled meanwhile, such as the second of a double click, is ignored.
    """

    def click(_: ipw.Button) -> None:
        if not made.disabled and made.layout.display != "none":
            on_click()

    made = ipw.Button(
        description=label,
        tooltip=tooltip,
        button_style="primary" if primary else "",
        layout=ipw.Layout(width="auto", flex="0 0 auto"),
    )
    made.on_click(in_turn(click))
    return made


def line(*children: ipw.Widget) -> ipw.HBox:
    """Widgets side by side, wrapping on narrow pages."""
    return ipw.HBox(children, layout=ipw.Layout(flex_flow="row wrap", align_items="center", width="100%"))


def shown(widget: ipw.Widget, visible: bool) -> None:
    """Show or hide a widget; nothing is sent if it is already so."""
    display = None if visible else "none"
    if widget.layout.display != display:
        widget.layout.display = display


def go_to(widget: ipw.DOMWidget) -> None:
    """Scroll to what a click has opened, and move the focus there; its number changes, so that ``island.mjs`` sees it.

    ``widget.focus()`` sends a message, which would overtake new children.
    """
    described(widget, tabindex="-1", go_to=str(next(_number)))


def described(widget: ipw.DOMWidget, **attributes: str) -> None:
    """Set the attributes ``role``, ``tabindex`` and ``aria_...`` of a widget, for screen readers and keyboards.

    ipywidgets has no traits for these: they are sent as classes (``role=row``), which ``island.mjs`` turns into
    attributes.
    """
    classes = tuple(f"{name.replace('_', '-')}={value}" for name, value in attributes.items())
    names = tuple(name.replace("_", "-") + "=" for name in attributes)
    widget._dom_classes = (*(each for each in widget._dom_classes if not each.startswith(names)), *classes)


def confirm(question: str, label: str, on_yes: Callable[[], Any], on_no: Callable[[], Any]) -> ipw.VBox:
    """A question with a button to confirm and one to cancel."""
    ask = Sentence()
    ask.show(question, "warn")
    return ipw.VBox([ask.widget, line(button(label, on_yes, primary=True), button("Cancel", on_no))])


def when_done(handle: Any, then: Callable[[], Any]) -> threading.Thread:
    """Call ``then`` on a separate thread when the handle has ended, because a click must not wait for a provider."""

    def wait() -> None:
        handle.wait()
        in_turn(then)()

    thread = threading.Thread(target=wait, name="llmkit-panel", daemon=True)
    thread.start()
    return thread
