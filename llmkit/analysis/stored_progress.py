"""The progress of a stored run, as the same record that live runs report."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal

import pandas as pd

from llmkit.analysis.run import Run
from llmkit.analysis.run_words import effective_status
from llmkit.runs import ModelProgress, Progress


def stored_progress(run: Run, status: str, probes: pd.DataFrame) -> Progress:
    """The progress of a stored run; cancelled probes count as waiting, since they can be resumed."""
    failures = probes.loc[probes["status"].isin(("failed", "skipped")), "error_code"].dropna()
    settings = run.settings
    budget = settings["budget"]
    first, last = probes["started_at"].min(), probes["completed_at"].max()
    started = datetime.now(UTC) if pd.isna(first) else first
    return Progress(
        status=effective_status(status, True, run._in_batches(settings)),
        started_at=started,
        ended_at=started if pd.isna(first) or pd.isna(last) else last,
        estimate=run.estimate,
        budget=None if budget is None else Decimal(budget),
        notes=(run.message,) if status == "budget" and run.message else (),
        models=progress_by_model(probes),
        codes=dict(Counter(failures)),
    )


def progress_by_model(probes: pd.DataFrame) -> dict[str, ModelProgress]:
    """Count ``run.probes`` by model, in the order of the run."""
    return {str(model): _counted(group) for model, group in probes.groupby("model", sort=False)}


def _counted(probes: pd.DataFrame) -> ModelProgress:
    counts = Counter(probes["status"])
    return ModelProgress(
        total=len(probes),
        ok=counts["ok"],
        failed=counts["failed"],
        skipped=counts["skipped"],
        cost=Decimal(str(round(float(probes["estimated_cost"].sum()), 10))),
        unpriced=int(probes["cost_source"].isin(["unpriced", "partly unpriced"]).sum() + probes["maybe_billed"].sum()),
    )
