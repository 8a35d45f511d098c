"""What changes during a run: announced prices, and hours with their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from llmkit.money.pricing import rates_at
from llmkit.records import DatedPrice, Price, Rates, since

WEEK = timedelta(days=7)
"""The period after which hourly prices repeat."""


def next_change(entries: Iterable[DatedPrice], at: datetime) -> DatedPrice | None:
    """The entry that takes effect next after ``at``, if one is known; of equals, the one appended last."""
    coming = [entry for entry in entries if since(entry.valid_from) > at]
    return min(reversed(coming), key=lambda entry: since(entry.valid_from), default=None)


def price_changes(
    price: Price, entries: Sequence[DatedPrice], begins: datetime, ends: datetime
) -> list[tuple[datetime, Price]]:
    """The moments between ``begins`` and ``ends`` at which ``price`` changes, each with the price that then applies;
    hours with the same rates are listed once, at their first start.
    """
    dated = [(entry.valid_from, entry.price) for entry in entries if entry.valid_from is not None]
    coming = [(day, new) for day, new in dated if begins < day < ends]
    prices = [(begins, price), *sorted(coming, key=lambda change: change[0])]
    begins_at: dict[tuple[Price, Rates], datetime] = {}
    for (first, each), (last, _) in zip(prices, [*prices[1:], (ends, price)], strict=True):
        for moment in (first, *_edges(each, first, min(last, first + WEEK))):
            begins_at.setdefault((each, rates_at(each, 0, moment)), moment)
    return [(moment, each) for (each, _), moment in begins_at.items() if moment > begins]


def _edges(price: Price, begins: datetime, ends: datetime) -> Iterator[datetime]:
    """When a price's hours start and end between two moments."""
    midnight = begins.replace(hour=0, minute=0, second=0, microsecond=0)
    clocks = sorted({clock for window in price.price_windows for clock in (window.start, window.end)})
    for day in range((ends - midnight).days + 1):
        for clock in clocks:
            moment = midnight + timedelta(days=day, hours=clock.hour, minutes=clock.minute, seconds=clock.second)
            if begins < moment < ends:
                yield moment
