"""The models for llmkit's own tasks: one choice per task, and the model that it would use now."""

from __future__ import annotations

import ipywidgets as ipw
import pandas as pd

from llmkit.catalog import Access
from llmkit.catalog.infra_models import choose
from llmkit.catalog.purposes import PURPOSES
from llmkit.catalog.rules import infra_reference
from llmkit.errors import LlmkitError
from llmkit.money.pricing import price_order
from llmkit.records import Model
from llmkit.widgets import html
from llmkit.widgets.browser import in_turn
from llmkit.widgets.catalog_panel import CatalogPanel
from llmkit.widgets.form import INDENT, choice, text_field
from llmkit.widgets.model_rows import both_prices
from llmkit.widgets.panel import Sentence, line
from llmkit.widgets.protocols import HasCatalog


class InfraPanel(CatalogPanel):
    """A dropdown per internal task, in ``choices``; choosing calls ``kit.catalog.set_infra_model``.

    ``search`` narrows the options to models with all of its words in their name, provider or id.
    """

    title = "Infrastructure models"

    def __init__(self, kit: HasCatalog) -> None:
        super().__init__(kit)
        self._showing = False
        self.choices = {name: choice(purpose.title, []) for name, purpose in PURPOSES.items()}
        below = ipw.Layout(margin=f"0 2px 0 {INDENT}")
        self._now = {purpose: Sentence() for purpose in PURPOSES}
        self.search = text_field("search", "Search models", hint="name, provider, id").control
        self.search.observe(in_turn(lambda _: self.refresh()), "value")
        hint = "The models that llmkit itself uses, independent of a run's models. They need a key like any other."
        parts = [ipw.VBox([self.search], layout=ipw.Layout(max_width="720px"))]
        parts += [
            ipw.VBox(
                [
                    self.choices[purpose],
                    ipw.VBox(
                        [ipw.HTML(html.quiet(PURPOSES[purpose].sentence)), self._now[purpose].widget], layout=below
                    ),
                ],
                layout=ipw.Layout(max_width="720px", margin="0 0 8px 0"),
            )
            for purpose in PURPOSES
        ]
        tools = line(self.undo_button, self.refresh_button)
        self.widget.children = (ipw.HTML(html.quiet(hint)), *parts, tools, self.notice.widget)
        for purpose, dropdown in self.choices.items():
            dropdown.observe(in_turn(lambda change, purpose=purpose: self._choose(purpose, change["new"])), "value")
        self.refresh()

    @property
    def df(self) -> pd.DataFrame:
        """One row per task: ``purpose``, the chosen ``model``, the one ``used_now``, and ``why``."""
        state = self._catalog.state()
        uses = {purpose: self._use(purpose) for purpose in PURPOSES}
        rows = [
            (purpose, infra_reference(state, purpose), model.reference if model else None, why)
            for purpose, (model, why) in uses.items()
        ]
        return pd.DataFrame(rows, columns=["purpose", "model", "used_now", "why"])

    def refresh(self) -> None:
        """Show the current catalog."""
        access = self._catalog.access()
        state = access.state
        self._showing = True
        try:
            for purpose, dropdown in self.choices.items():
                chosen = infra_reference(state, purpose)
                options = self._options(access, chosen)
                if dropdown.options != options:
                    dropdown.options = options
                dropdown.value = chosen if chosen in state.models else ""
                self._now[purpose].show(*self._told(access, purpose))
        finally:
            self._showing = False

    def _told(self, access: Access, purpose: str) -> tuple[str, html.Tone]:
        """What is said of a task's model: what is used, and when that retires."""
        model, why = self._use(purpose)
        if model is None:
            return why, "bad"
        warnings = [each.sentence for each in access.obstacles(model)]
        is_good = not warnings and model.reference == infra_reference(access.state, purpose)
        return " ".join([why, *warnings]), "good" if is_good else "warn"

    def _choose(self, purpose: str, reference: str) -> None:
        if self._showing or not reference:
            return
        label = PURPOSES[purpose].title
        if not self.act(lambda: f"{label} uses {self._catalog.set_infra_model(purpose, reference).reference} now."):
            self.refresh()

    def _options(self, access: Access, chosen: str | None) -> tuple[tuple[str, str], ...]:
        """Active models by provider, the cheapest first; unavailable ones at the end, with the reason."""
        state = access.state
        options = [] if chosen in state.models else [("choose a model", "")]
        blocked: list[tuple[str, str]] = []
        words = self.search.value.lower().split()
        places = {name: place for place, name in enumerate(state.providers)}
        for model in sorted(state.models.values(), key=lambda model: (places[model.provider], price_order(model))):
            provider = state.providers[model.provider]
            names = f"{provider.display_name} {model.display_name} {model.reference}".lower()
            if model.reference == chosen or (model.is_active and all(word in names for word in words)):
                label = f"{provider.display_name}: {model.display_name}, {both_prices(model)} per million"
                if (obstacle := access.blocking(model)) is None:
                    options.append((label, model.reference))
                else:
                    blocked.append((f"{label} ({obstacle.reason})", model.reference))
        return (*options, *blocked)

    def _use(self, purpose: str) -> tuple[Model | None, str]:
        """The model that would be used now, and why."""
        try:
            choice = choose(self._catalog.access(), purpose)
        except LlmkitError as problem:
            return None, str(problem)
        return choice.model, choice.note or f"{choice.model.reference} is used now."

    def _pages(self) -> list[html.Page]:
        frame = self.df
        frame.insert(0, "task", [PURPOSES[purpose].title for purpose in frame.pop("purpose")])
        frame.columns = pd.Index(["Task", "Model", "Used now", "Why"])
        return [html.Page(self.title, frame.fillna("none"))]
