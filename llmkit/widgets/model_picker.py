"""Ticking models for a run: 25 checkboxes that are made once and filled again for every page, with a filter above."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import ipywidgets as ipw
import traitlets

from llmkit.catalog.obstacles import SOON
from llmkit.records import Model, Provider
from llmkit.widgets import html
from llmkit.widgets.browser import in_turn
from llmkit.widgets.form import choice
from llmkit.widgets.model_rows import both_prices, key_badge
from llmkit.widgets.panel import Sentence, button, line, shown

PAGE = 25
_GRID = "minmax(0, 1fr) 118px"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A model that may be ticked. ``heading`` and ``cells`` are HTML; ``open`` is false where its key is missing."""

    reference: str
    name: str
    provider: str
    heading: str
    cells: str
    searched: str
    open: bool


class ModelPicker(traitlets.HasTraits):
    """Models by provider with a checkbox each. ``chosen`` holds the references that are ticked; observe it.
    ``lines`` are the rows of the pool."""

    chosen = traitlets.Tuple()

    def __init__(self, chosen: Sequence[str]) -> None:
        super().__init__(chosen=tuple(chosen))
        self._choices: Sequence[Choice] = ()
        self._found: list[Choice] = []
        self._page = 0
        self._drawing = False
        self.error = Sentence()
        self.text = ipw.Text(
            description="Filter",
            placeholder="model, id",
            style={"description_width": "auto"},
            layout=ipw.Layout(flex="1 1 140px", width="auto", min_width="110px"),
        )
        self.provider = choice("Provider", [("all", "")], label_width="auto")
        self.show = choice("Show", [("all", ""), ("chosen", "chosen")], label_width="auto")
        self.lines = [_Line(self._tick) for _ in range(PAGE)]
        self._empty = ipw.HTML(html.quiet("Nothing matches the filter."))
        self.previous = button("Previous", lambda: self._turn(-1))
        self.next = button("Next", lambda: self._turn(1))
        self._position = ipw.HTML()
        self._pager = line(self.previous, self._position, self.next)
        box = ipw.VBox(
            [part for row in self.lines for part in row.parts],
            layout=ipw.Layout(width="100%", max_height="340px", overflow="hidden auto", display="block"),
        )
        filters = line(self.text, self.provider, self.show)
        self.widget = ipw.VBox([filters, self.error.widget, box, self._empty, self._pager])
        for control in (self.text, self.provider, self.show):
            control.observe(in_turn(lambda _: self._first_page()), "value")

    def update(self, choices: Sequence[Choice]) -> None:
        """Offer these models, providers together."""
        self._choices = choices
        options = (("all", ""), *((name, name) for name in dict.fromkeys(each.provider for each in choices)))
        if self.provider.options != options:
            kept = self.provider.value
            self.provider.options = options
            self.provider.value = kept if any(kept == value for _, value in options) else ""
        self._find()

    def box_of(self, reference: str) -> ipw.Checkbox:
        """The checkbox of a model on the page that is shown."""
        return next(line.box for line in self.lines if line.reference == reference)

    @property
    def visible(self) -> list[Choice]:
        """The models on the page that is shown."""
        return self._found[self._page * PAGE : (self._page + 1) * PAGE]

    def _tick(self, reference: str, ticked: bool) -> None:
        if not self._drawing:
            others = tuple(name for name in self.chosen if name != reference)
            self.chosen = (*others, reference) if ticked else others

    def _first_page(self) -> None:
        self._page = 0
        self._find()

    def _find(self) -> None:
        words = self.text.value.lower().split()
        self._found = [
            each
            for each in self._choices
            if (not self.provider.value or each.provider == self.provider.value)
            and (not self.show.value or each.reference in self.chosen)
            and all(word in each.searched for word in words)
        ]
        self._page = min(self._page, max(0, (len(self._found) - 1) // PAGE))
        self._draw()

    def _turn(self, by: int) -> None:
        self._page += by
        self._draw()

    def _draw(self) -> None:
        self._drawing = True
        above = None
        for slot, each in itertools.zip_longest(self.lines, self.visible):
            if each is None:
                slot.hide()
            else:
                slot.show(each, ticked=each.reference in self.chosen, headed=each.provider != above)
                above = each.provider
        self._drawing = False
        first, total = self._page * PAGE, len(self._found)
        shown(self._empty, not total)
        shown(self._pager, total > PAGE)
        self._position.value = html.quiet(f"{first + 1}–{min(first + PAGE, total)} of {total:,}")
        self.previous.disabled = first == 0
        self.next.disabled = first + PAGE >= total


class _Line:
    """The widgets of one row: a provider's heading where its models begin, the checkbox, and prices beside it."""

    def __init__(self, tick: Any) -> None:
        self.reference: str | None = None
        self.heading = ipw.HTML(layout=ipw.Layout(display="none", margin="8px 0 2px 0"))
        self.box = ipw.Checkbox(
            indent=False, layout=ipw.Layout(flex="1 1 170px", width="auto", min_width="0", margin="0 0 0 4px")
        )
        self.box.observe(in_turn(lambda change: tick(str(self.reference), bool(change.new))), "value")
        self.cells = ipw.HTML(layout=ipw.Layout(flex="2 1 250px", min_width="0", margin="0", width="auto"))
        self.row = ipw.HBox(
            [self.box, self.cells],
            layout=ipw.Layout(
                display="none",
                flex_flow="row wrap",
                align_items="center",
                border_bottom=f"1px solid {html.LINE}",
                overflow="hidden",
            ),
        )
        self.parts = (self.heading, self.row)

    def show(self, each: Choice, *, ticked: bool, headed: bool) -> None:
        """Show a model; only what differs from what is shown already is sent."""
        self.reference = each.reference
        with self.box.hold_sync():
            self.box.description = each.name
            self.box.tooltip = each.reference
            self.box.value = ticked
            self.box.disabled = not each.open and not ticked
        if headed:
            self.heading.value = each.heading
        self.cells.value = each.cells
        shown(self.heading, headed)
        shown(self.row, True)

    def hide(self) -> None:
        """Show nothing."""
        self.reference = None
        shown(self.heading, False)
        shown(self.row, False)


def choices(
    models: Mapping[str, Model],
    providers: Mapping[str, Provider],
    key_status: Mapping[str, str],
    chosen: Sequence[str],
    today: date,
) -> list[Choice]:
    """What a run may ask: active models of enabled providers, those with a key first; the default, then by price.

    What is ticked stays in the list even when it can no longer be asked, so that it can be unticked.
    """
    found: dict[str, list[Model]] = {}
    for model in models.values():
        usable = model.is_active and providers[model.provider].is_enabled
        if usable or model.reference in chosen:
            found.setdefault(model.provider, []).append(model)
    ordered = sorted(found, key=lambda name: key_status[name] == "missing")
    return [
        _choice(model, providers[name], key_status[name], today)
        for name in ordered
        for model in sorted(found[name], key=_by_price)
    ]


def notes(model: Model, provider: Provider, key_status: str, today: date) -> list[tuple[str, html.Tone]]:
    """What somebody who ticks a model has to know: a few words each."""
    found: list[tuple[str, html.Tone]] = []
    if not model.is_active:
        found.append(("deprecated", "bad"))
    if not provider.is_enabled:
        found.append(("provider disabled", "bad"))
    if key_status == "missing":
        found.append((f"no key: {provider.api_key_env}", "bad"))
    if model.retires_on is not None and model.retires_on - today <= SOON:
        word = "retires" if model.retires_on >= today else "retired"
        found.append((f"{word} {model.retires_on.isoformat()}", "bad"))
    return found


def _choice(model: Model, provider: Provider, key_status: str, today: date) -> Choice:
    told = [note for note in notes(model, provider, key_status, today) if not note[0].startswith("no key")]
    badges = [*([html.badge("Default", "accent")] if model.is_default else []), *(html.badge(*note) for note in told)]
    cells = (
        f'<div style="{html.FONT}; color: {html.TEXT}; display: grid; grid-template-columns: {_GRID}; gap: 0 8px; '
        f'align-items: center; line-height: 20px; min-height: 26px"><div style="display: flex; flex-wrap: wrap; '
        f'gap: 2px 6px; min-width: 0"><span style="{html.CODE}; color: {html.QUIET}; overflow-wrap: anywhere">'
        f'{html.esc(model.model_id)}</span>{"".join(badges)}</div><div style="text-align: right; '
        f'font-variant-numeric: tabular-nums" title="US dollars per million tokens, input / output">'
        f"{html.esc(both_prices(model, unknown='?'))}</div></div>"
    )
    return Choice(
        reference=model.reference,
        name=model.display_name,
        provider=provider.display_name,
        heading=html.heading(provider.display_name, key_badge(provider, key_status)),
        cells=cells,
        searched=f"{model.display_name} {model.reference} {provider.display_name}".lower(),
        open=key_status != "missing",
    )


def _by_price(model: Model) -> tuple[bool, bool, Decimal]:
    price = model.cost_output_per_million
    return (not model.is_default, price is None, price or Decimal(0))
