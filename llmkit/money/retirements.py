"""When models retire, according to litellm's public map of models and prices: an optional second source."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib import metadata, util
from pathlib import Path
from typing import Any

from llmkit.errors import ValidationError
from llmkit.records.checks import shapes

FILE = "model_prices_and_context_window_backup.json"
"""The map in litellm's package."""
PROVIDERS = {"gemini": "google"}
"""litellm's names of providers that we call otherwise."""
MOST = 100_000_000
"""The most bytes read of a map, about 50 times its size."""


@dataclass(frozen=True, slots=True)
class Retirements:
    """Retirement dates by model reference, as ``source`` had them on ``read_on``."""

    source: str
    read_on: date
    days: Mapping[str, date]


def read_retirements(place: str | os.PathLike[str] | None = None) -> Retirements | None:
    """Read retirement dates from the map at a path or URL, by default that of the installed litellm; ``None`` when
    litellm is not installed.
    """
    today = datetime.now(UTC).date()
    if place is not None:
        return Retirements("litellm's price map", today, dict(_days(_read(shapes.url(place, "retirements")))))
    spec = util.find_spec("litellm")  # located, not imported: importing takes seconds
    if spec is None or spec.origin is None:
        return None
    listed = _read(str(Path(spec.origin).with_name(FILE)))
    return Retirements(f"litellm {metadata.version('litellm')}", today, dict(_days(listed)))


def _read(place: str) -> Mapping[str, Any]:
    from fsspec import open as reach  # imported only when there is such a map

    try:
        with reach(place, "rb") as file:
            listed = json.loads(file.read(MOST))
    except Exception as error:  # noqa: BLE001 - every file system and protocol has its own errors
        raise ValidationError(
            f"{place} cannot be read as JSON ({type(error).__name__}): give the path or the URL of litellm's "
            "model_prices_and_context_window.json.",
            field="retirements",
        ) from None
    if not isinstance(listed, dict):
        raise ValidationError(f"{place} is not a map of models in litellm's format.", field="retirements")
    return listed


def _days(listed: Mapping[str, Any]) -> Iterator[tuple[str, date]]:
    for name, entry in listed.items():
        if not isinstance(entry, dict):
            continue
        theirs = str(entry.get("litellm_provider"))
        with contextlib.suppress(ValueError):  # missing, or words instead of a date
            day = date.fromisoformat(str(entry.get("deprecation_date")))
            yield f"{PROVIDERS.get(theirs, theirs)}:{name.removeprefix(f'{theirs}/')}", day
