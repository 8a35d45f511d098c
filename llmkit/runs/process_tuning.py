"""What runs need from the process: an event loop that is rarely blocked, and enough open files.

A full garbage collection visits every object of the process, a few hundred thousand once pandas and a notebook are
loaded, and stops all threads for a tenth of a second. During a run, objects that existed before it are frozen, and the
rest is collected less often than every 700 objects: that default takes a tenth of a run's time.

The loop releases the interpreter whenever it sends or receives. While another thread computes, it regains it only after
the switch interval: 5 ms by default, a dozen times in one iteration of a busy loop; during a run it is 1 ms.

Each request in flight has a connection, which stays open for the next run. Systems allow few open files (256 on a Mac)
until the process asks for more; it keeps the raised limit for those connections.
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
    """The number of open blocks, and how to undo their settings. Any thread may begin or end a block."""

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

    Objects already frozen, a shorter switch interval and a higher limit on files are left as they are.
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
