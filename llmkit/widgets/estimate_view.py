"""The estimate of a run as HTML: one line per model with its badges, and the total."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from llmkit.money.amounts import dollars
from llmkit.money.estimate_table import Estimate
from llmkit.money.estimates import ModelEstimate
from llmkit.records.checks.texts import counted
from llmkit.widgets import html

MOST = 15
"""The most models listed: the most expensive ones."""

Notes = Mapping[str, Sequence[tuple[str, html.Tone]]]
"""Badges by model reference: text and tone."""


def estimate_html(
    estimate: Estimate | None,
    chosen: Sequence[str],
    notes: Notes,
    names: Mapping[str, str],
    other: Estimate | None = None,
    why_not: str = "",
) -> str:
    """The ticked models, including unavailable ones, the most expensive first; then the total, or ``why_not``, and the
    cost and time of the ``other`` mode: in batches instead of at once, or vice versa.
    """
    costs = {each.model: each for each in estimate.models} if estimate else {}
    known = {reference: each.cost for reference, each in costs.items() if each.cost is not None}
    ranked = sorted(chosen, key=lambda reference: -known.get(reference, Decimal(-1)))
    rows = [_row(reference, costs.get(reference), notes, names) for reference in ranked[:MOST]]
    body = html.table({"Model": "auto", "Estimate": "110px"}, rows, right=("Estimate",), markup=("Model", "Estimate"))
    models = body + html.more(len(ranked) - MOST, "model") if ranked else html.quiet("No model is ticked.")
    total = _total(estimate) if estimate else html.quiet(why_not)
    return html.literal(models + total + _instead(estimate, other))


def _row(reference: str, entry: ModelEstimate | None, notes: Notes, names: Mapping[str, str]) -> tuple[str, str]:
    badges = "".join(html.badge(*note) for note in notes.get(reference, ()))
    if entry is not None and entry.left_out:
        badges += html.badge(f"without {', '.join(entry.left_out)}", "warn")
    cost = "–" if entry is None else f'<span title="{html.esc(_interval(entry))}">{dollars(entry.cost)}</span>'
    return f"{html.esc(names.get(reference, reference))} {badges}", cost


def _interval(estimate: Estimate | ModelEstimate) -> str:
    """The interval in words; empty without a price."""
    return "" if estimate.low is None else f"80% sure: {dollars(estimate.low)} to {dollars(estimate.high)}"


def _total(estimate: Estimate) -> str:
    requests = sum(model.requests for model in estimate.models)
    unpriced = f"Not included: {counted(len(estimate.unpriced), 'model')} without a price." if estimate.unpriced else ""
    sent = f"{_reused(estimate, requests)}{counted(requests, 'request')}{_time(estimate)}"
    return (
        f'<div role="status" style="margin-top: 6px; line-height: 1.5; color: {html.TEXT}"><span style="'
        f'font-size: 18px; font-weight: 600; font-variant-numeric: tabular-nums">{dollars(estimate.total)}</span> '
        f"{html.muted(_interval(estimate))}</div>{html.quiet(f'{sent}. Based on {estimate.basis_words}. {unpriced}')}"
    )


def _instead(estimate: Estimate | None, other: Estimate | None) -> str:
    """The cost and time of the other mode; empty where no model supports batches."""
    if estimate is None or other is None or estimate.batched == other.batched:
        return ""
    mode = "In batches" if other.batched else "At once"
    return html.quiet(f"{mode}: {dollars(other.total)}{_time(other)}.")


def _reused(estimate: Estimate, requests: int) -> str:
    """How many answers are reused, and the savings."""
    if not estimate.reused:
        return ""
    saved = f": saves {dollars(estimate.saved)}" if estimate.saved else ""
    return f"{estimate.reused:,} of {estimate.reused + requests:,} answers are already yours{saved}. "


def _time(estimate: Estimate) -> str:
    """How long it will take (at most, in batches), and which of several providers is the slowest."""
    if not (hours := estimate.hours):
        return ""
    within = "within" if estimate.batched else "about"
    slowest = max(hours, key=hours.__getitem__)
    who = f", {slowest} is the slowest" if len(hours) > 1 else ""
    return f", {within} {html.roughly(3600 * hours[slowest])}{who}"
