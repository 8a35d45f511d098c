"""From records to JSON-ready rows and back: decimals, dates and times are text there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import date, datetime, time
from decimal import Decimal
from functools import cache
from typing import Any


def as_text(value: Any) -> Any:
    """Decimals, dates and times as strings; everything else as it is."""
    if value is None or isinstance(value, int | str):
        return value
    if isinstance(value, Decimal):
        return format(value, "f")
    return value.isoformat() if isinstance(value, date | datetime | time) else value


def as_decimal(value: Any) -> Decimal | None:
    """A number or its text as a Decimal."""
    return None if value is None else value if isinstance(value, Decimal) else Decimal(str(value))


def as_moment(value: Any) -> datetime | None:
    """A time, or its ISO text, as a time."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def as_day(value: Any) -> date | None:
    """A date, or its ISO text, as a date."""
    return date.fromisoformat(value) if isinstance(value, str) else value


@cache
def field_names(cls: type) -> tuple[str, ...]:
    """The names of a dataclass's fields; ``fields`` looks for them anew each time."""
    return tuple(field.name for field in fields(cls))


def field_values(
    cls: type,
    row: Mapping[str, Any],
    *,
    decimals: Sequence[str] = (),
    datetimes: Sequence[str] = (),
    skip: Sequence[str] = (),
) -> dict[str, Any]:
    """The values of a dataclass's fields that a row has, with those of some columns converted."""
    values = {name: row[name] for name in field_names(cls) if name in row and name not in skip}
    for name in decimals:
        values[name] = as_decimal(values.get(name))
    for name in datetimes:
        values[name] = as_moment(values.get(name))
    return values
