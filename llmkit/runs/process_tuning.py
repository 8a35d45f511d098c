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
import threading
from collections.abc import Iterator

from llmkit.records.forks import forgetting

if sys.platform != "win32":
    import resource

_FILES = 8_192
_GC_THRESHOLD = 10_000  # objects
_SWITCH_INTERVAL = 0.001  # seconds


class _Process:
    """How many blocks this process is set up for, and how that is undone. Any thread may begin or end one."""

    def __init__(self) -> None:
        self.blocks = 0
        self.undo = contextlib.ExitStack()
        self._forget()

    def _forget(self) -> None:
        self.lock = threading.Lock()


_process = _Process()
forgetting(_Process).add(_process)


@contextlib.contextmanager
def tuned_process() -> Iterator[None]:
    """Set the process up for runs until the last such block ends.

    Whoever has frozen objects of their own, a shorter interval, or more files, keeps them.
    """
    with _process.lock:
        _process.blocks += 1
        if _process.blocks == 1:
            _begin(_process.undo)
    try:
        yield
    finally:
        with _process.lock:
            _process.blocks -= 1
            if _process.blocks == 0:
                _process.undo.close()


def _begin(undo: contextlib.ExitStack) -> None:
    if gc.get_freeze_count() == 0:
        gc.freeze()
        undo.callback(gc.unfreeze)
    threshold = gc.get_threshold()
    if 0 < threshold[0] < _GC_THRESHOLD:
        gc.set_threshold(_GC_THRESHOLD, *threshold[1:])
        undo.callback(gc.set_threshold, *threshold)
    before = sys.getswitchinterval()
    if before > _SWITCH_INTERVAL:
        sys.setswitchinterval(_SWITCH_INTERVAL)
        undo.callback(sys.setswitchinterval, before)
    if sys.platform != "win32":
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        target = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
        if soft != resource.RLIM_INFINITY and soft < target:
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
