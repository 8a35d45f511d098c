"""The base of the catalog's panels, with Refresh and Undo."""

from __future__ import annotations

from llmkit.widgets.panel import Panel
from llmkit.widgets.protocols import HasCatalog


class CatalogPanel(Panel):
    """A panel that shows a part of the catalog and edits it."""

    def __init__(self, kit: HasCatalog) -> None:
        super().__init__()
        self._catalog = kit.catalog
        self.undo_button = self.button(
            "Undo", self._undo, tooltip="Take back the last change to the catalog, wherever made"
        )
        self.refresh_button = self.button("Refresh", self.renew, tooltip="Show changes made in other notebooks")

    def _close(self) -> None:
        """Close what would be out of date after an undo."""

    def _undo(self) -> None:
        def undo() -> str:
            change = self._catalog.last_change()
            self._catalog.undo()
            return f"Undid: {change}."

        self._close()
        self.act(undo)
