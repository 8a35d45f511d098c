"""The price check in the models panel: compare with published prices, tick the right ones, apply them."""

from __future__ import annotations

import threading
from typing import Any

import ipywidgets as ipw
import pandas as pd

from llmkit.catalog import Catalog
from llmkit.errors import LlmkitError
from llmkit.money.amounts import dollars
from llmkit.money.price_comparison import MISSING, NEW
from llmkit.records import RATE_COLUMNS
from llmkit.records.checks.texts import counted
from llmkit.widgets.panel import Panel, Sentence, button, line, shown

SHOWN = 25
"""The most differences shown at once; the others follow when these are handled."""


class PriceCheck:
    """The button, its result, and a checkbox for each difference.

    ``found`` is the last result of ``kit.catalog.check_prices()``, ``checking`` the thread that waits for it.
    """

    def __init__(self, catalog: Catalog, panel: Panel) -> None:
        self._catalog = catalog
        self.found = pd.DataFrame()
        self.checking: threading.Thread | None = None
        self.check_button = button(
            "Check prices", self.check, tooltip="Compare with genai-prices and with the providers' own lists"
        )
        self.result = Sentence()
        self.boxes = [ipw.Checkbox(indent=False, layout=ipw.Layout(width="100%", display="none")) for _ in range(SHOWN)]
        self.apply_button = panel.action_button("Apply ticked", self.apply, primary=True)
        self.close_button = button("Close", self._clear)
        self._choice = ipw.VBox([*self.boxes, line(self.apply_button, self.close_button)])
        self.widget = ipw.VBox([self.result.widget, self._choice])
        self._clear()

    def check(self) -> None:
        """Compare in the background; the differences are shown when they arrive."""
        self._clear()
        self.check_button.disabled = True
        self.result.show("Comparing prices …")
        self.checking = threading.Thread(target=self._check, name="llmkit-prices", daemon=True)
        self.checking.start()

    def apply(self) -> str:
        """Apply the ticked prices: ``kit.catalog.apply_prices(rows)``."""
        rows = self._offered().head(SHOWN)
        changed = self._catalog.apply_prices(rows[[box.value for box in self.boxes[: len(rows)]]])
        self.found = self.found.drop(index=rows.index)
        self._show("")
        return f"Changed {', '.join(changed)}." if changed else "Nothing is ticked."

    def _check(self) -> None:
        try:
            self.found = self._catalog.check_prices()
        except LlmkitError as error:
            self.result.show(str(error), "bad")
        else:
            self._show("Every price is up to date.")
        finally:
            self.check_button.disabled = False

    def _offered(self) -> pd.DataFrame:
        return self.found[self.found["what"] != MISSING] if len(self.found) else self.found

    def _show(self, nothing: str) -> None:
        offered = self._offered()
        rows = [row for _, row in offered.head(SHOWN).iterrows()]
        for box, row in zip(self.boxes, rows, strict=False):
            box.description, box.value = words(row), True
        for place, box in enumerate(self.boxes):
            shown(box, place < len(rows))
        shown(self._choice, bool(rows))
        missing = sorted({*self.found["model"]} - {*offered["model"]}) if len(self.found) else []
        parts = [counted(len(offered), "difference")] if rows else [nothing]
        if len(offered) > SHOWN:
            parts.append(f"the first {SHOWN} are shown")
        if missing:
            parts.append(f"no published price: {', '.join(missing)}")
        parts += [f"{name} did not answer: {why}" for name, why in self.found.attrs.get("unanswered", {}).items()]
        self.result.show("; ".join(filter(None, parts)), "warn" if rows or len(parts) > 1 else "good")
        if not any(parts):
            self.result.clear()

    def _clear(self) -> None:
        self.found = pd.DataFrame()
        self.result.clear()
        shown(self._choice, False)


def words(row: Any) -> str:
    """A difference as a line of plain text."""
    begins = "" if pd.isna(row["valid_from"]) else f" from {row['valid_from']:%Y-%m-%d}"
    change = _new(row["theirs"]) if row["what"] == NEW else f"{_value(row['ours'])} → {_value(row['theirs'])}"
    name = str(row["what"]).removeprefix("cost_").removesuffix("_per_million").replace("_", " ")
    return f"{row['model']}: {name}{begins}: {change} ({row['source']}, {row['date']})"


def _new(theirs: Any) -> str:
    rates = [dollars(theirs.get(name), exact=True) for name in RATE_COLUMNS[:2]]
    return f"{theirs.get('display_name', '')} at {rates[0]} in, {rates[1]} out".strip()


def _value(value: Any) -> str:
    if isinstance(value, float):
        return dollars(value, exact=True)
    if isinstance(value, list):
        rates = ", ".join(dollars(entry.get("cost_input_per_million"), exact=True) for entry in value)
        return f"{len(value)} with {rates} in"
    return "none" if value is None else str(value)
