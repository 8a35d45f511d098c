"""Fewer pauses while runs go on.

A full garbage collection looks at every object of the process, some hundred thousand once pandas and a notebook are
loaded, and stops all threads for a tenth of a second. While a run goes on, what was there when it began is left out.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_runs = 0
_frozen = False


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Leave what is there now out of garbage collections until the last such block ends.

    Whoever has frozen objects of their own keeps them: then this does nothing.
    """
    global _runs, _frozen
    with _lock:
        _runs += 1
        if not _frozen and gc.get_freeze_count() == 0:
            gc.freeze()
            _frozen = True
    try:
        yield
    finally:
        with _lock:
            _runs -= 1
            if _runs == 0 and _frozen:
                gc.unfreeze()
                _frozen = False
