"""Runs for the tests of their panels: a simulator that answers at once, and waiting without sleeping."""

import contextlib
import itertools
import math
import threading

import ipywidgets as ipw

from llmkit import simulator

LUNA, SMALL = "openai:gpt-6-luna", "mistral:mistral-small-2603"
TWO = [LUNA, SMALL]


@contextlib.contextmanager
def rehearsing(kit, **behaviour):
    """Answer the kit's requests by a simulator, at once if nothing else is said."""
    with simulator.serve(**{"latency": 0, **behaviour}) as sim:
        kit.use_simulator(sim)
        yield sim


def hold_after(sim, answers):
    """Answer so many requests at once and hold whatever comes then; returns what lets it go."""
    arrivals = itertools.count()
    sim.set(latency=lambda _: 0 if next(arrivals) < answers else math.inf)
    return lambda: sim.set(latency=0)


def wait_for(widget, trait, condition, timeout=60):
    """Return when the condition holds; it is looked at whenever that trait of the widget changes."""
    holds = threading.Event()

    def look(_=None):
        if condition():
            holds.set()

    widget.observe(look, trait)
    look()
    assert holds.wait(timeout), f"never came: {getattr(widget, trait)!r}"
    widget.unobserve(look, trait)


def ended(panel):
    """Return when the panel has drawn the run's end."""
    panel.handle.wait()

    def drawn():
        return not panel.progress.running and f">{panel.progress.status}<" in panel.summary.value

    wait_for(panel.summary, "value", drawn)


def html_of(widget):
    """All that a browser is given as HTML; the text of buttons and fields is none."""
    own = widget.value if isinstance(widget, ipw.HTML) else ""
    return "\n".join([own, *map(html_of, getattr(widget, "children", ()))])
