"""The table in which models are ticked for a run, with a checkbox in each row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as ipw
import traitlets

from llmkit.catalog import Access, Obstacle, ObstacleKind
from llmkit.errors import Code
from llmkit.money.pricing import price_order
from llmkit.records import Model
from llmkit.widgets import html
from llmkit.widgets.browser import Confirmed, in_turn
from llmkit.widgets.form import Field
from llmkit.widgets.model_rows import both_prices, identity, key_badge
from llmkit.widgets.table import Column, Row, Table
from llmkit.widgets.table_line import WHOLE
from llmkit.widgets.typed_values import read_text

_ABOUT_MODELS = (Code.MODEL_DEPRECATED, Code.MISSING_API_KEY, Code.MODEL_NOT_FOUND)

COLUMNS = (
    Column(title="Model id", width="minmax(0, 1fr)"),
    Column(
        title="$/M in / out",
        width="118px",
        sort="price",
        right=True,
        words="output price, US dollars per million tokens",
    ),
)


class ModelPicker(Table):
    """Models by provider with a checkbox each. Observe ``chosen``, the ticked references; ``field`` shows errors, and
    ``ticked`` waits for what was ticked in a browser.
    """

    chosen = traitlets.Tuple()
    room = "2 1 300px"

    def __init__(self, chosen: Sequence[str]) -> None:
        self.ticked = Confirmed()
        self._tick_layout = ipw.Layout(**{**WHOLE, "margin": "0 0 0 4px"})
        self._tick_style = ipw.Checkbox().style
        super().__init__(COLUMNS, name="Model", group="Provider", status="Show", statuses=[("chosen", "chosen")])
        self.chosen = tuple(chosen)
        self.field = Field("models", self.text, read=read_text, also=_ABOUT_MODELS)
        self.error = self.field.error
        self.widget.children = (self.filters, self.error.widget, *self.widget.children)
        self.observe(lambda _: self._draw(), "chosen")

    def _control(self, key: str, **told: Any) -> ipw.Checkbox:
        control = ipw.Checkbox(indent=False, style=self._tick_style, layout=self._tick_layout, **told)
        control.observe(in_turn(lambda change: self._tick(key, bool(change.new))), "value")
        self.ticked.add(control)
        return control

    def _tick(self, reference: str, ticked: bool) -> None:
        if ticked != (reference in self.chosen):  # drawing sets it too
            others = tuple(name for name in self.chosen if name != reference)
            self.chosen = (*others, reference) if ticked else others

    def _is_chosen(self, row: Row) -> bool:
        return row.key in self.chosen

    def _state(self, row: Row, chosen: bool) -> dict[str, Any]:
        return {"value": chosen, "disabled": row.disabled and not chosen}

    def _has_status(self, row: Row, status: str) -> bool:
        return self._is_chosen(row)


def picker_rows(access: Access, key_status: Mapping[str, str], chosen: Sequence[str]) -> tuple[Row, ...]:
    """The models on offer: active ones of enabled providers, those with a key first; the default, then by price.

    Ticked models stay listed even when they are no longer available, so that they can be unticked.
    """
    state = access.state
    offered = [
        model
        for model in state.models.values()
        if model.reference in chosen or (model.is_active and state.providers[model.provider].is_enabled)
    ]
    offered.sort(key=lambda model: (not model.is_default, price_order(model)))
    ordered = sorted(state.providers, key=lambda name: key_status[name] == "missing")
    return tuple(
        _row(model, access, key_status[name]) for name in ordered for model in offered if model.provider == name
    )


def note(obstacle: Obstacle) -> tuple[str, html.Tone]:
    """The badge of an obstacle: text and tone."""
    return obstacle.label, "warn" if obstacle.kind is ObstacleKind.RETIRES_SOON else "bad"


def _row(model: Model, access: Access, key_status: str) -> Row:
    provider = access.state.providers[model.provider]
    badges = [html.badge("Default", "accent")] if model.is_default else []
    badges += [html.badge(*note(each)) for each in access.obstacles(model) if each.kind is not ObstacleKind.NO_KEY]
    return Row(
        key=model.reference,
        name=model.display_name,
        cells=(identity(model, *badges), html.esc(both_prices(model, unknown="?"))),
        group=provider.display_name,
        heading=html.heading(provider.display_name, key_badge(provider, key_status)),
        searched=f"{model.display_name} {model.reference} {provider.display_name}".lower(),
        tooltip=model.reference,
        sort={"price": model.cost_output_per_million},
        disabled=key_status == "missing",
    )
