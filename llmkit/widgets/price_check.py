"""The price check in the models panel: compare with published prices, tick the right ones, apply them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import ipywidgets as ipw
import pandas as pd

from llmkit.catalog import Catalog
from llmkit.errors import LlmkitError
from llmkit.money.amounts import column_in_words, dollars
from llmkit.money.price_comparison import MISSING, NEW
from llmkit.records import RATE_COLUMNS
from llmkit.records.checks.texts import counted
from llmkit.widgets.panel import Panel, Sentence, button, line

SHOWN = 25
"""The most differences shown at once; the others follow when these are handled."""
_NOTHING = pd.DataFrame(columns=["model", "what"])


class PriceCheck:
    """The button, its result, and a checkbox for each difference.

    ``found`` is the last result of ``kit.catalog.check_prices()``, ``checking`` the thread that waits for it.
    """

    def __init__(self, catalog: Catalog, panel: Panel) -> None:
        self._catalog = catalog
        self.found = _NOTHING
        self.checking: threading.Thread | None = None
        self.check_button = button(
            "Check prices", self.check, tooltip="Compare with genai-prices and with the providers' own lists"
        )
        self.result = Sentence()
        self.apply_button = panel.action_button("Apply ticked", self.apply, primary=True)
        self._buttons = line(self.apply_button, button("Close", self._clear))
        self._choice = ipw.VBox()
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
        changed = self._catalog.apply_prices(rows[[box.value for box in self.boxes]])
        self.found = self.found.drop(index=rows.index)
        self._show("")
        return f"Changed {', '.join(changed)}." if changed else "Nothing is ticked."

    def _check(self) -> None:
        try:
            self.found = self._catalog.check_prices()
        except LlmkitError as error:
            self.result.show(str(error), "bad")
        else:
            self._show(f"Every price is as in {self.found.attrs['source']}.")
        finally:
            self.check_button.disabled = False

    def _offered(self) -> pd.DataFrame:
        return self.found.loc[self.found["what"] != MISSING]

    def _show(self, nothing: str) -> None:
        offered = self._offered()
        self._offer(offered.head(SHOWN))
        missing = sorted({*self.found["model"]} - {*offered["model"]})
        parts = [counted(len(offered), "difference")] if self.boxes else [nothing]
        if len(offered) > SHOWN:
            parts.append(f"the first {SHOWN} are shown")
        if missing:
            parts.append(f"no published price: {', '.join(missing)}")
        parts += [f"{name} did not answer: {why}" for name, why in self.found.attrs.get("unanswered", {}).items()]
        self.result.show("; ".join(filter(None, parts)), "warn" if self.boxes or len(parts) > 1 else "good")

    def _offer(self, rows: pd.DataFrame) -> None:
        whole = ipw.Layout(width="100%")
        self.boxes = [
            ipw.Checkbox(True, description=words(row), indent=False, layout=whole) for _, row in rows.iterrows()
        ]
        self._choice.children = (*self.boxes, self._buttons) if self.boxes else ()

    def _clear(self) -> None:
        self.found = _NOTHING
        self.result.clear()
        self._offer(self.found)


def words(row: Any) -> str:
    """A difference as a line of plain text."""
    begins = "" if pd.isna(row["valid_from"]) else f" from {row['valid_from']:%Y-%m-%d}"
    change = _new(row["theirs"]) if row["what"] == NEW else f"{_value(row['ours'])} → {_value(row['theirs'])}"
    return f"{row['model']}: {column_in_words(row['what'])}{begins}: {change} ({row['source']}, {row['date']})"


def _new(theirs: Any) -> str:
    rates = [dollars(theirs.get(name), exact=True) for name in RATE_COLUMNS[:2]]
    return f"{theirs.get('display_name', '')} at {rates[0]} in, {rates[1]} out".strip()


def _value(value: Any) -> str:
    if isinstance(value, float):
        return dollars(value, exact=True)
    if isinstance(value, list) and value:
        return f"{len(value)} with {', '.join(map(_part, value))}"
    return str(value or "none")


def _part(part: Mapping[str, Any]) -> str:
    """The rate of input of a tier, window or variant, or what it multiplies all rates by."""
    factor, rate = part.get("factor"), part.get("cost_input_per_million")
    return f"{dollars(rate, exact=True)} in" if factor is None else f"all rates × {factor:g}"
