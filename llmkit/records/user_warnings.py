"""Warnings that name the line of the user's code."""

from __future__ import annotations

import sys
import warnings
from types import FrameType

_BETWEEN = {"llmkit", "contextlib", "functools", "asyncio", "anyio", "concurrent", "threading", "tenacity"}
"""The packages whose frames lie between a warning and the user's line."""


def warn(sentence: str) -> None:
    """Warn at the line that called llmkit, however deep inside it this is; on a thread without such a line, here."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN:
        frame = frame.f_back
    place = frame or sys._getframe(1)
    registry = place.f_globals.setdefault("__warningregistry__", {})
    name = place.f_globals.get("__name__")
    warnings.warn_explicit(sentence, UserWarning, place.f_code.co_filename, place.f_lineno, name, registry)
