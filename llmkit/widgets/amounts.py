"""Amounts as people read them in a run: US dollars, and lengths of time."""

from __future__ import annotations

from decimal import Decimal


def cost(amount: Decimal | float | None) -> str:
    """US dollars as people compare them: cents from a dollar on, below it two digits that say something."""
    if amount is None or amount != amount:
        return "unpriced"
    exact = Decimal(str(amount))  # of a float what it prints as, so that it rounds as the Decimal does
    if exact >= 1 or exact == 0:
        return f"${exact:,.2f}"
    digits = 4 if exact >= Decimal("0.001") else min(10, 1 - exact.adjusted())
    return f"${exact:.{digits}f}"


def duration(seconds: float) -> str:
    """``28 s``, ``3 min 05 s``, ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02} min"
