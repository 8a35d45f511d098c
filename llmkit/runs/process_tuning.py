"""What runs need of the process while they go on: an event loop that is seldom held up, and enough open files.

A full garbage collection looks at every object of the process, some hundred thousand once pandas and a notebook are
loaded, and stops all threads for a tenth of a second. While a run goes on, what was there when it began is left out,
and the others are looked at less often than Python does, every 700 objects, which takes a tenth of a run's time.

The loop lets go of the interpreter whenever it sends or receives, and while another thread computes it gets it back
after the switch interval only: 5 ms as Python starts, a dozen times in one turn of a busy loop. It is 1 ms meanwhile.

Each request on its way has a connection, which stays open for the next run. Systems let a process open few files (256
on a Mac) until it asks for more, which it therefore keeps.
"""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator

if sys.platform != "win32":
    import resource

_FILES = 8_192
_GC_THRESHOLD = 10_000  # objects
_SWITCH_INTERVAL = 0.001  # seconds

_runs = 0
_undo = contextlib.ExitStack()


@contextlib.contextmanager
def tuned_process() -> Iterator[None]:
    """Set the process up for runs until the last such block ends.

    Whoever has frozen objects of their own, a shorter interval, or more files, keeps them.
    Used on the background loop alone.
    """
    global _runs
    _runs += 1
    if _runs == 1:
        _begin()
    try:
        yield
    finally:
        _runs -= 1
        if _runs == 0:
            _undo.close()


def _begin() -> None:
    if gc.get_freeze_count() == 0:
        gc.freeze()
        _undo.callback(gc.unfreeze)
    threshold = gc.get_threshold()
    if 0 < threshold[0] < _GC_THRESHOLD:
        gc.set_threshold(_GC_THRESHOLD, *threshold[1:])
        _undo.callback(gc.set_threshold, *threshold)
    before = sys.getswitchinterval()
    if before > _SWITCH_INTERVAL:
        sys.setswitchinterval(_SWITCH_INTERVAL)
        _undo.callback(sys.setswitchinterval, before)
    if sys.platform != "win32":
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        target = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
        if soft != resource.RLIM_INFINITY and soft < target:
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
