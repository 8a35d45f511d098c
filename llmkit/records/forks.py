"""What a forked child must not use: threads, locks and files that are its parent's."""

from __future__ import annotations

import os
from typing import Protocol, TypeVar
from weakref import WeakSet


class Forgets(Protocol):
    """Something with parts that a forked child must not use."""

    def _forget(self) -> None:
        """Reset, in a forked child."""


T = TypeVar("T", bound=Forgets)


def forgetting(kind: type[T]) -> WeakSet[T]:
    """A set whose members, all of that kind, forget what is their parent's when the process is forked."""
    members: WeakSet[T] = WeakSet()

    def forget() -> None:
        for member in tuple(members):
            member._forget()

    if hasattr(os, "register_at_fork"):  # Windows does not fork
        os.register_at_fork(after_in_child=forget)
    return members
