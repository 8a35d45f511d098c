"""Suggestions of known names for unknown ones."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from llmkit.errors import ValidationError


def near(wanted: Any, known: Iterable[Any], most: int = 3, alike: float = 0.6) -> tuple[str, ...]:
    """The known names most similar to ``wanted`` (at least ``alike``, of 1), best first; case is ignored."""
    by_lowered = {str(name).casefold(): str(name) for name in known}
    return tuple(by_lowered[name] for name in get_close_matches(str(wanted).casefold(), by_lowered, most, alike))


def hint(names: Iterable[str]) -> str:
    """The names as a question to append to a sentence; empty without names."""
    meant = " or ".join(map(repr, names))
    return f" Did you mean {meant}?" if meant else ""


def unknown_column(name: Any, known: Iterable[Any], field: str, sentence: str = "") -> ValidationError:
    """The error for an unknown column; ``sentence`` replaces "There is no column …"."""
    listed = list(map(str, known))
    said = sentence or f"There is no column {name!r}."
    return ValidationError(f"{said}{hint(near(name, listed))} Choose from: {', '.join(listed)}.", field=field)
