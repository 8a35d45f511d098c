"""Estimates compared with actual costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Literal

import pandas as pd

from llmkit.money import pricing
from llmkit.records.checks import shapes

Per = Literal["model", "run"]
COLUMNS = (
    "run_id", "name", "started_at", "model", "probes", "ok", "estimate", "low", "high", "actual", "ratio", "inside",
    "basis", "observations",
)  # fmt: skip


def calibration(rows: Iterable[Mapping[str, Any]], by: Per) -> pd.DataFrame:
    """See :meth:`llmkit.Kit.calibration`; ``rows`` come from :func:`llmkit.store.totals.estimates`."""
    shapes.one_of(by, Per, "by")
    lines = [_of_model(row) for row in rows] if by == "model" else list(_of_runs(rows))
    frame = pd.DataFrame(lines, columns=COLUMNS).drop(columns=["model"] if by == "run" else [])
    text = dict.fromkeys((name for name in ("run_id", "name", "model", "basis") if name in frame), "str")
    whole = dict.fromkeys(("probes", "ok", "observations"), "Int64")
    real = dict.fromkeys(("estimate", "low", "high", "actual", "ratio"), "float64")
    return frame.astype({**text, **whole, **real, "inside": "boolean", "started_at": "datetime64[us, UTC]"})


def _of_model(row: Mapping[str, Any]) -> dict[str, Any]:
    entry = row["estimate"]["models"].get(row["config"], {})
    return _line(row, entry, None if row["unpriced"] else row["actual"], entry.get("observations"))


def _of_runs(rows: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """One row per run: its totals over the models that were priced in the estimate."""
    runs: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        runs.setdefault(row["run_id"], []).append(row)
    for parts in runs.values():
        stored = parts[0]["estimate"]
        models = stored["models"]
        priced = [part for part in parts if part["model"] not in stored["unpriced"]]
        counts = {name: sum(part[name] for part in parts) for name in ("probes", "ok")}
        known = priced and not any(part["unpriced"] for part in priced)
        actual = pricing.total(part["actual"] for part in priced) if known else None
        observations = sum(entry["observations"] for entry in models.values())
        yield _line({**parts[0], **counts}, {**stored, "cost": stored["total"]}, actual, observations)


def _line(
    row: Mapping[str, Any], entry: Mapping[str, Any], actual: Decimal | None, observations: int | None
) -> dict[str, Any]:
    estimate, low, high = (_decimal(entry.get(name)) for name in ("cost", "low", "high"))
    inside = None if actual is None or low is None or high is None else low <= actual <= high
    return {
        **{name: row[name] for name in ("run_id", "name", "started_at", "model", "probes", "ok")},
        "estimate": estimate,
        "low": low,
        "high": high,
        "actual": actual,
        "ratio": actual / estimate if actual is not None and estimate else None,
        "inside": inside,
        "basis": entry.get("basis"),
        "observations": observations,
    }


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
