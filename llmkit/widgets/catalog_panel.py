"""The bases of panels that show the catalog: they follow its changes; those that edit it have Refresh and Undo."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable

import ipywidgets as ipw

from llmkit.catalog import Catalog
from llmkit.errors import LlmkitError
from llmkit.widgets import html
from llmkit.widgets.browser import in_turn
from llmkit.widgets.form import Form
from llmkit.widgets.panel import Panel, Sentence
from llmkit.widgets.protocols import HasCatalog
from llmkit.widgets.table import Table
from llmkit.widgets.throttle import Throttle


class FollowingPanel(Panel):
    """A panel that, once displayed, shows every change made to the catalog by code or in another panel.

    ``is_following`` is true while it does so. The user may be typing then, so open forms must not be refilled.
    """

    def __init__(self, catalog: Catalog) -> None:
        super().__init__()
        self._catalog = catalog
        self.is_following = False
        self._changes = Throttle(in_turn(self._catch_up))

    def _catch_up(self) -> None:
        self.is_following = True
        try:
            with contextlib.suppress(LlmkitError):  # closed or busy: the next click says so
                self.renew()
        finally:
            self.is_following = False

    def follow(self) -> None:
        """Begin to follow; displaying the panel does."""
        self._catalog.listen(self._changes.touch)

    def _ipython_display_(self) -> None:
        super()._ipython_display_()
        self.follow()


class CatalogPanel(FollowingPanel):
    """A panel that shows a part of the catalog and edits it."""

    def __init__(self, kit: HasCatalog) -> None:
        super().__init__(kit.catalog)
        self.undo_button = self.action_button(
            "Undo", self._undo, tooltip="Take back the last change to the catalog, wherever made"
        )
        self.refresh_button = self.button("Refresh", self.renew, tooltip="Show changes made in other notebooks")

    def _close(self) -> None:
        """Close what would be out of date after an undo."""

    def _undo(self) -> str:
        self._close()
        change = self._catalog.last_change()
        self._catalog.undo()
        return f"Undid: {change}."


class Detail(ABC):
    """What is shown of the selected row, below the table; ``form`` is its form, if one is open, and ``notice`` says
    what was done there.
    """

    form: Form | None = None

    def __init__(self) -> None:
        self.notice = Sentence()
        self._title = ipw.HTML()
        self._place = ipw.VBox(layout=ipw.Layout(width="100%"))
        layout = ipw.Layout(display="none", width="100%", min_height="130px", padding="8px 0 0 0")
        self.widget = ipw.VBox(layout=layout)  # as high as its buttons with a sentence, which are scrolled to together

    @property
    def is_unsaved(self) -> bool:
        """Whether something was typed into the open form."""
        return self.form is not None and self.form.touched(*self.form.fields)

    @abstractmethod
    def show(self, key: str | None) -> None:
        """Show a row, or none."""

    def close(self) -> None:
        """Close what would be out of date after a change."""
        self.notice.clear()


class EntriesPanel(CatalogPanel):
    """A ``table`` of entries, the ``detail`` of the selected one, and the ``form`` to add one, ``None`` unless open."""

    detail: Detail

    def __init__(self, kit: HasCatalog, table: Table, label: str) -> None:
        super().__init__(kit)
        self._kit = kit
        self.table = table
        self.form: Form | None = None
        self._place = ipw.VBox()
        self.add_button = self.button(label, self._start_adding, primary=True)

    def _lay_out(self, *above: ipw.Widget) -> None:
        self.table.detail = self.detail.widget
        self.widget.children = (*above, self.table.widget, self.detail.widget)
        self.table.observe(lambda change: self.attempt(lambda: self._show(change.old, change.new)), "selected")
        self.refresh()

    def _show(self, before: str | None, key: str | None) -> None:
        is_unsaved = self.detail.is_unsaved
        self.detail.show(key)
        if is_unsaved:
            place = self.detail.notice if key else self.notice
            place.show(f"What you typed for {before} was not saved.", "warn")

    def _close(self) -> None:
        if not self.detail.is_unsaved:
            self.detail.close()

    def _start_adding(self) -> None:
        if self.form is None:  # else it keeps what was typed
            self._open_form()

    @abstractmethod
    def _open_form(self) -> None:
        """Open the form to add an entry."""

    def _open(self, form: Form, heading: str) -> None:
        self.form = form
        self._place.children = (ipw.HTML(heading), form.widget)

    def _close_form(self) -> None:
        self.form = None
        self._place.children = ()

    def _add(self, form: Form, add: Callable[[], tuple[str, str]]) -> None:
        """Add an entry and select it; ``add`` returns its key and the sentence to show."""
        if form is not self.form:  # a second click, after the first one closed it
            return
        key = ""

        def added() -> str:
            nonlocal key
            key, sentence = add()
            self._close_form()
            return sentence

        if self.act(added, on_error=form.refuse):
            self.table.reveal(key)

    def _pages(self) -> list[html.Page]:
        return [self.table.page(self.title)]
