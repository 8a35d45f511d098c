"""Whether a model was the same all along: one name may be served in several versions during a run. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import groupby
from typing import Any


def version_notes(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence for each model that was served in more than one version; ``rows`` are those of ``totals.versions``."""
    notes = []
    for model, group in groupby(rows, key=lambda row: row["model"]):
        versions = [_version(**row) for row in group]
        if len(versions) > 1:
            notes.append(f"{model} was served in {len(versions)} versions: {'; '.join(versions)}.")
    return notes


def _version(model: str, version: str, answers: int, first: datetime, last: datetime) -> str:
    return f"{version} ({answers} answers, {first:%Y-%m-%d %H:%M:%S} to {last:%H:%M:%S} UTC)"
