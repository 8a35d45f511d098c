"""Cleanup when a process ends without closing its kits: arriving answers are saved, and threads end before Python does.

A thread that is still working in a library while Python finalizes can abort the whole process.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from llmkit.errors import LlmkitError

GRACE = 5.0
"""Seconds to wait for a thread."""


class Closes(Protocol):
    """An object that must be closed."""

    def close(self) -> None:
        """Stop running work, and save what arrives."""


_open: weakref.WeakSet[Closes] = weakref.WeakSet()
_left: deque[Closes] = deque()
"""Parts of garbage-collected kits. Collection may happen while any lock is held, so they are closed later."""


def close_at_exit(kit: Closes, parts: Sequence[Closes]) -> None:
    """Close a kit when the process ends, or, if it is dropped before, the ``parts`` that it then has when the next kit
    is opened.
    """
    _close_left()
    _open.add(kit)
    weakref.finalize(kit, _leave, os.getpid(), parts).atexit = False


def closed(kit: Closes) -> None:
    """Note that a kit was closed."""
    _open.discard(kit)


def _leave(pid: int, parts: Sequence[Closes]) -> None:
    if pid == os.getpid():  # what a forked child drops belongs to its parent
        _left.extend(parts)


def _close_left() -> None:
    while _left:
        _left.popleft().close()


def _forget() -> None:
    _open.clear()
    _left.clear()


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_forget)


@atexit.register
def _end() -> None:
    for kit in tuple(_open):
        with contextlib.suppress(LlmkitError):  # acknowledged answers are saved; nobody is left to read the error
            kit.close()
    _close_left()
    if background := sys.modules.get("llmkit.runs.background"):  # an import at the end may fail
        background.stop()
    for thread in threading.enumerate():
        if thread.name.startswith("llmkit-"):
            thread.join(GRACE)
