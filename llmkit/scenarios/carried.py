"""Names that a dimension may not have, and values that it may hold."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import date, time
from decimal import Decimal
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd

from llmkit.errors import ValidationError
from llmkit.records.checks import shapes
from llmkit.records.columns import PROBES
from llmkit.records.user_warnings import warn

ASKED_COLUMNS = ("scenario_id", "prompt", "system", "followups", "messages")
"""The columns of a table of scenarios that are not dimensions."""

RESERVED_COLUMNS = frozenset({*ASKED_COLUMNS, *PROBES})
"""Columns of ``run.probes`` that llmkit fills itself. Compared case-insensitively, as in DuckDB."""

ANSWER_PREFIX = "answer."
"""The prefix of columns that hold the fields of structured answers."""

_SENT_INSTEAD = {
    **dict.fromkeys(("system_prompt", "system_message", "system_instruction"), "name it 'system' to send it"),
    **dict.fromkeys(("followup", "follow_up", "follow_ups"), "name it 'followups' to send it"),
    "message": "use 'prompt', 'system', 'followups' and 'messages'",
    **dict.fromkeys(
        ("image", "images", "audio", "video", "file", "files", "attachment", "attachments", "pdf"),
        "only text is sent, so put what the model should know into 'prompt' or 'system'",
    ),
}


def check_columns(names: Iterable[str], *, field: str) -> None:
    """Refuse names of columns of ``run.probes``."""
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise ValidationError(
                f"{name!r} cannot name a dimension or column: give it a word as its name.", field=field
            )
        lowered = name.strip().casefold()
        if lowered in RESERVED_COLUMNS or lowered.startswith(ANSWER_PREFIX):
            raise ValidationError(
                f"{name!r} is the name of a column that llmkit fills itself in run.probes: rename it, "
                f"for example to 'my_{lowered}'.",
                field=field,
            )


def warn_of_unsent(names: Iterable[str]) -> None:
    """Warn of columns that look as if they were sent to models: only those in ``ASKED_COLUMNS`` are."""
    for name in names:
        if instead := _SENT_INSTEAD.get(re.sub(r"[\s-]+", "_", name.strip().casefold())):
            warn(f"The column {name!r} is only carried along into the results; no model reads it: {instead}.")


def plain(value: Any, *, where: str) -> Any:
    """Convert a value to JSON types, so that it reads back as it was stored.

    Missing values of pandas and numpy become ``None``, their scalars Python's; dates become ISO text, ``Decimal`` a
    float, and anything else that JSON does not support its text.

    Raises:
        ValidationError: an infinite number, or text that is not Unicode. The message starts with ``where``.
    """
    if value is None or type(value) in (bool, int):
        return value
    if isinstance(value, np.generic | Enum):
        value = value.item() if isinstance(value, np.generic) else value.value
    if isinstance(value, str):
        return shapes.unbroken(value, where, "prompts")
    if isinstance(value, Mapping):
        return {str(key): plain(item, where=where) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return [plain(item, where=where) for item in value]
    if pd.isna(value):
        return None
    if isinstance(value, float | Decimal):
        return finite(float(value), where=where)
    if isinstance(value, date | time):
        return value.isoformat()
    return value if isinstance(value, bool | int) else plain(str(value), where=where)


def finite(number: float, *, where: str) -> float:
    """Return the number; refuse infinite ones and NaN, which JSON does not support."""
    if not math.isfinite(number):
        raise ValidationError(f"{where} is {number}: give a finite number.", field="prompts")
    return number
