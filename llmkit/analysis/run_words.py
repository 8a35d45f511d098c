"""A run in words: one line, with caveats about its models. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from llmkit.money.amounts import dollars
from llmkit.records.checks.texts import counted, followed
from llmkit.store.schema import STATES


def effective_status(stored: str, is_live: bool) -> str:
    """The status to show: a run stored as running but not live was interrupted."""
    return "interrupted" if stored == "running" and not is_live else stored


def in_words(row: Mapping[str, Any], status: str, tally: Mapping[str, Any], notes: Sequence[str]) -> str:
    """Name, status, probes by state, cost and caveats."""
    label = f" {row['name']!r}" if row["name"] else ""
    states = [f"{tally[state]:,} {state}" for state in STATES if tally[state] or state == "ok"]
    facts = ", ".join([counted(row["n_probes"], "probe"), *states, _spent(tally)])
    ended = [row["message"]] if row["status"] == "budget" else []
    return followed(f"{label} {status}: {facts}", [*ended, *notes])


def _spent(tally: Mapping[str, Any]) -> str:
    """The known cost of a run; never $0.00 when something may have been billed."""
    if tally["unknown"] and not tally["cost"]:
        return "cost unknown"
    more = f" and {tally['unknown']:,} of unknown cost" if tally["unknown"] else ""
    return dollars(tally["cost"]) + more


def version_notes(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence per model that was served in more than one version; ``rows`` come from ``totals.versions``."""
    notes = []
    for model, group in groupby(rows, key=lambda row: row["model"]):
        versions = [_version(**row) for row in group]
        if len(versions) > 1:
            notes.append(f"{model} was served in {len(versions)} versions: {'; '.join(versions)}.")
    return notes


def _version(model: str, version: str, answers: int, first: datetime, last: datetime) -> str:
    return f"{version} ({answers} answers, {first:%Y-%m-%d %H:%M:%S} to {last:%H:%M:%S} UTC)"
