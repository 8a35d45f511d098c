"""Progress while a run is awaited: its panel in a notebook, one line on a terminal, else nothing."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from llmkit.money.pricing import billed

if TYPE_CHECKING:
    from llmkit.runs import RunEvent, RunHandle


def watching(handle: RunHandle[Any]) -> contextlib.AbstractContextManager[None]:
    """Show how far a run is while the block lasts. Threads of a program show nothing: nobody waits in front of them."""
    if threading.current_thread() is not threading.main_thread():
        return contextlib.nullcontext()
    if in_notebook():
        return _panel(handle)
    return progress_line(handle) if sys.stderr.isatty() else contextlib.nullcontext()


def in_notebook() -> bool:
    """Whether this is a Jupyter kernel. IPython is not loaded for it: in a kernel it is there already."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


@contextlib.contextmanager
def _panel(handle: RunHandle[Any]) -> Iterator[None]:
    """The panel; at the end its output is saved as the run ended."""
    island = handle.panel().island
    island.show()
    try:
        yield
    finally:
        island.save()


@contextlib.contextmanager
def progress_line(handle: RunHandle[Any]) -> Iterator[None]:
    """One line on standard error: how many probes are done, what they cost, and what the slowest provider waits for."""
    from tqdm import tqdm  # imported only on a terminal

    with tqdm(total=handle.progress.total, unit="probe", file=sys.stderr) as bar:

        def count(event: RunEvent) -> None:
            if event.kind in ("probe_done", "ended"):
                now = handle.progress
                waits = [f"{provider}: {reason}" for provider, reason in now.waiting.items()]
                bar.set_postfix_str("; ".join([billed(now.cost, now.unpriced), *waits[:1]]), refresh=False)
                bar.update(now.done - bar.n)

        stop = handle.listen(count)
        try:
            yield
        finally:
            stop()
