"""Durations for people to read."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """``28 s``, ``3 min 05 s``, ``2 h 10 min``, ``24 h``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours:,} h {minutes:02} min" if minutes else f"{hours:,} h"


def roughly(seconds: float) -> str:
    """Like ``duration``, rounded to the precision of a forecast: ``30 s``, ``4 min``, ``2 h 10 min``."""
    if seconds < 55:
        return duration(max(1, seconds if seconds < 10 else 5 * round(seconds / 5)))
    return f"{round(seconds / 60)} min" if seconds < 3570 else duration(600 * round(seconds / 600))
