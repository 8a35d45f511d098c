"""Convert records to JSON-ready rows and back: decimals, dates and times become text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import date, datetime, time
from decimal import Decimal
from functools import cache
from types import MappingProxyType
from typing import Any, Self, get_args, get_origin, get_type_hints

import orjson


def dumps(value: Any) -> bytes:
    """The value as JSON. A lone surrogate, which has no UTF-8 form, is escaped.

    Raises:
        TypeError, ValueError: the value cannot be written as JSON.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


class Row:
    """A dataclass that is stored as a row: one value per field, read back according to the fields' types.

    The values of a field that is itself a ``Row`` are part of the same row.
    """

    __slots__ = ()

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read a record from values of the store, the journal or a TOML file; values that are missing or ``None`` get
        the field's default.

        Raises:
            LookupError, TypeError, ValueError, ArithmeticError, AttributeError: a value cannot be read.
        """
        kind: type = cls
        values = {name: read(row[name]) for name, read in _readers(kind) if row.get(name) is not None}
        return cls(**values, **{name: inner.from_row(row) for name, inner in _inner(kind)})

    def to_row(self) -> dict[str, Any]:
        """The record as JSON-ready values."""
        kind: type = type(self)
        row = {name: as_json(getattr(self, name)) for name, _ in _readers(kind)}
        for name, _ in _inner(kind):
            row |= getattr(self, name).to_row()
        return row


def as_json(value: Any) -> Any:
    """Decimals, dates and times as strings, tuples as lists, records as rows; everything else unchanged."""
    if value is None or isinstance(value, int | str):
        return value
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, tuple):
        return list(map(as_json, value))
    return value.to_row() if isinstance(value, Row) else dict(value) if isinstance(value, Mapping) else value


@cache
def field_names(cls: Any) -> tuple[str, ...]:
    """The names of a dataclass's fields, cached: ``fields`` collects them on every call."""
    return tuple(field.name for field in fields(cls))


_READERS: Mapping[Any, Callable[[Any], Any]] = {
    int: int,
    Decimal: lambda value: value if isinstance(value, Decimal) else Decimal(str(value)),
    datetime: lambda value: datetime.fromisoformat(value) if isinstance(value, str) else value,
    date: lambda value: date.fromisoformat(value) if isinstance(value, str) else value,
    time: time.fromisoformat,
}


_kinds = cache(get_type_hints)


@cache
def _inner(cls: Any) -> list[tuple[str, type[Row]]]:
    return [(name, kind) for name, kind in _kinds(cls).items() if _is_row(kind)]


@cache
def _readers(cls: Any) -> list[tuple[str, Callable[[Any], Any]]]:
    kinds = _kinds(cls)
    return [(name, _reader(kinds[name])) for name in field_names(cls) if not _is_row(kinds[name])]


def _reader(kind: Any) -> Callable[[Any], Any]:
    origin, parts = get_origin(kind), get_args(kind)
    if origin is tuple:
        read = _reader(parts[0])
        return lambda values: tuple(map(read, values))
    if origin is Mapping:
        return lambda values: MappingProxyType(dict(values))
    if _is_row(kind):
        return kind.from_row  # type: ignore[no-any-return]
    return next((_READERS[each] for each in parts or (kind,) if each in _READERS), lambda value: value)


def _is_row(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Row)
