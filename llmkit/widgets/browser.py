"""Handle browser messages one at a time, and act once all input has arrived.

JupyterLab delivers the messages of different widgets on different threads, concurrently and in any order. It also sends
keystrokes only while the kernel is free: later ones wait, and a click or Enter overtakes them. Typing ``1.25`` and
Enter quickly would submit ``1``.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

import ipywidgets as ipw
import traitlets
from IPython import get_ipython

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE = 10.0
"""Seconds after which a submission goes ahead unconfirmed, in notebooks that cannot link widgets in the browser."""

_turn = threading.RLock()


def in_turn(handler: Callable[P, T]) -> Callable[P, T]:
    """Wrap a handler so that it never runs at the same time as another one."""

    @functools.wraps(handler)
    def take_turn(*args: P.args, **kwargs: P.kwargs) -> T:
        with _turn:
            return handler(*args, **kwargs)

    return take_turn


def kernel_here() -> Any:
    """The kernel that runs this, or ``None`` on a terminal and in a script."""
    return getattr(get_ipython(), "kernel", None)


def from_browser() -> bool:
    """Whether the current code was triggered by a widget in a browser, rather than by a cell or a script."""
    kernel = kernel_here()
    return kernel is not None and kernel.get_parent().get("header", {}).get("msg_type") == "comm_msg"


class Confirmed:
    """Acts once all input typed into some controls has arrived.

    The browser copies a number to every control and returns it on the control's own channel, after everything typed
    there before. It returns the first control's as soon as that is shown, which tells that it can: then however late
    what was typed may be, on a slow machine or during a long computation, it is waited for.
    """

    def __init__(self, controls: Sequence[ipw.Widget] = ()) -> None:
        self._asked = ipw.IntText(1)
        self._is_linked = False
        self._action: Callable[[], Any] | None = None
        self._links: dict[ipw.Widget, ipw.Widget] = {}
        for control in controls:
            self.add(control)

    def add(self, control: ipw.Widget) -> None:
        """Wait for what is typed into this control too."""
        control.add_traits(heard=traitlets.Int(self._asked.value if self._links else 0).tag(sync=True))
        control.observe(lambda _: self._hear(), "heard")
        self._links[control] = ipw.jsdlink((self._asked, "value"), (control, "heard"))

    def then(self, action: Callable[[], Any]) -> None:
        """Run the action when all input has arrived; at once if called by code rather than a browser."""
        if not from_browser():
            action()
        elif self._action is None:
            self._action = action
            self._asked.value += 1
            if not self._is_linked:
                timer = threading.Timer(PATIENCE, in_turn(self._act), (self._asked.value,))
                timer.daemon = True
                timer.start()

    @in_turn
    def _hear(self) -> None:
        self._is_linked = True
        if all(control.heard == self._asked.value for control in self._links):
            self._act(self._asked.value)

    def _act(self, asked: int) -> None:
        action = self._action
        if action is not None and asked == self._asked.value:
            self._action = None
            action()
