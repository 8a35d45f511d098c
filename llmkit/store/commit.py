"""Lines queued for the journal, and those waiting for them."""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from llmkit.errors import JournalError
from llmkit.store.lines import Event
from llmkit.store.locks import DISK

if TYPE_CHECKING:
    import asyncio


class Commit:
    """Lines of one run, or of the catalog, written to disk together: wait for it in a thread, or await it."""

    def __init__(self, about: str) -> None:
        self.about = about
        self.events: list[Event] = []
        self.calls = 0
        self._lock = threading.Lock()
        self._done: Future[None] = Future()
        self._waiting: list[asyncio.Future[None]] = []

    def result(self) -> None:
        """Wait until the lines are on disk.

        Raises:
            JournalError: they cannot be written, or the disk does not respond.
        """
        try:
            self._done.result(DISK)
        except TimeoutError:
            raise JournalError(
                f"The disk has not confirmed a write to the journal for {DISK:.0f} s. It may still succeed: "
                "check before you repeat it."
            ) from None

    def __await__(self) -> Generator[Any, None, None]:
        """Wait without a timeout, since what was paid for must outlast a hanging disk; the wait can be cancelled."""
        import asyncio  # slow to import, and loaded by whoever can await

        with self._lock:
            if self._done.done():
                return self._done.result()
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
        yield from waiter

    def end(self, error: Exception | None = None) -> None:
        """Wake the waiters: threads, and those of each event loop with a single call into it."""
        self.events = []  # they may be large, and this may be referenced until the next commit
        with self._lock:
            _conclude([self._done], error)
        by_loop = defaultdict(list)
        for waiter in self._waiting:
            by_loop[waiter.get_loop()].append(waiter)
        for loop, waiters in by_loop.items():
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(_conclude, waiters, error)


def _conclude(futures: Sequence[Future[None] | asyncio.Future[None]], error: Exception | None) -> None:
    for future in futures:
        if not future.done():  # a waiter may have been cancelled
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
