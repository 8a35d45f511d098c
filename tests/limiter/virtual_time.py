"""Time that does not have to be waited for: an event loop whose clock jumps to the next timer."""

import asyncio
import selectors
from datetime import UTC, datetime

BEGUN = datetime(2100, 1, 15, 8, tzinfo=UTC)
"""The first moment. What a real process wrote must not lie in its future, so it is later than the real time."""


class _Jump(selectors.DefaultSelector):
    """Does not wait for time to pass: lets the loop's clock pass it."""

    now = BEGUN.timestamp()

    def select(self, timeout=None):
        """What is ready now; when nothing is, as if the time had passed."""
        ready = super().select(0)
        if not ready and timeout:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self):
        self._jump = _Jump()
        super().__init__(self._jump)
        self._clock_resolution = 1e-6  # what floats can tell apart this long after the epoch

    def time(self):
        """Seconds since the epoch, of this loop."""
        return self._jump.now


def clock():
    """Seconds since the epoch on the virtual loop."""
    return asyncio.get_running_loop().time()
