"""What a run will probably cost, as HTML: a line a model with what one has to know about it, and the total."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from llmkit.money.estimate_table import Estimate
from llmkit.money.estimates import ModelEstimate
from llmkit.money.pricing import dollars
from llmkit.widgets import html

MOST = 15
"""Models that are listed; of more, the dearest."""

Notes = Mapping[str, Sequence[tuple[str, html.Tone]]]
"""By reference: words and their tone."""


def estimate_html(estimate: Estimate | None, chosen: Sequence[str], notes: Notes, names: Mapping[str, str]) -> str:
    """The models that are ticked, the dearest first, those that cannot be asked among them; then the total."""
    costs = {each.model: each for each in estimate.models} if estimate else {}
    ranked = sorted(chosen, key=lambda reference: -_dearness(costs.get(reference)))
    cell = f"padding: 3px 8px 3px 0; border: none; border-bottom: 1px solid {html.LINE}; background: none"
    rows = "".join(_row(reference, costs.get(reference), notes, names, cell) for reference in ranked[:MOST])
    more = html.quiet(f"and {len(ranked) - MOST:,} more models") if len(ranked) > MOST else ""
    body = (
        f'<table style="{html.FONT}; border-collapse: collapse; color: {html.TEXT}; line-height: 1.4; width: 100%; '
        f'font-variant-numeric: tabular-nums"><thead><tr><th scope="col" style="{cell}; text-align: left; '
        f'font-weight: 600; color: {html.QUIET}">Model</th>'
        f'<th scope="col" style="{cell}; padding-right: 0; text-align: right; '
        f'font-weight: 600; color: {html.QUIET}">Estimate</th></tr></thead><tbody>{rows}</tbody></table>{more}'
        if ranked
        else html.quiet("No model is ticked.")
    )
    return f'<div class="tex2jax_ignore mathjax_ignore" style="{html.FONT}">{body}{_total(estimate)}</div>'


def _dearness(entry: ModelEstimate | None) -> Decimal:
    return Decimal(-1) if entry is None or entry.cost is None else entry.cost


def _row(reference: str, entry: ModelEstimate | None, notes: Notes, names: Mapping[str, str], cell: str) -> str:
    words, span = "–", ""
    if entry is not None:
        words = dollars(entry.cost)
        span = "" if entry.cost is None else f"80 % sure: {dollars(entry.low)} to {dollars(entry.high)}"
    badges = "".join(html.badge(*note) for note in notes.get(reference, ()))
    return (
        f'<tr><td style="{cell}; text-align: left; overflow-wrap: anywhere">'
        f"{html.esc(names.get(reference, reference))} {badges}</td>"
        f'<td style="{cell}; padding-right: 0; text-align: right; white-space: nowrap" '
        f'title="{html.esc(span)}">{html.esc(words)}</td></tr>'
    )


def _total(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    requests = sum(model.requests for model in estimate.models)
    if estimate.total is None:
        sums, span = "unpriced", ""
    else:
        sums = dollars(estimate.total)
        span = f"80 % sure: {dollars(estimate.low)} to {dollars(estimate.high)}"
    unpriced = f"{len(estimate.unpriced)} model(s) without a price are not in it." if estimate.unpriced else ""
    bases = ", ".join(dict.fromkeys(_BASIS[model.basis] for model in estimate.models))
    basis = f"{requests:,} requests. Based on {bases}. {unpriced}"
    return (
        f'<div role="status" style="margin-top: 6px; line-height: 1.5; color: {html.TEXT}"><span style="'
        f'font-size: 18px; font-weight: 600; font-variant-numeric: tabular-nums">{html.esc(sums)}</span> '
        f"{html.muted(span)}</div>{html.quiet(basis)}"
    )


_BASIS: Mapping[str, str] = {
    "model × template": "earlier answers to the same template",
    "model": "earlier answers of the same model",
    "provider": "earlier answers of the same provider",
    "all": "earlier answers of other models",
    "constant": "typical lengths, as no earlier run can tell",
}
