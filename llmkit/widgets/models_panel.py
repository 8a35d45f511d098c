"""The panel to add, edit and deprecate models, and to choose defaults."""

from __future__ import annotations

import pandas as pd

from llmkit.widgets import html, model_form, model_rows
from llmkit.widgets.catalog_panel import CatalogPanel
from llmkit.widgets.model_detail import ModelDetail
from llmkit.widgets.panel import Sentence, line
from llmkit.widgets.price_check import PriceCheck
from llmkit.widgets.protocols import HasCatalog
from llmkit.widgets.table import Table


class ModelsPanel(CatalogPanel):
    """All models by provider. Select one to change it; every button calls a function of ``kit.catalog``.

    ``table`` shows the models, ``detail`` the actions on the selected one, and ``prices`` compares their prices with
    published ones.
    """

    title = "Models"

    def __init__(self, kit: HasCatalog) -> None:
        super().__init__(kit)
        self._kit = kit
        self.table = Table(model_rows.COLUMNS, name="Model", group="Provider", statuses=model_rows.STATUSES)
        self.detail = ModelDetail(kit.catalog, self)
        self.table.detail = self.detail.widget
        self.add_button = self.button("Add model", self._open_form, primary=True)
        self.prices = PriceCheck(kit.catalog, self)
        self._old_prices = Sentence()
        tools = line(self.add_button, self.undo_button, self.prices.check_button, self.refresh_button)
        tools.layout.width = self.table.filters.layout.width = "auto"
        self.table.filters.layout.flex = "1 1 460px"
        self.widget.children = (
            line(self.table.filters, tools),
            self.notice.widget,
            self._old_prices.widget,
            self._place,
            self.prices.widget,
            self.table.widget,
            self.detail.widget,
        )
        self.table.observe(lambda change: self.attempt(lambda: self.detail.show(change.new)), "selected")
        self.refresh()

    @property
    def df(self) -> pd.DataFrame:
        """The models, as ``kit.catalog.models()``."""
        return self._catalog.models()

    def refresh(self) -> None:
        """Show the current catalog."""
        access = self._catalog.access()
        self._old_prices.show(self._catalog.old_prices(), "warn")
        self.table.rows = model_rows.rows(access, model_rows.key_states(self._kit, access.state.providers))
        self.detail.update(access.state.models)

    def _pages(self) -> list[html.Page]:
        return [self.table.page(self.title)]

    def _open_form(self) -> None:
        providers = [(provider.display_name, name) for name, provider in self._catalog.state().providers.items()]
        self._open(model_form.add_form(providers, self._add, self._close_form), html.heading("Add a model"))

    def _add(self) -> None:
        form = self.form
        if form is None:  # a second click, after the first one closed it
            return

        reference = ""

        def add() -> str:
            nonlocal reference
            reference, values = model_form.new_model(form)
            reference = self._catalog.add_model(reference, **values).reference
            self._close_form()
            return f"Added {reference}."

        if self.act(add, on_error=form.refuse):
            self.table.reveal(reference)

    def _close(self) -> None:
        self.detail.close()
