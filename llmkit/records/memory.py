"""Memory that the process has freed."""

from __future__ import annotations

import ctypes
import sys

_TRIM = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


def give_back() -> None:
    """Return freed memory to the system. glibc keeps most of it, scattered over an arena for each thread; this takes
    some 10 ms per 100 MB.
    """
    if _TRIM is not None:
        _TRIM(0)
