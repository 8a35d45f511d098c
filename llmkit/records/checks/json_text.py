"""JSON as models write it, and JSON as it is stored."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Never

_FENCE = re.compile(r"```[a-zA-Z]*[ \t]*\n(.*?)```", re.DOTALL)  # linear time for any text
_BROKEN = re.compile("[\ud800-\udfff]")


def parse_json(text: str) -> Any:
    """The JSON in an answer: the whole text, or, as models often write it, a part in a Markdown fence or between words.

    Raises:
        ValueError: there is none, or it cannot be stored; the message is a sentence.
    """
    candidates = [text.strip(), *_FENCE.findall(text)]
    first, last = text.find("{"), text.rfind("}")
    if 0 <= first < last:
        candidates.append(text[first : last + 1])
    for candidate in candidates:
        try:
            value = json.loads(candidate, parse_float=_finite, parse_constant=_refuse_constant)
            written = json.dumps(value, ensure_ascii=False)
        except (ValueError, RecursionError):
            continue
        if _BROKEN.search(written):
            raise ValueError("The answer contains an incomplete character, which cannot be saved.")
        return value
    raise ValueError("The answer is not JSON, though a schema asked for it.")


def plain(value: Any) -> Any:
    """The value with all mappings as dicts and all sequences as lists, as the JSON parser would return it."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _finite(number: str) -> float:
    if math.isinf(value := float(number)):
        raise ValueError(f"{number} is too large")
    return value


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"{name} is no JSON")
