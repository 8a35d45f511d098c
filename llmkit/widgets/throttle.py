"""Drawing at most so often, and always the last state."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

PER_SECOND = 10


class Throttle:
    """Calls ``draw`` after :meth:`touch`, at most ``per_second`` times a second; what came last is always drawn.

    ``touch`` may come from any thread and never blocks; ``draw`` is called on a thread of its own, never twice at once.
    """

    def __init__(self, draw: Callable[[], None], *, per_second: float = PER_SECOND) -> None:
        self._draw = draw
        self._pause = 1 / per_second
        self._lock = threading.Lock()
        self._drawing = threading.Lock()
        self._timer: threading.Timer | None = None
        self._drawn_at = float("-inf")

    def touch(self) -> None:
        """Something has changed."""
        with self._lock:
            if self._timer is None:
                self._timer = threading.Timer(max(0.0, self._drawn_at + self._pause - time.monotonic()), self._fire)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Draw now, whatever was drawn when; for the end of what is watched."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
        self._fire()

    def _fire(self) -> None:
        with self._drawing:
            with self._lock:
                self._timer = None
                self._drawn_at = time.monotonic()
            self._draw()
