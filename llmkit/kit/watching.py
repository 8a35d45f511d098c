"""Progress while waiting for a run: its panel in a notebook, one line on a terminal, else nothing."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from llmkit.money.amounts import billed

if TYPE_CHECKING:
    from llmkit.runs import RunEvent, RunHandle


def watching(handle: RunHandle[Any]) -> contextlib.AbstractContextManager[None]:
    """Show a run's progress during the block. Threads other than the main one show nothing: nobody watches them."""
    if threading.current_thread() is not threading.main_thread():
        return contextlib.nullcontext()
    if in_notebook():
        return _panel(handle)
    with contextlib.suppress(AttributeError, ValueError):  # programs without a console have no stderr, or a closed one
        if sys.stderr.isatty():
            return progress_line(handle)
    return contextlib.nullcontext()


def in_notebook() -> bool:
    """Whether this is a Jupyter kernel. Does not import IPython: a kernel has already loaded it."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


@contextlib.contextmanager
def _panel(handle: RunHandle[Any]) -> Iterator[None]:
    """Show the panel; at the end, save its output in its final state."""
    island = handle.panel().island
    island.show()
    try:
        yield
    finally:
        island.save()


@contextlib.contextmanager
def progress_line(handle: RunHandle[Any]) -> Iterator[None]:
    """One line on standard error: the number of finished probes, their cost, and what a provider is waiting for."""
    from tqdm import tqdm  # imported only on a terminal

    with tqdm(total=handle.progress.total, unit="probe", file=sys.stderr) as bar:

        def count(event: RunEvent) -> None:
            if event.kind in ("probe_done", "waiting", "ended"):
                now = handle.progress
                waits = [f"{provider}: {reason}" for provider, reason in now.waiting.items()]
                bar.set_postfix_str("; ".join([billed(now.cost, now.unpriced), *waits[:1]]), refresh=False)
                bar.update(now.done - bar.n)

        stop = handle.listen(count)
        try:
            yield
        finally:
            stop()
