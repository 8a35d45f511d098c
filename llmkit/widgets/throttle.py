"""Draw at a limited rate, but always the last state."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

PER_SECOND = 10


class Throttle:
    """Calls ``draw`` after :meth:`touch`, at most ``per_second`` times a second; the last state is always drawn.

    ``touch`` may be called from any thread and never blocks; ``draw`` runs on a separate thread (:meth:`flush`: the
    caller's), never concurrently with itself.
    """

    def __init__(self, draw: Callable[[], None], *, per_second: float = PER_SECOND) -> None:
        self._draw = draw
        self._pause = 1 / per_second
        self._lock = threading.Lock()
        self._drawing = threading.Lock()
        self._timer: threading.Timer | None = None
        self._drawn_at = float("-inf")

    def touch(self) -> None:
        """Schedule a draw, because something has changed."""
        with self._lock:
            if self._timer is None:
                self._timer = threading.Timer(max(0.0, self._drawn_at + self._pause - time.monotonic()), self._fire)
                self._timer.daemon = True
                self._timer.name = "llmkit-panel"  # at the end of the process, those are waited for
                self._timer.start()

    def flush(self) -> None:
        """Draw now, regardless of the rate."""
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        with self._drawing:
            self._drawn_at = time.monotonic()
            self._draw()

    def _fire(self) -> None:
        with self._drawing:
            with self._lock:
                if self._timer is not threading.current_thread():
                    return  # flushed while it waited for its turn: another may be scheduled by now
                self._timer = None
                self._drawn_at = time.monotonic()
            self._draw()
