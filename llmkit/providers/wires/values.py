"""Reading untrusted JSON: every function accepts any value and never raises."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from llmkit.records import EXACT

_LARGEST_COUNT = 10**9  # tokens: no conversation has more, and the sum over a million answers still fits a BIGINT
_DECIMALS = 18
_FINEST = Decimal(1).scaleb(-_DECIMALS)
_MOST_VALUES = 1_000_000  # and commas between them: more is an attack on memory
_MOST_KEYS = 500_000  # 2 µs each if they are distinct, during which the interpreter is blocked
_decoder = json.JSONDecoder(parse_float=Decimal, parse_constant=lambda _: None)
_DEAREST = Decimal(1_000_000)  # US dollars: no answer and no million tokens cost more


def decode(body: bytes | bytearray) -> Any:
    """The JSON value of a body, or ``None`` if it is not JSON.

    Blank lines before the value are skipped: DeepSeek sends them to keep the connection open. Anything after an object
    is ignored: the answer is there, and paid for. Numbers with a fraction become Decimals, so that a reported cost
    stays exact; ``NaN`` and ``Infinity`` become ``None``. A truncated character, from a server that stops between two
    tokens of it, becomes ``\ufffd``.
    """
    if body.count(b",") > _MOST_VALUES or body.count(b'":') > _MOST_KEYS:
        return None
    text = body.decode("utf-8-sig", "replace").strip()
    try:
        value, end = _decoder.raw_decode(text)
    except (ValueError, ArithmeticError, RecursionError):  # truncated, absurd numbers, nested too deeply
        return None
    return value if end == len(text) or isinstance(value, dict) else None


def dig(value: Any, *path: str | int) -> Any:
    """The value at a path of keys and positions, or ``None`` if there is none."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return None
    return value


def items(value: Any) -> list[Any]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def string(value: Any) -> str:
    """The value if it is a string, else ``""``. Lone surrogates, which no file could hold, become ``?``."""
    if not isinstance(value, str):
        return ""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return value.encode("utf-8", "replace").decode("utf-8")
    return value


def count(value: Any) -> int | None:
    """The value if it is a plausible count, also ``100.0``, else ``None`` (negative, fractional, text, true)."""
    if type(value) is int:
        return value if 0 <= value <= _LARGEST_COUNT else None
    if not isinstance(value, Decimal) or not 0 <= value <= _LARGEST_COUNT:
        return None
    return int(value) if value == int(value) else None


def money(value: Any, unit: Decimal = Decimal(1)) -> Decimal | None:
    """The value, in units of so many US dollars, if it is a plausible number, or the text of one, else ``None``.

    It is rounded to 18 decimals: written out, 1e-999999999 would fill the disk.
    """
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        return None
    try:
        amount = EXACT.multiply(Decimal(value), unit)
    except ArithmeticError:
        return None
    if not (amount.is_finite() and 0 <= amount < _DEAREST):
        return None
    return amount.quantize(_FINEST, context=EXACT) if int(amount.as_tuple().exponent) < -_DECIMALS else amount


def moment(value: Any) -> datetime | None:
    """The value as a time if it is an ISO 8601 text or a Unix time in seconds (then in UTC), else ``None``."""
    try:
        if isinstance(value, str):
            return datetime.fromisoformat(value)
        return datetime.fromtimestamp(value, UTC) if type(value) is int else None
    except (ValueError, OverflowError, OSError):
        return None


def first_count(entry: Any, *names: str) -> int | None:
    """The first of the named values that is a plausible count above 0."""
    return next((value for name in names if (value := count(dig(entry, name)))), None)


def first_day(entry: Any, *names: str) -> date | None:
    """The first of the named values that is a date."""
    return next((at.date() for name in names if (at := moment(dig(entry, name))) is not None), None)
