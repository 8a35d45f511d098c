"""The background thread, whose event loop all runs share.

On the notebook's own loop, a run would stop whenever a cell computes. The thread is a daemon and starts with the first
run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from decimal import localcontext
from typing import Any, TypeVar

import anyio

from llmkit.errors import LlmkitError
from llmkit.records import EXACT

T = TypeVar("T")

PATIENCE = 30.0
"""The most seconds that closing a kit or the process waits for any one thing."""

STANDSTILL = 1.0
"""The most seconds that a fork waits for the loop to reach a point where it holds no lock."""

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_stopping: asyncio.Event
_thread: threading.Thread | None = None
_begun: set[Future[Any]] = set()
"""Strong references to unfinished futures: the loop holds none."""


def start(function: Callable[..., Awaitable[T]], *args: Any) -> Future[T]:
    """Start an async function on the background loop; returns its future at once.

    Raises:
        LlmkitError: the system denies this process a thread or the files that the loop needs.
    """

    async def run() -> T:
        with localcontext(EXACT):  # tasks inherit the precision of the notebook, from which they are started
            return await function(*args)

    loop = _running_loop()
    future = asyncio.run_coroutine_threadsafe(run(), loop)
    _begun.add(future)
    future.add_done_callback(_begun.discard)
    return future


def is_here() -> bool:
    """Whether the caller is on the background thread, as listeners are: it must not wait for that thread's work."""
    return threading.current_thread() is _thread


def finish(function: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Call an async function on the background loop, and wait for its end, but at most ``PATIENCE`` seconds."""
    if _loop is not None:
        with contextlib.suppress(TimeoutError, RuntimeError):  # RuntimeError: the loop is closed
            asyncio.run_coroutine_threadsafe(function(), _loop).result(PATIENCE)


def stop() -> None:
    """End the background loop once its tasks have ended; the next use starts another."""
    global _loop
    with _lock:
        loop, _loop = _loop, None
    if loop is not None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(_stopping.set)


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop, _stopping, _thread
    with _lock:
        if _loop is None or _loop.is_closed():
            ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
            thread = threading.Thread(target=_run, args=(ready,), name="llmkit-runs", daemon=True)
            try:
                thread.start()
                (_loop, _stopping), _thread = ready.result(), thread
            except (RuntimeError, OSError) as error:
                raise LlmkitError(
                    f"The background thread cannot be started: {error}. Close other programs, or raise the limit on "
                    "open files (ulimit -n)."
                ) from error
        return _loop


def _run(ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    try:
        anyio.run(_serve, ready)  # imports the backend: in a child forked during that, the import would never end
    except BaseException as error:
        if not ready.done():
            ready.set_exception(error)  # such as no files left for a loop: raised where it is waited for
        elif not ready.result()[1].is_set():  # a stopped loop may fail to close its executor: that takes a thread, and
            raise  # Python 3.12 starts none as a script ends


async def _serve(ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    stopping = asyncio.Event()
    ready.set_result((asyncio.get_running_loop(), stopping))
    await stopping.wait()
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended the run, an ``LlmkitError`` if there is one; the others are its consequences."""
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves.append(first_error(error) if isinstance(error, BaseExceptionGroup) else error)
    return next((error for error in leaves if isinstance(error, LlmkitError)), leaves[0])


# --- forks ----------------------------------------------------------------------------------------------------------

_standing: list[threading.Event] = []


def _stand_still() -> None:
    """Before a fork, pause the loop between two callbacks, where it holds no lock: the child has no thread that could
    release one, be it ours or Python's (``cached_property`` before 3.12).
    """
    if _loop is None or is_here():
        return
    stands, goes_on = threading.Event(), threading.Event()

    def stand() -> None:
        stands.set()
        goes_on.wait(PATIENCE)

    with contextlib.suppress(RuntimeError):  # the loop is closed
        _loop.call_soon_threadsafe(stand)
        _standing.append(goes_on)
        stands.wait(STANDSTILL)


def _go_on() -> None:
    while _standing:
        _standing.pop().set()


def _forget_in_child() -> None:
    global _loop, _lock, _thread
    _loop, _lock, _thread = None, threading.Lock(), None
    _standing.clear()


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(before=_stand_still, after_in_parent=_go_on, after_in_child=_forget_in_child)
