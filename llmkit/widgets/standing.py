"""How a run stands: one record whether it is watched live or read from the catalog, and its HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pandas as pd

from llmkit.errors import Code
from llmkit.widgets import html

if TYPE_CHECKING:
    from llmkit.results import Run
    from llmkit.runner import Progress

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
_RIGHT = ("Done", "Failed", "On their way", "Waiting", "Cost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The probes of one model by state, and what they cost so far. ``skipped`` are those that will not be asked."""

    model: str
    total: int
    ok: int = 0
    failed: int = 0
    skipped: int = 0
    in_flight: int = 0
    cost: Decimal = Decimal(0)

    @property
    def done(self) -> int:
        """Probes in a final state."""
        return self.ok + self.failed + self.skipped

    @property
    def waiting(self) -> int:
        """Probes that are neither done nor on their way."""
        return max(0, self.total - self.done - self.in_flight)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A run at one moment. Money is US dollars, ``None`` where unknown; ``rate`` is probes a minute."""

    run_id: str
    status: str
    shares: Sequence[Share]
    estimate: Decimal | None = None
    waiting: Mapping[str, str] = field(default_factory=dict)
    codes: Mapping[str, int] = field(default_factory=dict)
    unpriced: int = 0
    rate: float | None = None
    eta_s: float | None = None
    seconds: float | None = None

    @property
    def all(self) -> Share:
        """All models together."""
        sums = {
            name: sum(getattr(share, name) for share in self.shares)
            for name in ("total", "ok", "failed", "skipped", "in_flight")
        }
        return Share(model="all", cost=sum((share.cost for share in self.shares), Decimal(0)), **sums)

    @property
    def running(self) -> bool:
        """Whether something is still being asked."""
        return self.status in ("running", "cancelling")

    @property
    def resumable(self) -> bool:
        """Whether ``kit.resume`` would find something to ask."""
        everything = self.all
        left = everything.total > everything.ok + everything.failed
        return not self.running and (left or any(Code(code).resumable for code in self.codes))

    @property
    def df(self) -> pd.DataFrame:
        """One row a model."""
        names = ("model", "total", "ok", "failed", "skipped", "in_flight", "waiting")
        rows = [{name: getattr(share, name) for name in names} | {"cost": float(share.cost)} for share in self.shares]
        return pd.DataFrame(rows, columns=[*names, "cost"])


def watched(run_id: str, now: Progress, before: Mapping[str, Share]) -> Standing:
    """A run that is watched; ``before`` is what models had reached before it was taken up again."""
    return Standing(
        run_id=run_id,
        status=now.status,
        shares=[
            _sum(
                Share(
                    model=model,
                    total=part.total,
                    ok=part.ok,
                    failed=part.failed,
                    skipped=part.skipped,
                    in_flight=part.in_flight,
                    cost=part.cost,
                ),
                before.get(model),
            )
            for model, part in now.models.items()
        ],
        estimate=now.estimate,
        waiting=now.waiting,
        codes=now.codes,
        unpriced=now.unpriced,
        rate=now.rate,
        eta_s=now.eta_s,
        seconds=((now.ended_at or datetime.now(UTC)) - now.started_at).total_seconds(),
    )


def stored(run: Run, status: str, probes: pd.DataFrame) -> Standing:
    """A run as far as it is stored; probes that were cancelled wait to be resumed."""
    failures = probes.loc[probes["status"].isin(("failed", "skipped")), "error_code"].dropna()
    times = probes["started_at"].min(), probes["completed_at"].max()
    return Standing(
        run_id=run.id,
        status=status,
        estimate=run.estimate,
        shares=shares_of(probes),
        codes=dict(Counter(failures)),
        unpriced=int((probes["cost_source"] == "unpriced").sum()),
        seconds=None if any(map(pd.isna, times)) else (times[1] - times[0]).total_seconds(),
    )


def shares_of(probes: pd.DataFrame) -> list[Share]:
    """One share a model, in the order of the run."""
    shares = []
    for model, group in probes.groupby("model", sort=False):
        counts = Counter(group["status"])
        cost = Decimal(str(round(float(group["estimated_cost"].sum()), 10)))
        shares.append(
            Share(
                model=str(model),
                total=len(group),
                ok=counts["ok"],
                failed=counts["failed"],
                skipped=counts["skipped"],
                cost=cost,
            )
        )
    return shares


def _sum(share: Share, before: Share | None) -> Share:
    if before is None:
        return share
    return replace(
        share,
        total=share.total + before.total,
        ok=share.ok + before.ok,
        failed=share.failed + before.failed,
        cost=share.cost + before.cost,
    )


# --- HTML -----------------------------------------------------------------------------------------------------------


def board(now: Standing, *, title: str = "Run", badges: Sequence[str] = ()) -> str:
    """Everything about a run at a glance: bar, facts, a line for each model, what providers wait for, failures."""
    everything = now.all
    head = html.heading(title, html.muted(now.run_id), html.badge(now.status, _TONES.get(now.status, "plain")), *badges)
    bar = _bar(everything, "8px", f"All models: {everything.done:,} of {everything.total:,} probes done")
    waits = [f"{provider}: {reason}" for provider, reason in now.waiting.items()] if now.running else []
    return (
        f'<div class="tex2jax_ignore mathjax_ignore" style="{html.FONT}; color: {html.TEXT}">{head}'
        f'<div style="margin: 6px 0">{bar}</div>{_facts(now)}{_lines(now)}'
        f"{''.join(map(_wait, waits))}{_failures(now)}</div>"
    )


def _wait(words: str) -> str:
    """As a sentence, but not announced: it counts down every second."""
    return (
        '<div style="padding: 2px 8px; margin: 2px 0; overflow-wrap: anywhere; '
        f'border-left: 3px solid var(--jp-warn-color1, #ef6c00)">{html.esc(words)}</div>'
    )


def cost(amount: Decimal | float | None) -> str:
    """US dollars as people compare them: cents from a dollar on, below it two digits that say something."""
    if amount is None or amount != amount:
        return "unpriced"
    if amount >= 1 or amount == 0:
        return f"${amount:,.2f}"
    digits = 4 if amount >= Decimal("0.001") else min(10, 1 - Decimal(str(amount)).adjusted())
    return f"${amount:.{digits}f}"


def duration(seconds: float) -> str:
    """``28 s``, ``3 min 05 s``, ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02} min"


def _facts(now: Standing) -> str:
    everything = now.all
    done = f"{everything.done:,} of {everything.total:,}"
    spent = cost(everything.cost) + (f" of about {cost(now.estimate)}" if now.estimate is not None else "")
    facts = {"Probes done": done, "Cost so far" if now.running else "Cost": spent}
    if everything.failed:
        facts["Failed"] = f"{everything.failed:,}"
    if now.running:
        facts["Rate"] = f"{now.rate:,.0f} a minute" if now.rate else "–"
        facts["Time left"] = "–" if now.eta_s is None else f"about {duration(now.eta_s)}"
    if now.seconds is not None:
        facts["Running for" if now.running else "Took"] = duration(now.seconds)
    if now.unpriced:
        facts["Unpriced answers"] = f"{now.unpriced:,}"
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
    cell = f"padding: 3px 12px 3px 0; border: none; border-bottom: 1px solid {html.LINE}; background: none"
    names = ("Model", "Progress", *_RIGHT)
    head = "".join(
        f'<th scope="col" style="{cell}; text-align: {"right" if name in _RIGHT else "left"}; font-weight: 600; '
        f'color: {html.QUIET}">{name}</th>'
        for name in names
    )
    body = "".join(f"<tr>{_line(share, cell, now.running)}</tr>" for share in shares)
    rest = len(now.shares) - len(shares)
    more = html.quiet(f"and {rest:,} more models") if rest else ""
    return (
        f'<table style="{html.FONT}; border-collapse: collapse; color: {html.TEXT}; line-height: 1.4; margin: 4px 0; '
        f'width: 100%; font-variant-numeric: tabular-nums"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
        f"{more}"
    )


def _line(share: Share, cell: str, running: bool) -> str:
    numbers = (share.done, share.failed or "", share.in_flight if running else "", share.waiting or "")
    right = "".join(
        f'<td style="{cell}; text-align: right">{html.esc(f"{value:,}" if isinstance(value, int) else value)}</td>'
        for value in numbers
    )
    bar = _bar(share, "6px", f"{share.model}: {share.done:,} of {share.total:,} done")
    return (
        f'<td style="{cell}; text-align: left; overflow-wrap: anywhere">{html.esc(share.model)}</td>'
        f'<td style="{cell}; width: 28%; min-width: 60px">{bar}</td>{right}'
        f'<td style="{cell}; padding-right: 0; text-align: right">{html.esc(cost(share.cost))}</td>'
    )


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
