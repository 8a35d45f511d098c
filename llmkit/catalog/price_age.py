"""The age of prices, and a warning if they were read too long ago."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta

from llmkit.records import price_on
from llmkit.store import CatalogState

CHECKED = "_prices_checked_on"
"""The setting with the day of the last comparison with published prices; the underscore hides it from users."""
OLD = timedelta(days=30)


def read_on(state: CatalogState, references: Iterable[str], at: datetime) -> date | None:
    """The day on which the oldest of the models' prices in force was read, or the later day of the last comparison;
    ``None`` if no day is recorded.
    """
    entries = [price_on(state.prices.get(reference, ()), at) for reference in references]
    days = [entry.read_on for entry in entries if entry is not None and entry.read_on is not None]
    checked = state.settings.get(CHECKED)
    return max(min(days), date.fromisoformat(checked) if checked else date.min) if days else None


def old_prices(state: CatalogState, references: Iterable[str], at: datetime) -> str:
    """A warning if prices of these models are old; else an empty text."""
    day = read_on(state, references, at)
    if day is None or at.date() - day <= OLD:
        return ""
    return (
        f"Prices in the catalog were read {(at.date() - day).days:,} days ago, on {day}: "
        "kit.catalog.check_prices() compares them with published ones."
    )
