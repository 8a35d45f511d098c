"""How a process ends that did not close its kits: what arrives is saved, and threads end before Python does.

A thread that is at work in a library while Python takes itself apart can abort the whole process.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from typing import Protocol

from llmkit.errors import LlmkitError
from llmkit.runs import background

GRACE = 5.0
"""Seconds that a thread is waited for."""


class Closes(Protocol):
    """What has to be closed."""

    def close(self) -> None:
        """Stop what runs, and save what arrives."""


_open: set[Closes] = set()
os.register_at_fork(after_in_child=_open.clear)  # they are the parent's


def close_at_exit(kit: Closes) -> None:
    """Close a kit when the process ends, unless :func:`closed` comes first."""
    _open.add(kit)


def closed(kit: Closes) -> None:
    """The kit was closed."""
    _open.discard(kit)


@atexit.register
def _end() -> None:
    for kit in list(_open):
        with contextlib.suppress(LlmkitError):  # what was acknowledged is saved; nobody is left to be told the rest
            kit.close()
    background.stop()
    for thread in threading.enumerate():
        if thread.name.startswith("llmkit-"):
            thread.join(GRACE)
