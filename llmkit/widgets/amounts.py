"""Amounts as people read them in a run: US dollars, and lengths of time."""

from __future__ import annotations

from decimal import Decimal


def cost(amount: Decimal | float | None) -> str:
    """US dollars as people compare them: cents from a dollar on, below it two digits that say something."""
    if amount is None or amount != amount:
        return "unpriced"
    if amount >= 1 or amount == 0:
        return f"${amount:,.2f}"
    digits = 4 if amount >= Decimal("0.001") else min(10, 1 - Decimal(str(amount)).adjusted())
    return f"${amount:.{digits}f}"


def duration(seconds: float) -> str:
    """``28 s``, ``3 min 05 s``, ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02} min"
