"""How a run stands: one record whether it is watched live or read from the catalog."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal

import pandas as pd

from llmkit.analysis import Run
from llmkit.errors import Code
from llmkit.runs import Progress


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
    unpriced: int = 0

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
    rate: float | None = None
    eta_s: float | None = None
    seconds: float | None = None

    @property
    def all(self) -> Share:
        """All models together."""
        sums = {
            name: sum(getattr(share, name) for share in self.shares)
            for name in ("total", "ok", "failed", "skipped", "in_flight", "unpriced")
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
                    unpriced=part.unpriced,
                ),
                before.get(model),
            )
            for model, part in now.models.items()
        ],
        estimate=now.estimate,
        waiting=now.waiting,
        codes=now.codes,
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
                unpriced=int((group["cost_source"] == "unpriced").sum()),
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
        unpriced=share.unpriced + before.unpriced,
    )
