"""The bases of panels that show the catalog: they follow its changes; those that edit it have Refresh and Undo."""

from __future__ import annotations

import contextlib

import ipywidgets as ipw

from llmkit.catalog import Catalog
from llmkit.errors import LlmkitError
from llmkit.widgets.browser import in_turn
from llmkit.widgets.form import Form
from llmkit.widgets.panel import Panel
from llmkit.widgets.protocols import HasCatalog
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
    """A panel that shows a part of the catalog and edits it. ``form`` is the open form to add to it, or ``None``."""

    def __init__(self, kit: HasCatalog) -> None:
        super().__init__(kit.catalog)
        self.form: Form | None = None
        self._place = ipw.VBox()
        self.undo_button = self.action_button(
            "Undo", self._undo, tooltip="Take back the last change to the catalog, wherever made"
        )
        self.refresh_button = self.button("Refresh", self.renew, tooltip="Show changes made in other notebooks")

    def _close(self) -> None:
        """Close what would be out of date after an undo."""

    def _open(self, form: Form, heading: str) -> None:
        self.form = form
        self._place.children = (ipw.HTML(heading), form.widget)

    def _close_form(self) -> None:
        self.form = None
        self._place.children = ()

    def _undo(self) -> str:
        self._close()
        change = self._catalog.last_change()
        self._catalog.undo()
        return f"Undid: {change}."
