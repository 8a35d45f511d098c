"""Resetting what a forked child must not use: threads, locks and files of its parent."""

from __future__ import annotations

import os
from typing import Protocol, TypeVar
from weakref import WeakSet


class Forgets(Protocol):
    """An object with state that a forked child must not use."""

    def _forget(self) -> None:
        """Reset that state in a forked child."""


T = TypeVar("T", bound=Forgets)


def forgetting(kind: type[T]) -> WeakSet[T]:
    """A set that calls ``_forget`` on all its members in a forked child."""
    members: WeakSet[T] = WeakSet()

    def forget() -> None:
        for member in tuple(members):
            member._forget()

    if hasattr(os, "register_at_fork"):  # Windows does not fork
        os.register_at_fork(after_in_child=forget)
    return members
