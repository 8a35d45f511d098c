"""Modules that are imported when they are first used."""

from __future__ import annotations

import importlib
from typing import Any


class Later:
    """Stands in for a module: opening a catalog needs less than half of the modules that asking does.

    Threads may use it at the same time, since imports are locked. Declare the real module under ``TYPE_CHECKING``.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)
