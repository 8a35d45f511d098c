"""Amounts of money, and the columns that hold them, in words."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from llmkit.records import Rates


def dollars(amount: Decimal | float | None, *, exact: bool = False, unknown: str = "unpriced") -> str:
    """US dollars with at least two decimals: ``$1.50``, ``$0.075``.

    Costs are rounded to cents from one dollar up, and to about two significant digits below; ``exact`` keeps every
    digit, for amounts that somebody set: a price, a budget, a balance.
    """
    if amount is None or amount != amount:
        return unknown
    number = Decimal(str(amount))  # a float by its printed form, so that it rounds as the Decimal would
    size = number.copy_abs()
    places = 2 if size >= 1 or not size else 4 if size >= Decimal("0.001") else min(10, 1 - size.adjusted())
    whole, _, decimals = (f"{size:,f}" if exact else f"{size:,.{places}f}").partition(".")
    return f"{'-' if number < 0 else ''}${whole}.{decimals.rstrip('0'):0<2}"


def billed(known: Decimal | float | None, unpriced: int, *, exact: bool = False) -> str:
    """The known amount billed, and the number of unpriced requests; an unknown amount is never shown as $0."""
    amount = dollars(known or None if unpriced else known, exact=exact)
    return amount if amount == "unpriced" or not unpriced else f"{amount} and {unpriced:,} unpriced"


def billed_row(row: Mapping[Any, Any]) -> str:
    """:func:`billed` of a row of ``run.costs()``: a lost answer may have been billed, so it counts as unpriced."""
    return billed(row["estimated_cost"], row.get("unpriced", 0) + row.get("maybe_billed", 0))


def in_words(rates: Rates) -> str:
    """Input and output rates for a sentence: ``$0.10 in, $0.50 out``."""
    both = (rates.cost_input_per_million, rates.cost_output_per_million)
    read, written = (dollars(rate, exact=True) for rate in both)
    return f"{read} in, {written} out"


def column_in_words(column: str) -> str:
    """A column of the catalog as a label: ``cost_cached_input_per_million`` is the ``cached input price``."""
    return column.replace("cost_", "").replace("_per_million", " price").replace("_", " ")
