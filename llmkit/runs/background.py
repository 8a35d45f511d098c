"""The one background thread with its own event loop, on which all runs live.

A notebook's own loop is busy with the notebook; a run there would stop whenever a cell computes. The thread is a daemon
and starts with the first run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import anyio
from anyio.from_thread import BlockingPortal

from llmkit.errors import LlmkitError

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds for which the end of a kit or of the process waits for any one thing: never without end."""

STANDSTILL = 1.0
"""Seconds for which a fork waits for the loop to come to a place where it holds no lock."""

_lock = threading.Lock()
_portal: BlockingPortal | None = None
_loop: asyncio.AbstractEventLoop | None = None
_pid = 0


def start(function: Callable[..., Awaitable[T]], *args: Any) -> Future[T]:
    """Start an async function on the background loop; returns its future at once."""
    return _running_portal().start_task_soon(function, *args)


def call(function: Callable[..., T], *args: Any) -> T:
    """Call a plain function on the background loop and return its result."""
    return _running_portal().call(function, *args)


def finish(function: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Call an async function on the background loop, and wait until it has ended or ``PATIENCE`` is over.

    The portal's own ways to call wait for the loop, which something may hold up for ever.
    """
    if _loop is not None and _pid == os.getpid():
        with contextlib.suppress(TimeoutError, RuntimeError):  # RuntimeError: the loop is closed
            asyncio.run_coroutine_threadsafe(function(), _loop).result(PATIENCE)


def stop() -> None:
    """End the background loop once what runs on it has ended; the next use starts another."""
    global _portal
    with _lock:
        portal, _portal = _portal, None
    if portal is not None and _pid == os.getpid():
        finish(portal.stop)


def _running_portal() -> BlockingPortal:
    global _portal, _loop, _pid
    with _lock:
        if _portal is None or _pid != os.getpid():  # a forked child has the portal but not its thread
            ready: Future[tuple[BlockingPortal, asyncio.AbstractEventLoop]] = Future()
            threading.Thread(target=anyio.run, args=(_serve, ready), name="llmkit-runs", daemon=True).start()
            (_portal, _loop), _pid = ready.result(), os.getpid()
        return _portal


async def _serve(ready: Future[tuple[BlockingPortal, asyncio.AbstractEventLoop]]) -> None:
    async with BlockingPortal() as portal:
        ready.set_result((portal, asyncio.get_running_loop()))
        await portal.sleep_until_stopped()


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that ended the run; the others are its consequences."""
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves.append(first_error(error) if isinstance(error, BaseExceptionGroup) else error)
    return next((error for error in leaves if isinstance(error, LlmkitError)), leaves[0])


# --- forks ----------------------------------------------------------------------------------------------------------

_standing: list[threading.Event] = []


def _stand_still() -> None:
    """Before a fork: have the loop stand between two of its callbacks, where it holds no lock. The child has no thread
    that would free one, be it ours or of Python (those of ``cached_property`` before 3.12).
    """
    if _loop is None or _pid != os.getpid() or _is_on_loop():
        return
    stands, goes_on = threading.Event(), threading.Event()

    def stand() -> None:
        stands.set()
        goes_on.wait(PATIENCE)

    with contextlib.suppress(RuntimeError):  # it is closed
        _loop.call_soon_threadsafe(stand)
        _standing.append(goes_on)
        stands.wait(STANDSTILL)


def _is_on_loop() -> bool:
    try:
        return asyncio.get_running_loop() is _loop
    except RuntimeError:
        return False


def _go_on() -> None:
    while _standing:
        _standing.pop().set()


def _forget_in_child() -> None:
    global _lock
    _lock = threading.Lock()
    _standing.clear()


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(before=_stand_still, after_in_parent=_go_on, after_in_child=_forget_in_child)
