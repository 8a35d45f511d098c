"""A run in words: one line, with caveats about its models. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from llmkit.money.amounts import billed
from llmkit.records.checks.texts import counted, followed
from llmkit.runs.tickets import waiting_words
from llmkit.store.schema import STATES


def effective_status(stored: str, is_live: bool, batches: tuple[int, int] | None) -> str:
    """The status to show: a run with open batches (how many requests are back, of how many) waits for them, whatever
    became of its process; one stored as running but not live was interrupted.
    """
    if batches is not None:
        return waiting_words(*batches)
    return "interrupted" if stored == "running" and not is_live else stored


def in_words(row: Mapping[str, Any], status: str, tally: Mapping[str, Any], notes: Sequence[str]) -> str:
    """Name, status, probes by state, cost and caveats."""
    label = f" {row['name']!r}" if row["name"] else ""
    states = [f"{tally[state]:,} {state}" for state in STATES if tally[state] or state == "ok"]
    facts = ", ".join([counted(row["n_probes"], "probe"), *states, billed(tally["cost"], tally["unknown"])])
    ended = [row["message"]] if row["status"] == "budget" else []
    return followed(f"{label} {status}: {facts}", [*ended, *notes])


def version_notes(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """A sentence per model that was served in more than one version; ``rows`` come from ``totals.versions``."""
    return [
        f"{model} was served in {len(versions)} versions: {'; '.join(versions)}."
        for model, versions in served(rows).items()
        if len(versions) > 1
    ]


def served(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The versions of each model: how many answers each gave, and when; ``rows`` come from ``totals.versions``."""
    versions: dict[str, list[str]] = {}
    for row in rows:
        words = f"{row['version']} ({counted(row['answers'], 'answer')}, {period(row['first'], row['last'])})"
        versions.setdefault(row["model"], []).append(words)
    return versions


def period(first: datetime, last: datetime) -> str:
    """``2026-11-28 03:53 to 04:10 UTC``, with a second date if it is another one; ``2026-11-28 03:53 UTC``."""
    begins, ends = (f"{at:%Y-%m-%d %H:%M}" for at in (first, last))
    return f"{begins} UTC" if begins == ends else f"{begins} to {ends.removeprefix(begins[:11])} UTC"
