"""Names, dates and JSON: canonical forms of whatever a form or a script passes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time
from typing import Any

import numpy as np

from llmkit.errors import ValidationError
from llmkit.records.checks.json_text import plain
from llmkit.records.checks.near_names import unknown_name
from llmkit.records.checks.shapes import unboxed
from llmkit.records.dialects import DIALECTS
from llmkit.records.entries import WIRE_NAMES

LONGEST = 200
"""The most characters of a name or label."""

_PROVIDER = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,99}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls, those of the direction of text included, which would turn around what stands beside a name."""


def provider_name(value: Any, field: str = "name") -> str:
    """A provider's name, as it precedes the colon in references: lower-case letters, digits, ``-`` and ``_``."""
    if not isinstance(value, str) or not _PROVIDER.fullmatch(value):
        raise ValidationError(
            "A provider's name has lower-case letters, digits, '-' and '_' only, for example 'my-ollama'.", field=field
        )
    return value


def model_id(value: Any, field: str = "ref") -> str:
    """The model's name as sent to the API: no spaces, no control characters, at most :data:`LONGEST` characters."""
    if not isinstance(value, str) or not value or len(value) > LONGEST:
        raise ValidationError(f"A model id has between 1 and {LONGEST} characters.", field=field)
    if any(letter.isspace() for letter in value) or _UNPRINTABLE.search(value):
        raise ValidationError("A model id has no spaces and no control characters.", field=field)
    return value


def text(value: Any, field: str) -> str:
    """One line of text for people to read, at most :data:`LONGEST` characters."""
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST or _UNPRINTABLE.search(value):
        raise ValidationError(f"{field} must be one line of text, at most {LONGEST} characters.", field=field)
    return value.strip()


def optional_text(value: Any, field: str) -> str | None:
    """``None``, or one line of text as :func:`text` accepts it."""
    return None if value is None else text(value, field)


def flag(value: Any, field: str) -> bool:
    """True or False; numpy's are accepted."""
    if not isinstance(value, bool | np.bool_):
        raise ValidationError(f"{field} must be True or False.", field=field)
    return bool(value)


def wire(value: Any, field: str = "wire") -> str:
    """The name of an HTTP format that llmkit speaks."""
    if not isinstance(value, str) or value not in WIRE_NAMES:
        raise ValidationError(f"{field} must be one of: {', '.join(WIRE_NAMES)}.", field=field)
    return str(value)


def dialect(value: Any, field: str = "dialect") -> str | None:
    """``None`` (the wire's standard) or the name of a dialect."""
    if value is not None and (not isinstance(value, str) or value not in DIALECTS):
        raise ValidationError(
            f"{field} must be one of: {', '.join(DIALECTS)}; or None for the standard of the wire.", field=field
        )
    return value


def key_variable(value: Any, field: str = "api_key_env") -> str | None:
    """``None`` or the name of an environment variable; never the key itself."""
    if value is None:
        return None
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value):
        raise ValidationError(
            f"{field} is the NAME of the environment variable that holds the key, in capitals, such as "
            "OPENROUTER_API_KEY. Never put the key itself here.",
            field=field,
        )
    return value


# --- dates and JSON -------------------------------------------------------------------------------------------------


def day(value: Any, field: str) -> date | None:
    """``None`` or a date, which may be ISO text such as ``2027-01-14``."""
    if value is None:
        return None
    try:
        return moment(value, field).date()
    except ValidationError:
        raise ValidationError(f"{field} must be a date such as 2027-01-14.", field=field) from None


def moment(value: Any, field: str) -> datetime:
    """A time in UTC. A date means its midnight UTC; a time without a zone is UTC; ISO text may be either."""
    try:
        at = datetime.fromisoformat(str(value)) if isinstance(value, str | np.datetime64) else value
        if isinstance(at, datetime) and at == at:  # pandas' NaT is a datetime that does not equal itself
            return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):  # not a time, or outside the years 1 to 9999 in UTC
        at = None
    if isinstance(at, date) and not isinstance(at, datetime):
        return datetime.combine(at, time(), UTC)
    raise ValidationError(f"{field} must be a date or a time such as 2026-12-01 or 2026-12-01T08:00Z.", field=field)


def json_value(value: Any, field: str) -> Any:
    """A value that is unchanged when written as JSON and read back."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, default=unboxed)
        text.encode()  # a lone surrogate cannot be written to a file
        if (back := json.loads(text)) == plain(value):
            return back
    except (TypeError, ValueError):
        pass
    except RecursionError:
        raise ValidationError(f"{field} nests too deeply.", field=field) from None
    raise ValidationError(f"{field} must be something that JSON can hold (text, numbers, lists, dicts).", field=field)


def known_names(names: Iterable[Any], allowed: Iterable[str], what: str, field: str | None = None) -> None:
    """Refuse names that are not allowed, listing the allowed ones; ``field`` is by default the first refused one."""
    choices = tuple(allowed)
    if unknown := sorted(str(name) for name in names if name not in choices):
        sentence = f"{what}: there is no {', '.join(map(repr, unknown))}."
        raise unknown_name(unknown[0], choices, field or unknown[0], sentence)


# --- for people to read ---------------------------------------------------------------------------------------------


def followed(summary: str, sentences: Sequence[str]) -> str:
    """A summary, as a sentence if others follow it."""
    return " ".join([f"{summary}.", *sentences]) if sentences else summary


def counted(count: int, noun: str) -> str:
    """``1 prompt``, ``1,200 prompts``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def first_of(names: Sequence[str]) -> str:
    """``a, b, c and others``."""
    return f"{', '.join(names[:3])}{' and others' * (len(names) > 3)}"


def short(text: str, most: int) -> str:
    """The beginning of a text, with an ellipsis if it was cut off."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def one_line(text: str, most: int = LONGEST) -> str:
    """The beginning of a text on one line, without control characters; by default as :func:`text` accepts it."""
    return short(" ".join(_UNPRINTABLE.sub(" ", text).split()), most)
