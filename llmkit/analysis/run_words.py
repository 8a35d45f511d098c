"""A run in a line of words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmkit.money import pricing
from llmkit.records.checks.texts import counted

_STATES = ("ok", "failed", "skipped", "cancelled", "pending")


def effective_status(stored: str, is_live: bool) -> str:
    """A run that is marked as running and that no process runs was interrupted."""
    return "interrupted" if stored == "running" and not is_live else stored


def in_words(row: Mapping[str, Any], status: str, tally: Mapping[str, Any], notes: Sequence[str]) -> str:
    """Name, status, probes by state, cost, and what a reader of the results should know."""
    label = f" {row['name']!r}" if row["name"] else ""
    states = [f"{tally[state]:,} {state}" for state in _STATES if tally[state] or state == "ok"]
    facts = ", ".join([counted(row["n_probes"], "probe"), *states, _spent(tally)])
    ended = [row["message"]] if row["status"] == "budget" else []
    return "; ".join([f"{label} {status}: {facts}", *ended, *notes])


def _spent(tally: Mapping[str, Any]) -> str:
    """What a run has cost as far as anybody knows; never $0.00 for what may have been billed."""
    if tally["unknown"] and not tally["cost"]:
        return "cost unknown"
    more = f" and {tally['unknown']:,} of unknown cost" if tally["unknown"] else ""
    return pricing.dollars(tally["cost"]) + more
