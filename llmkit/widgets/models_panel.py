"""The panel to add, edit and deprecate models, and to choose defaults."""

from __future__ import annotations

import pandas as pd

from llmkit.widgets import html, model_form, model_rows
from llmkit.widgets.catalog_panel import EntriesPanel
from llmkit.widgets.form import Form
from llmkit.widgets.model_detail import ModelDetail
from llmkit.widgets.panel import Sentence, line
from llmkit.widgets.price_check import PriceCheck
from llmkit.widgets.protocols import HasCatalog
from llmkit.widgets.table import Table


class ModelsPanel(EntriesPanel):
    """All models by provider. Select one to change it; every button calls a function of ``kit.catalog``.

    ``table`` shows the models, ``detail`` the actions on the selected one, and ``prices`` compares their prices with
    published ones.
    """

    title = "Models"
    detail: ModelDetail

    def __init__(self, kit: HasCatalog) -> None:
        table = Table(model_rows.COLUMNS, name="Model", group="Provider", statuses=model_rows.STATUSES)
        super().__init__(kit, table, "Add model")
        self.detail = ModelDetail(kit.catalog, self)
        self.prices = PriceCheck(kit.catalog, self)
        self._old_prices = Sentence()
        tools = line(self.add_button, self.undo_button, self.prices.check_button, self.refresh_button)
        tools.layout.width = table.filters.layout.width = "auto"
        table.filters.layout.flex = "1 1 460px"
        above = line(table.filters, tools)
        self._lay_out(above, self.notice.widget, self._old_prices.widget, self._place, self.prices.widget)

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

    def _open_form(self) -> None:
        providers = [(provider.display_name, name) for name, provider in self._catalog.state().providers.items()]
        form = model_form.add_form(providers, lambda: self._add(form, lambda: self._added(form)), self._close_form)
        self._open(form, html.heading("Add a model"))

    def _added(self, form: Form) -> tuple[str, str]:
        reference, values = model_form.new_model(form)
        reference = self._catalog.add_model(reference, **values).reference
        return reference, f"Added {reference}."
