"""Suggestions of known names for unknown ones."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from llmkit.errors import ValidationError
from llmkit.records.checks import shapes


def near(wanted: Any, known: Iterable[Any], most: int = 3, alike: float = 0.6) -> tuple[str, ...]:
    """The known names most similar to ``wanted`` (at least ``alike``, of 1), best first; case is ignored."""
    by_lowered = {str(name).casefold(): str(name) for name in known}
    return tuple(by_lowered[name] for name in get_close_matches(str(wanted).casefold(), by_lowered, most, alike))


def hint(names: Iterable[str]) -> str:
    """The names as a question to append to a sentence; empty without names."""
    meant = " or ".join(map(repr, names))
    return f" Did you mean {meant}?" if meant else ""


def columns_named(names: Any, known: Iterable[Any], field: str) -> list[str]:
    """The columns that an argument names, one or several.

    Raises:
        ValidationError: none, or an unknown one.
    """
    listed = [names] if isinstance(names, str) else list(shapes.several(names, field, "a column or a list of columns"))
    if not listed:
        raise ValidationError(f"{field} names no column.", field=field)
    for name in listed:
        if not isinstance(name, str) or name not in known:
            raise unknown_name(name, known, field)
    return listed


def unknown_name(name: Any, known: Iterable[Any], field: str, sentence: str = "") -> ValidationError:
    """The error for an unknown name; ``sentence`` replaces "There is no column …"."""
    listed = list(map(str, known))
    said = sentence or f"There is no column {name!r}."
    return ValidationError(f"{said}{hint(near(name, listed))} Choose from: {', '.join(listed)}.", field=field)
