"""Convert text typed into a form to the values that the catalog expects."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from llmkit.errors import ValidationError
from llmkit.money.amounts import dollars

Read = Callable[[Any, str], Any]
"""Converts a control's value, given its label, for the catalog; raises ValidationError."""


def read_text(typed: str, label: str) -> str | None:
    """Text without surrounding blanks; empty is ``None``."""
    return typed.strip() or None


def read_price(typed: str, label: str) -> Decimal | None:
    """A price as people type it: ``0.25``, ``$1.50``."""
    words = f"{label}: type dollars per million tokens, such as 0.25; leave it empty when unknown."
    return read_number(typed, words, lambda number: number >= 0)


def read_number(typed: str, words: str, is_right: Callable[[Decimal], bool]) -> Decimal | None:
    """A number as people type it, with or without ``$``; empty is ``None``. What is no number, or one that ``is_right``
    rejects, is refused with ``words``.
    """
    text = typed.strip().removeprefix("$").strip()
    try:
        number = Decimal(text or 0)
    except InvalidOperation:
        number = Decimal("NaN")
    if text and not (number.is_finite() and is_right(number)):
        raise ValidationError(words)
    return number if text else None


def read_whole(typed: str, label: str) -> int | None:
    """A count as people type it: ``60``, ``200,000``."""
    text = typed.strip()
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,3}([,_][0-9]{3})+|[0-9]{1,30}", text) or not (number := int(re.sub(r"\D", "", text))):
        raise ValidationError(f"{label}: type a whole number of at least 1.")
    return number


def required(read: Read) -> Read:
    """Wrap a reader so that it rejects empty input."""

    def read_required(typed: Any, label: str) -> Any:
        value = read(typed, label)
        if value is None:
            raise ValidationError(f"{label} cannot be empty.")
        return value

    return read_required


def read_date(typed: str, label: str) -> date | None:
    """A date such as ``2027-01-14``."""
    text = typed.strip()
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise ValidationError(f"{label}: type a date such as 2027-01-14.") from None


def as_typed(value: Any) -> str:
    """A value as it would have been typed."""
    if value is None:
        return ""
    return dollars(value, exact=True).removeprefix("$").replace(",", "") if isinstance(value, Decimal) else str(value)
