"""Type checks of arguments, done before all others: text, a list of texts, a dict, a function, a path."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from inspect import iscoroutinefunction
from numbers import Real
from pathlib import Path
from typing import Any, TypeVar, get_args

import numpy as np

from llmkit.errors import ValidationError

T = TypeVar("T")

_TIMES = (np.datetime64, np.timedelta64)


def is_real(value: Any, of: type = Real) -> bool:
    """Whether it is a number (``Integral``: a whole one). Booleans are not, nor numpy's durations, which are integers
    to Python.
    """
    return isinstance(value, of) and not isinstance(value, (bool, *_TIMES))


def is_number(value: Any) -> bool:
    """Whether it is a finite number that a float can hold."""
    try:
        return is_real(value) and math.isfinite(value)
    except OverflowError:
        return False


def unboxed(value: Any) -> Any:
    """Python's number, flag or text for one of numpy's; other values, its times included, as they are: in nanoseconds
    they would become integers.
    """
    return value.item() if isinstance(value, np.generic) and not isinstance(value, _TIMES) else value


def string(value: Any, field: str) -> str:
    """Text of any length that can be written to a file."""
    if not isinstance(value, str):
        raise ValidationError(f"{field} must be text, not {kind(value)}.", field=field)
    return unbroken(value, field, field)


def unbroken(value: str, what: str, field: str) -> str:
    """The text, unless it contains a lone surrogate: no file and no provider could accept it."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValidationError(
            f"{what} holds a broken character at position {error.start + 1}: "
            "read its source again with the right encoding.",
            field=field,
        ) from None
    return value


def optional_string(value: Any, field: str) -> str | None:
    """``None``, or text as :func:`string` accepts it."""
    return None if value is None else string(value, field)


def strings(value: Any, field: str) -> tuple[str, ...]:
    """One text or several, none of them empty; ``None`` for none."""
    listed = () if value is None else (value,) if isinstance(value, str) else several(value, field, "a list of texts")
    if not all(isinstance(text, str) and text.strip() for text in listed):
        raise ValidationError(f"{field} must be a text that is not empty, or a list of such texts.", field=field)
    return tuple(string(text, field) for text in listed)


def several(value: Any, field: str, what: str) -> tuple[Any, ...]:
    """A list, tuple, Series or the like, not a dict, text or table; ``what`` describes it in the error. Numpy's scalars
    become Python's, as by :func:`unboxed`.
    """
    if (
        isinstance(value, str | bytes | Mapping)
        or not isinstance(value, Iterable)
        or getattr(value, "ndim", 1) != 1  # iterating a DataFrame would give its column names
    ):
        raise ValidationError(f"{field} must be {what}, not {kind(value)}.", field=field)
    return tuple(map(unboxed, value))


def mapping(value: Any, field: str, example: str) -> dict[str, Any]:
    """A dict whose keys are texts; ``None`` becomes an empty one."""
    items = {} if value is None else value
    if not isinstance(items, Mapping) or not all(isinstance(key, str) for key in items):
        raise ValidationError(f"{field} must be a dict such as {example}.", field=field)
    return dict(items)


def one_of(value: Any, literal: Any, field: str) -> None:
    """Refuse a value that is not one of a ``Literal``."""
    if not isinstance(value, str) or value not in get_args(literal):  # an array is not one, and has no truth value
        told = repr(value)[:80] if isinstance(value, str) else kind(value)
        raise ValidationError(f"{field} is one of {', '.join(get_args(literal))}, not {told}.", field=field)


def function(value: Any, field: str, what: str) -> Callable[..., Any] | None:
    """``None`` or a callable that nobody has to await; ``what`` describes its arguments in the error."""
    if value is not None and (not callable(value) or iscoroutinefunction(value)):
        raise ValidationError(
            f"{field} must be a function that is called with {what} (not an async one), or None.", field=field
        )
    return value  # type: ignore[no-any-return]


def instance(value: Any, of: type[T], field: str, example: str) -> T | None:
    """``None`` or an instance of one of our classes."""
    if value is not None and not isinstance(value, of):
        raise ValidationError(f"{field} must be None or such as {example}, not {kind(value)}.", field=field)
    return value


def path(value: Any, field: str = "path") -> Path:
    """The path of a file, given as text or a ``Path``; ``~`` is the home folder."""
    if not isinstance(value, str | os.PathLike) or not str(value).strip() or "\0" in str(value):
        raise ValidationError(f"{field} must be the path of a file, as text or a Path, not {value!r}.", field=field)
    file = Path(value).expanduser()
    encoding = sys.getfilesystemencoding()
    if encoding != "utf-8" and not str(file.absolute()).isascii():
        raise ValidationError(
            f"{file} is not in ASCII, and this Python writes names of files in {encoding}, but DuckDB in UTF-8. "
            "Start Python with PYTHONUTF8=1.",
            field=field,
        )
    unbroken(str(value), field, field)
    return file


def url(value: Any, field: str = "url") -> str:
    """A folder, given as text or a ``Path``, or a URL such as ``s3://…``."""
    folder = path(value, field)
    return value if isinstance(value, str) else str(folder)


@contextlib.contextmanager
def reaching(file: Path, doing: str, field: str = "path") -> Iterator[None]:
    """Turn the system's error into a sentence on why the file cannot be ``doing`` ("opened", "written")."""
    try:
        yield
    except OSError as error:
        raise ValidationError(
            f"{file} cannot be {doing}: {error.strerror or error}. Check its folder, or name another file.", field=field
        ) from None


def kind(value: Any) -> str:
    """The kind of a value in one word; never the value itself, which could be a key."""
    return "None" if value is None else type(value).__name__
