"""A run at a glance, as HTML: progress bar, facts, one line per model, why requests wait, failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmkit.money.amounts import billed, dollars
from llmkit.runs import ModelProgress, Progress
from llmkit.widgets import html

MOST = 25
"""The most models listed; unfinished ones come first, then those with failures."""

_TONES: Mapping[str, html.Tone] = {
    "running": "accent",
    "cancelling": "warn",
    "completed": "good",
    "cancelled": "warn",
    "interrupted": "warn",
    "budget": "warn",
    "failed": "bad",
}
_BAR = {"ok": html.TONES["good"], "failed": html.TONES["bad"], "skipped": html.TONES["warn"]}
_WIDTHS = {"Model": "22%", "Progress": "auto", "Done": "48px", "Failed": "48px", "In flight": "62px",
           "Waiting": "60px", "Cost": "66px"}  # fmt: skip
_WAIT_WORDS = {
    "slot": "all parallel requests are in use",
    "budget": "others have reserved the rest of a budget, or the team has yet to agree on it",
}
"""Replacements for the gate's internal terms."""


def summary_html(
    run_id: str, now: Progress, *, title: str = "Run", badges: Sequence[str] = (), short: bool = False
) -> str:
    """Everything about a run at a glance; ``short`` omits the lists by model and by failure."""
    head = html.heading(title, html.muted(run_id), html.badge(now.status, _TONES.get(now.status, "plain")), *badges)
    bar = _bar(now, "8px", f"All models: {now.asked:,} of {now.total:,} probes done")
    lines, failures = ("", "") if short else (_lines(now), _failures(now))
    return html.literal(
        f'{head}<div style="margin: 6px 0">{bar}</div>{_facts(now)}{_notes(now)}{lines}{_waits(now)}{failures}'
    )


def _waits(now: Progress) -> str:
    """Why requests wait, one line per reason. Not announced to screen readers, because it counts down every second."""
    if not now.running or not now.waiting:
        return ""
    by_words: dict[str, list[str]] = {}
    for provider, words in now.waiting.items():
        by_words.setdefault(_WAIT_WORDS.get(words, words), []).append(provider)
    lines = "".join(
        f'<div style="overflow-wrap: anywhere">{html.esc(", ".join(providers))}: {html.muted(words)}</div>'
        for words, providers in by_words.items()
    )
    return _beside(lines, "plain")


def _facts(now: Progress) -> str:
    """Values side by side, each with its name above."""
    done = f"{now.asked:,} of {now.total:,}"
    estimate = "" if now.estimate is None else f" of about {dollars(now.estimate)}"
    spent = billed(now.cost, now.unpriced) + estimate
    facts = {"Probes done": done, "Cost so far" if now.running else "Cost": spent}
    if now.budget is not None:
        facts["Budget"] = dollars(now.budget, exact=True)
    if now.skipped:
        facts["Skipped"] = f"{now.skipped:,}"
    if now.failed:
        facts["Failed"] = f"{now.failed:,}"
    if now.running:
        facts["Rate"] = f"{now.rate:,.0f} a minute" if now.rate else "–"
        slowest = f" ({now.slowest})" if len(now.left) > 1 else ""
        facts["Time left"] = "–" if now.eta_s is None else f"about {html.duration(now.eta_s)}{slowest}"
    if now.seconds:
        part = " (new part)" if now.done_before else ""
        facts[("Running for" if now.running else "Took") + part] = html.duration(now.seconds)
    cells = "".join(
        f'<div><div style="color: {html.QUIET}; font-size: 11px">{html.esc(name)}</div>'
        f'<div style="font-size: 14px; font-variant-numeric: tabular-nums">{html.esc(value)}</div></div>'
        for name, value in facts.items()
    )
    return f'<div style="display: flex; flex-wrap: wrap; gap: 6px 28px; line-height: 1.4; margin: 6px 0">{cells}</div>'


def _notes(now: Progress) -> str:
    """The notes of a run, as warnings."""
    lines = "".join(f'<div style="overflow-wrap: anywhere">{html.esc(note)}</div>' for note in now.notes)
    return lines and _beside(lines, "warn")


def _beside(lines: str, tone: html.Tone) -> str:
    """Lines with a coloured bar on the left."""
    return f'<div style="margin: 6px 0; padding: 0 8px; border-left: 3px solid {html.TONES[tone]}">{lines}</div>'


def _lines(now: Progress) -> str:
    models = list(now.models.items())
    if len(models) > MOST:
        models = sorted(models, key=lambda entry: (entry[1].done >= entry[1].total, not entry[1].failed))[:MOST]
    widths = {name: width for name, width in _WIDTHS.items() if name != "In flight" or now.running}
    rows = [[cells[name] for name in widths] for cells in (_cells(*entry) for entry in models)]
    more = html.more(len(now.models) - len(models), "model")
    return html.table(widths, rows, right=list(widths)[2:], names=("Model",), markup=("Progress",)) + more


def _cells(model: str, now: ModelProgress) -> dict[str, str]:
    return {
        "Model": model,
        "Progress": _bar(now, "6px", f"{model}: {now.asked:,} of {now.total:,} done"),
        "Done": f"{now.asked:,}",
        "Failed": f"{now.failed:,}" if now.failed else "",
        "In flight": f"{now.in_flight:,}",
        "Waiting": f"{now.waiting:,}" if now.waiting else "",
        "Cost": billed(now.cost, now.unpriced),
    }


def _bar(now: Progress | ModelProgress, height: str, label: str) -> str:
    parts = "".join(
        f'<div style="width: {100 * getattr(now, name) / now.total:.2f}%; background: {color}"></div>'
        for name, color in _BAR.items()
        if now.total and getattr(now, name)
    )
    return (
        f'<div role="progressbar" aria-label="{html.esc(label)}" aria-valuemin="0" aria-valuemax="{now.total}" '
        f'aria-valuenow="{now.asked}" title="{html.esc(label)}" style="display: flex; height: {height}; '
        f'border-radius: 4px; overflow: hidden; background: {html.RAISED}">{parts}</div>'
    )


def _failures(now: Progress) -> str:
    if not now.codes:
        return ""
    ranked = sorted(now.codes.items(), key=lambda entry: -entry[1])
    badges = "".join(html.badge(f"{code} × {count:,}", "bad") for code, count in ranked)
    return (
        f'<div style="{html.FONT}; display: flex; flex-wrap: wrap; gap: 4px; align-items: center; margin: 4px 0">'
        f"{html.muted('Failures')}{badges}</div>"
    )


def kernel_ended(run_id: str) -> str:
    """What stands above a run whose kernel has ended: its cell, run again, may ask and pay for all of it again."""
    shows, asks = f'kit.load("{run_id}") shows this run', f'kit.resume("{run_id}")'
    return f"The kernel has ended: {shows}, and {asks} asks what is unanswered."
