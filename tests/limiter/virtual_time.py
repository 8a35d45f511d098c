"""Time that does not have to be waited for: an event loop whose clock jumps to the next timer."""

import asyncio
import selectors


class _Jump(selectors.DefaultSelector):
    """Does not wait for time to pass: lets the loop's clock pass it."""

    now = 1_800_000_000.0

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
