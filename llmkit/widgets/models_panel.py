"""The panel to add, edit and deprecate models, and to choose defaults."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import ipywidgets as ipw
import pandas as pd

from llmkit.catalog import Catalog
from llmkit.catalog.purposes import PURPOSES
from llmkit.catalog.rules import purposes_of
from llmkit.money.amounts import in_words
from llmkit.records import Model
from llmkit.widgets import html, model_form, model_rows
from llmkit.widgets.catalog_panel import Detail, EntriesPanel
from llmkit.widgets.form import Form
from llmkit.widgets.panel import Panel, Sentence, confirm, go_to, line, shown
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


class ModelDetail(Detail):
    """The selected model below the table. ``form`` is its open form, ``question`` its open question, or ``None``."""

    def __init__(self, catalog: Catalog, panel: Panel) -> None:
        super().__init__()
        self._catalog = catalog
        self._panel = panel
        self._model: Model | None = None
        self.question: ipw.VBox | None = None
        self.edit_button = self._button("Edit", self._edit)
        self.default_button = self._button("Set as default", self._set_default)
        self.deprecate_button = self._button("Deprecate", self._ask_deprecate)
        self.reactivate_button = self._button("Reactivate", self._reactivate)
        self.history_button = self._button("Price history", self._show_history)
        buttons = (
            self.edit_button,
            self.default_button,
            self.deprecate_button,
            self.reactivate_button,
            self.history_button,
        )
        self.widget.children = (self._title, line(*buttons), self.notice.widget, self._place)

    def show(self, key: str | None) -> None:
        """Show a model, or none."""
        self.close()
        self._model = self._catalog.model(key) if key else None
        self._draw()

    def update(self, models: Any) -> None:
        """Show the catalog's current values; an open form keeps what was typed."""
        if self._model is not None:
            before, self._model = self._model, models.get(self._model.reference)
            if self.form is not None and self._model != before:
                self.form.say_changed()
            self._draw()

    def close(self) -> None:
        """Close what is open below the buttons."""
        super().close()
        self.form = self.question = None
        self._place.children = ()

    def _open(self, content: ipw.DOMWidget) -> None:
        self._place.children = (content,)
        go_to(self._place)  # most of it is below the screen where the table ends at its edge

    def _draw(self) -> None:
        model = self._model
        shown(self.widget, model is not None)
        if model is not None:
            badges = model_rows.badges(model, self._catalog.access().today)
            self._title.value = html.heading(model.display_name, html.muted(model.reference), badges)
            shown(self.default_button, model.is_active and not model.is_default)
            shown(self.deprecate_button, model.is_active)
            shown(self.reactivate_button, not model.is_active)

    def _button(self, label: str, handler: Callable[[Model], None]) -> ipw.Button:
        """A button that closes what is open and passes on the model, if it still exists."""

        def click() -> None:
            if self.is_unsaved:
                self.notice.show("Save or cancel what you typed first.", "warn")
                return
            self.close()
            if self._model is not None:
                handler(self._model)

        return self._panel.button(label, click)

    # --- changing it ---

    def _edit(self, shown: Model) -> None:
        model = self._catalog.model(shown.reference)
        form = model_form.edit_form(model, lambda: self._save(form, model), self.close, lambda: self._edit(model))
        self.form = form
        self._open(form.widget)

    def _save(self, form: Form, model: Model) -> None:
        if form is not self.form:  # a second click, after the first one closed it
            return

        def save() -> str:
            changes = model_form.changed_values(form, model)
            if changes:
                self._catalog.update_model(model.reference, expected_updated_at=model.updated_at, **changes)
            self.close()
            return f"Saved {model.reference}." if changes else "Nothing was changed."

        self._panel.act(save, on_error=form.refuse, at=self.notice)

    def _set_default(self, model: Model) -> None:
        def make_default() -> str:
            before = self._catalog.set_default_model(model.reference).previous_default
            return f"{model.reference} is now the default" + (f" instead of {before.reference}." if before else ".")

        self._panel.act(make_default, at=self.notice)

    def _reactivate(self, model: Model) -> None:
        again = self._catalog.reactivate_model
        self._panel.act(lambda: f"{again(model.reference).reference} is active again.", at=self.notice)

    # --- retiring it ---

    def _ask_deprecate(self, model: Model) -> None:
        def deprecate() -> str:
            self.close()
            done = self._catalog.deprecate_model(model.reference)
            promoted = f" {done.new_default.reference} is now the default." if done.new_default else ""
            return f"{done.model.reference} is deprecated.{promoted}"

        words = self._consequences(model)
        yes = partial(self._panel.act, deprecate, at=self.notice)
        self.question = confirm(words, "Deprecate", yes, self.close)
        self._open(self.question)

    def _consequences(self, model: Model) -> str:
        """The question that explains what deprecating will do."""
        state = self._catalog.state()
        parts = [f"Deprecate {model.display_name}? New runs will no longer offer it; finished runs keep it."]
        if model.is_default:
            heir = self._catalog.heir(model.reference)
            parts.append(
                f"{heir.display_name} ({heir.reference}) becomes the default, at {in_words(heir.price)} "
                f"per million tokens instead of {in_words(model.price)}."
                if heir
                else "Its provider has no other active model, so it will have no default."
            )
        if purposes := [PURPOSES[name].title.lower() for name in purposes_of(state, model.reference)]:
            parts.append(f"It is the infrastructure model for {' and '.join(purposes)}; choose another one there.")
        return " ".join(parts)

    # --- its prices ---

    def _show_history(self, model: Model) -> None:
        entries = self._catalog.state().prices.get(model.reference, ())
        self._open(ipw.HTML(model_rows.price_history(entries)))
