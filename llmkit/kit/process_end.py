"""How a process ends that did not close its kits: what arrives is saved, and threads end before Python does.

A thread that is at work in a library while Python takes itself apart can abort the whole process.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import weakref
from collections import deque
from typing import Protocol

from llmkit.errors import LlmkitError
from llmkit.runs import background

GRACE = 5.0
"""Seconds that a thread is waited for."""


class Closes(Protocol):
    """What has to be closed."""

    def close(self) -> None:
        """Stop what runs, and save what arrives."""


_open: weakref.WeakSet[Closes] = weakref.WeakSet()
_left: deque[Closes] = deque()
"""Parts of kits that were collected. A collection may come while any lock is held, so nothing is closed there."""


def close_at_exit(kit: Closes, *parts: Closes) -> None:
    """Close a kit when the process ends, and its ``parts`` before another is opened if it was dropped meanwhile."""
    _close_left()
    _open.add(kit)
    weakref.finalize(kit, _leave, os.getpid(), *parts).atexit = False


def closed(kit: Closes) -> None:
    """The kit was closed."""
    _open.discard(kit)


def _leave(pid: int, *parts: Closes) -> None:
    if pid == os.getpid():  # what a forked child drops is its parent's
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
        with contextlib.suppress(LlmkitError):  # what was acknowledged is saved; nobody is left to be told the rest
            kit.close()
    _close_left()
    background.stop()
    for thread in threading.enumerate():
        if thread.name.startswith("llmkit-"):
            thread.join(GRACE)
