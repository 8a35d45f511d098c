"""A run at a glance, as HTML: bar, facts, a line for each model, what providers wait for, failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmkit.money.pricing import billed, dollars
from llmkit.widgets import html
from llmkit.widgets.durations import duration
from llmkit.widgets.run_summary import Share, Standing

MOST = 25
"""Models that are listed; those that still have something to do come first."""

_TONES: Mapping[str, html.Tone] = {
    "running": "accent",
    "cancelling": "warn",
    "completed": "good",
    "cancelled": "warn",
    "interrupted": "warn",
    "failed": "bad",
}
_BAR = {"ok": "var(--jp-success-color1, #388e3c)", "failed": "var(--jp-error-color1, #d32f2f)",
        "skipped": "var(--jp-warn-color1, #ef6c00)"}  # fmt: skip
_WIDTHS = {"Model": "32%", "Progress": "auto", "Done": "58px", "Failed": "58px", "In flight": "68px",
           "Waiting": "68px", "Cost": "84px"}  # fmt: skip
_WAIT_WORDS = {"slot": "all parallel requests are in use"}
"""The gate's words that would not be understood outside it."""


def board(now: Standing, *, title: str = "Run", badges: Sequence[str] = (), brief: bool = False) -> str:
    """Everything about a run at a glance; ``brief`` without what is told by model and by failure."""
    everything = now.all
    head = html.heading(title, html.muted(now.run_id), html.badge(now.status, _TONES.get(now.status, "plain")), *badges)
    bar = _bar(everything, "8px", f"All models: {everything.done:,} of {everything.total:,} probes done")
    lines, failures = ("", "") if brief else (_lines(now), _failures(now))
    return (
        f'<div class="tex2jax_ignore mathjax_ignore" style="{html.FONT}; line-height: 1.4; color: {html.TEXT}">{head}'
        f'<div style="margin: 6px 0">{bar}</div>{_facts(now)}{lines}{_waits(now)}{failures}</div>'
    )


def _waits(now: Standing) -> str:
    """What providers wait for; those that wait for the same on one line. Not announced: it counts down every second."""
    if not now.running or not now.waiting:
        return ""
    by_words: dict[str, list[str]] = {}
    for provider, words in now.waiting.items():
        by_words.setdefault(_WAIT_WORDS.get(words, words), []).append(provider)
    lines = "".join(
        f'<div style="overflow-wrap: anywhere">{html.esc(", ".join(providers))}: {html.muted(words)}</div>'
        for words, providers in by_words.items()
    )
    color = "var(--jp-border-color1, #bdbdbd)"
    return f'<div style="margin: 6px 0; padding: 0 8px; border-left: 3px solid {color}">{lines}</div>'


def _facts(now: Standing) -> str:
    everything = now.all
    done = f"{everything.done:,} of {everything.total:,}"
    estimate = "" if now.estimate is None else f" of about {dollars(now.estimate)}"
    spent = billed(everything.cost, everything.unpriced) + estimate
    facts = {"Probes done": done, "Cost so far" if now.running else "Cost": spent}
    if everything.failed:
        facts["Failed"] = f"{everything.failed:,}"
    if now.running:
        facts["Rate"] = f"{now.rate:,.0f} a minute" if now.rate else "–"
        facts["Time left"] = "–" if now.eta_s is None else f"about {duration(now.eta_s)}"
    if now.seconds is not None:
        facts["Running for" if now.running else "Took"] = duration(now.seconds)
    return fact_line(facts)


def fact_line(facts: Mapping[str, str]) -> str:
    """Numbers with their names above them, side by side."""
    cells = "".join(
        f'<div><div style="color: {html.QUIET}; font-size: 11px">{html.esc(name)}</div>'
        f'<div style="font-size: 14px; font-variant-numeric: tabular-nums">{html.esc(value)}</div></div>'
        for name, value in facts.items()
    )
    return f'<div style="display: flex; flex-wrap: wrap; gap: 6px 28px; line-height: 1.4; margin: 6px 0">{cells}</div>'


def _lines(now: Standing) -> str:
    shares = list(now.shares)
    if len(shares) > MOST:
        shares = sorted(shares, key=lambda share: share.done >= share.total)[:MOST]
    names = [name for name in _WIDTHS if name != "In flight" or now.running]
    widths = {name: _WIDTHS[name] for name in names}
    rows = [[_cells(share)[name] for name in names] for share in shares]
    rest = len(now.shares) - len(shares)
    return table(widths, rows, left=("Model", "Progress")) + (html.quiet(f"and {rest:,} more models") if rest else "")


def table(widths: Mapping[str, str], rows: Sequence[Sequence[str]], *, left: Sequence[str]) -> str:
    """A table of fixed widths, so that a long name breaks instead of pushing the numbers away. Cells are HTML."""
    line = f"border: none; border-bottom: 1px solid {html.LINE}; background: none; overflow-wrap: anywhere"
    words, number = "padding: 3px 12px 3px 0; text-align: left", "padding: 3px 0 3px 6px; text-align: right"
    styles = [f"{line}; {words if name in left else number}" for name in widths]
    head = "".join(
        f'<th scope="col" style="{style}; width: {width}; font-weight: 600; color: {html.QUIET}">{html.esc(name)}</th>'
        for style, (name, width) in zip(styles, widths.items(), strict=True)
    )
    body = "".join(
        "<tr>" + "".join(f'<td style="{s}">{cell}</td>' for s, cell in zip(styles, row, strict=True)) + "</tr>"
        for row in rows
    )
    return (
        f'<table style="{html.FONT}; border-collapse: collapse; color: {html.TEXT}; line-height: 1.4; margin: 4px 0; '
        'table-layout: fixed; width: 100%; font-variant-numeric: tabular-nums">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _cells(share: Share) -> dict[str, str]:
    return {
        "Model": html.esc(share.model),
        "Progress": _bar(share, "6px", f"{share.model}: {share.done:,} of {share.total:,} done"),
        "Done": f"{share.done:,}",
        "Failed": f"{share.failed:,}" if share.failed else "",
        "In flight": f"{share.in_flight:,}",
        "Waiting": f"{share.waiting:,}" if share.waiting else "",
        "Cost": html.esc(billed(share.cost, share.unpriced)),
    }


def _bar(share: Share, height: str, label: str) -> str:
    parts = "".join(
        f'<div style="width: {100 * getattr(share, name) / share.total:.2f}%; background: {color}"></div>'
        for name, color in _BAR.items()
        if share.total and getattr(share, name)
    )
    return (
        f'<div role="progressbar" aria-label="{html.esc(label)}" aria-valuemin="0" aria-valuemax="{share.total}" '
        f'aria-valuenow="{share.done}" title="{html.esc(label)}" style="display: flex; height: {height}; '
        f'border-radius: 4px; overflow: hidden; background: {html.RAISED}">{parts}</div>'
    )


def _failures(now: Standing) -> str:
    if not now.codes:
        return ""
    found = sorted(now.codes.items(), key=lambda entry: -entry[1])
    badges = "".join(html.badge(f"{code} × {count:,}", "bad") for code, count in found)
    return (
        f'<div style="{html.FONT}; display: flex; flex-wrap: wrap; gap: 4px; align-items: center; margin: 4px 0">'
        f"{html.muted('Failures')}{badges}</div>"
    )
