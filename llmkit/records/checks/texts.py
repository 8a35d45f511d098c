"""Names, dates and JSON: from whatever a form or a script gives to their one form."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from typing import Any

from llmkit.errors import ValidationError
from llmkit.records import DIALECTS, WIRE_NAMES
from llmkit.records.checks.json_text import plain

_PROVIDER = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,99}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def provider_name(value: Any, field: str = "name") -> str:
    """A provider's name: lower-case letters, digits, ``-`` and ``_``, as it stands before the colon of references."""
    if not isinstance(value, str) or not _PROVIDER.fullmatch(value):
        raise ValidationError(
            "A provider's name has lower-case letters, digits, '-' and '_' only, for example 'my-ollama'.", field=field
        )
    return value


def model_id(value: Any, field: str = "ref") -> str:
    """What the API is sent as the model's name: no spaces, no control characters, at most 200 characters."""
    if not isinstance(value, str) or not value or len(value) > 200:
        raise ValidationError("A model id has between 1 and 200 characters.", field=field)
    if any(letter.isspace() for letter in value) or _UNPRINTABLE.search(value):
        raise ValidationError("A model id has no spaces and no control characters.", field=field)
    return value


def text(value: Any, field: str) -> str:
    """One line of text for people to read, at most 200 characters."""
    if not isinstance(value, str) or not value.strip() or len(value) > 200 or _UNPRINTABLE.search(value):
        raise ValidationError(f"{field} must be one line of text, at most 200 characters.", field=field)
    return value.strip()


def flag(value: Any, field: str) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise ValidationError(f"{field} must be True or False.", field=field)
    return value


def wire(value: Any, field: str = "wire") -> str:
    """The name of an HTTP format that llmkit speaks."""
    if value not in WIRE_NAMES:
        raise ValidationError(f"{field} must be one of: {', '.join(WIRE_NAMES)}.", field=field)
    return str(value)


def dialect(value: Any, field: str = "dialect") -> str | None:
    """``None`` (the standard of the wire) or the name of a dialect."""
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
    """``None`` or a date, also as ISO text such as ``2027-01-14``."""
    if value is None:
        return None
    try:
        return moment(value, field).date()
    except ValidationError:
        raise ValidationError(f"{field} must be a date such as 2027-01-14.", field=field) from None


def moment(value: Any, field: str) -> datetime:
    """A time with its zone. A date is its midnight UTC; a time without a zone is UTC; ISO text is read as either."""
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else value
        if isinstance(at, datetime) and at == at:  # pandas' NaT is a datetime that is not itself
            return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):  # no time, or in UTC one before year 1 or after 9999
        at = None
    if isinstance(at, date) and not isinstance(at, datetime):
        return datetime.combine(at, time(), UTC)
    raise ValidationError(f"{field} must be a date or a time such as 2026-12-01 or 2026-12-01T08:00Z.", field=field)


def json_value(value: Any, field: str) -> Any:
    """A value that survives being written as JSON and read back."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        text.encode()  # half of a surrogate pair has no form in a file
        back = json.loads(text)
    except (TypeError, ValueError):
        back = None
    except RecursionError:
        raise ValidationError(f"{field} nests too deeply.", field=field) from None
    if back != plain(value):
        raise ValidationError(
            f"{field} must be something that JSON can hold (text, numbers, lists, dicts).", field=field
        )
    return back


def known_names(names: Iterable[str], allowed: Iterable[str], what: str) -> None:
    """Refuse names that are not among the allowed ones, and list those."""
    choices = tuple(allowed)
    unknown = sorted(str(name) for name in names if name not in choices)
    if unknown:
        raise ValidationError(
            f"{what}: there is no {', '.join(map(repr, unknown))}. Choose from: {', '.join(choices)}.", field=unknown[0]
        )


# --- for people to read ---------------------------------------------------------------------------------------------


def counted(count: int, noun: str) -> str:
    """``1 prompt``, ``1,200 prompts``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def short(text: str, most: int) -> str:
    """The beginning of a text, with an ellipsis where it was cut off."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def one_line(text: str, most: int) -> str:
    """The beginning of a text, on one line."""
    return short(" ".join(text.split()), most)
