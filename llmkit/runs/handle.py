"""The handle of a run, which ``kit.run`` returns at once to notebooks, scripts and panels alike."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, wait
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import anyio

from llmkit.errors import Code, LlmkitError, NotFinished, ValidationError
from llmkit.money.amounts import billed, dollars
from llmkit.records.checks import numbers
from llmkit.records.checks.texts import counted, followed
from llmkit.records.forks import forgetting
from llmkit.runs import background
from llmkit.runs.progress import Progress, RunEvent
from llmkit.runs.session import Session

T = TypeVar("T")

TICK = 0.1
"""Seconds between polls of the result: on an idle event loop, a Stop goes unnoticed until something runs."""


class Handle(Generic[T]):
    """A background task that returns a ``T``: awaitable in a notebook, ``.result()`` in a script.

    An interrupt (Stop in JupyterLab, Ctrl-C in a script) while waiting stops the task; answers that arrive are saved.
    """

    after_stop = "Stopped: nothing more is sent."
    """The sentence that an interrupt carries: what to do next."""

    def __init__(self, future: Future[T], stop: Callable[[], None]) -> None:
        self._future = future
        self._stop = stop
        _HANDLES.add(self)

    def done(self) -> bool:
        """Whether it has ended, successfully or not."""
        return self._future.done()

    def result(self, timeout: float | None = None) -> T:
        """Wait at most ``timeout`` seconds and return the result.

        Raises:
            NotFinished: it has not ended yet, and continues in the background.
            LlmkitError: it failed, or this is called by a listener.
        """
        seconds = numbers.between(timeout, "timeout", 0, threading.TIMEOUT_MAX)
        if background.is_here() and not self.done():
            raise LlmkitError("A listener cannot wait for the run that calls it. Wait where the handle was created.")
        until = math.inf if seconds is None else time.monotonic() + seconds
        try:
            with _interrupts() as interrupts, self._watched():
                while not interrupts and not self._future.done() and time.monotonic() < until:
                    wait([self._future], min(TICK, until - time.monotonic()))
                if interrupts:
                    raise KeyboardInterrupt
                return self._future.result(0)
        except FutureTimeout:
            if self._future.done():
                raise
            raise NotFinished(f"Not finished after {timeout} s; it continues in the background.") from None
        except KeyboardInterrupt as stop:
            self._stop()
            raise self._stopped(stop) from None

    def wait(self, timeout: float | None = None) -> None:
        """Wait until it ends, successfully or not, or ``timeout`` seconds have passed."""
        wait([self._future], numbers.between(timeout, "timeout", 0, threading.TIMEOUT_MAX))

    def __await__(self) -> Generator[Any, None, T]:
        return self._wait().__await__()

    async def _wait(self) -> T:
        try:
            with _interrupts() as interrupts, self._watched():
                while not self._future.done():
                    await anyio.sleep(TICK)
                    if interrupts:
                        raise KeyboardInterrupt
        except BaseException as stop:  # noqa: BLE001 - an interrupt or a cancelled cell: stop the task, then re-raise
            self._stop()
            raise self._stopped(stop) from None
        return self._future.result()

    def _watched(self) -> contextlib.AbstractContextManager[None]:
        """A context in which progress is shown."""
        return contextlib.nullcontext()

    def _stopped(self, stop: BaseException) -> BaseException:
        """The interrupt with ``after_stop`` as its message, and without the event loop's frames, slow to print."""
        if not stop.args:
            stop.args = (self.after_stop,)
        return stop.with_traceback(None)

    if not TYPE_CHECKING:  # with it, type checkers would accept any name

        def __getattr__(self, name):
            hint = "If you mean its result's, await it or call .result() first."
            message = f"{type(self).__name__} has no {name!r}. {hint}"
            raise AttributeError(message, name=name, obj=self)

    def _forget(self) -> None:
        """Fail in a forked child, where nothing would ever end it."""
        if not self.done():
            where = f"This continues in process {os.getppid()}, from which this one was forked: wait for it there."
            self._future.set_exception(LlmkitError(where, code=Code.CANCELLED))


class RunHandle(Handle[T]):
    """A run in the background. ``await`` it, or call ``.result()``; both give the :class:`llmkit.Run`."""

    def __init__(
        self,
        session: Session,
        future: Future[T],
        panel: Callable[[RunHandle[T]], Any],
        watching: Callable[[RunHandle[T]], contextlib.AbstractContextManager[None]],
        peek: Callable[[], T],
    ) -> None:
        super().__init__(future, self.leave)
        self._session = session
        self._panel = panel
        self._watching = watching
        self._shown = False
        self._peek = peek
        self.after_stop = (
            f"Stopped: answers to requests in flight are still saved. kit.resume({self.run_id!r}) asks the rest; "
            f"kit.load({self.run_id!r}) shows the answers so far."
        )

    @property
    def run_id(self) -> str:
        """The run's id, for ``kit.load`` and ``kit.resume``."""
        return self._session.run_id

    @property
    def name(self) -> str | None:
        """The name that it was started with."""
        return self._session.context.spec.name

    @property
    def status(self) -> str:
        """``running``, ``waiting for batch, 340 of 1,000 back``, ``completed``, ``budget`` (a budget ended it),
        ``cancelled`` or ``failed``.
        """
        return self._session.context.status

    @property
    def progress(self) -> Progress:
        """A snapshot: probes by state, cost so far, and what each provider waits for."""
        return self._session.progress()

    @property
    def run(self) -> T:
        """The run with its answers so far."""
        return self._peek()

    def cancel(self, grace: float = 10.0) -> None:
        """Send nothing more; answers to requests in flight are saved if they arrive within ``grace`` seconds. Returns
        at once. Batches are cancelled at their providers; what they have answered by then is billed and saved.
        """
        self._end(grace, keeps_batches=False)

    def leave(self, grace: float = 10.0) -> None:
        """Stop as :meth:`cancel` does, but leave batches running: ``kit.resume`` fetches their answers. Stop in
        JupyterLab and ``kit.close`` do this.
        """
        self._end(grace, keeps_batches=True)

    def _end(self, grace: float, *, keeps_batches: bool) -> None:
        seconds = numbers.between(grace, "grace", 0, threading.TIMEOUT_MAX) or 0.0
        if not self.done():
            background.start(partial(self._session.cancel, seconds, keeps_batches=keeps_batches))

    def listen(self, listener: Callable[[RunEvent], None]) -> Callable[[], None]:
        """Call ``listener`` with every event, on the background thread; returns a function that removes it."""
        if not callable(listener):
            raise ValidationError("listener must be a function that is called with every RunEvent.", field="listener")
        return self._session.tracker.listen(listener)

    def _watched(self) -> contextlib.AbstractContextManager[None]:
        """A panel, or a line on a terminal, unless a panel already shows the run."""
        return contextlib.nullcontext() if self._shown or self.done() else self._watching(self)

    def panel(self) -> Any:
        """A widget with progress, cost so far, what each provider waits for, Cancel and Resume."""
        self._shown = True
        return self._panel(self)

    def __repr__(self) -> str:
        now = self.progress
        probes = f"{now.asked:,} of {counted(now.total, 'probe')}"
        skipped = f", {now.skipped:,} skipped" if now.skipped else ""
        spent = billed(now.cost, now.unpriced)
        budget = "" if now.budget is None else f" of {dollars(now.budget, exact=True)}"
        summary = f"{self.run_id} {now.status}: {probes}{skipped}, {spent}{budget} so far"
        return f"<RunHandle {followed(summary, now.notes)}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return self.panel()._repr_mimebundle_(**kwargs)

    def _ipython_display_(self) -> None:
        self.panel()._ipython_display_()


@contextlib.contextmanager
def _interrupts() -> Iterator[Sequence[int]]:
    """Interrupts during the block. Python's own handler would end the event loop, as in IPython's terminal, and leave
    the coroutine asleep and the run going on; and what it raises while Python cleans up an object is lost. The second
    interrupt is raised at once.
    """
    pressed: list[int] = []

    def note(number: int, _: object) -> None:
        signal.signal(number, signal.default_int_handler)
        pressed.append(number)

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield pressed  # whoever handles them cancels the coroutine
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


_HANDLES = forgetting(Handle)
