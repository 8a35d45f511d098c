"""Recompute the costs of a run from its stored tokens: at its own prices, those of another day or another model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pandas as pd

from llmkit.catalog import rules
from llmkit.money import pricing
from llmkit.money.tariffs import FindTariff, Tariff, recorded
from llmkit.records import CostSource, Price, Usage, price_on, source_of_sum
from llmkit.records.checks import texts
from llmkit.store import CatalogState, Store, queries, run_rows, totals

COLUMNS = [
    "probe_id", "scenario_id", "sample", "status", "model", "priced_as", "cost_before", "cost_after", "difference",
    "source_before", "source",
]  # fmt: skip
TOTALS = {"total": "cost_after", "total_before": "cost_before", "difference": "difference"}


def reprice(
    store: Store, run_id: str, *, as_of: datetime | date | str | None = None, model: str | None = None
) -> pd.DataFrame:
    """See :meth:`llmkit.Run.reprice`."""
    moment = None if as_of is None else texts.moment(as_of, "as_of")
    run, state, probes, attempts = store.read(
        lambda c: (
            run_rows.run_row(c, run_id) or {"models": [], "changes": []},
            queries.catalog_state(c),
            totals.probe_costs(c, run_id),
            totals.billed_attempts(c, run_id),
        )
    )
    own = moment is None and model is None
    tariff = recorded(run["models"], run["changes"]) if own else _listed(state, moment or datetime.now(UTC), model)
    return _frame(probes, _costs(attempts, tariff), tariff)


def _listed(state: CatalogState, at: datetime, model: str | None) -> FindTariff:
    """The catalog's prices in force at a time; those of ``model`` for every answer, if given."""
    other = None if model is None else rules.find_model(state, model).reference

    def tariff(reference: str, _: datetime) -> Tariff:
        chosen = other or rules.priced_as(state, reference)
        entry = price_on(state.prices.get(chosen, ()), at)
        provider = state.providers.get(chosen.partition(":")[0])
        price, listed = entry.price if entry else Price(), state.models.get(chosen)
        price = replace(listed, price=price).full_price if listed else price
        return Tariff(chosen, price, pricing.default_rates(provider) if provider else None)

    return tariff


def _costs(
    attempts: Iterable[Mapping[str, Any]], tariff: FindTariff
) -> dict[str, tuple[Decimal | None, CostSource | None]]:
    """What is known of the cost of each probe that was billed at all, and its source."""
    parts: dict[str, list[pricing.Cost]] = {}
    for row in attempts:
        usage = None if row["usage"] is None else Usage.from_row(row["usage"])
        at = row["started_at"]
        parts.setdefault(row["probe_id"], []).append(tariff(row["model"], at).cost(usage, at, row["service_tier"]))
    return {probe_id: _sum(costs) for probe_id, costs in parts.items()}


def _sum(costs: list[pricing.Cost]) -> tuple[Decimal | None, CostSource | None]:
    source = source_of_sum([cost.source for cost in costs])
    return None if source == "unpriced" else pricing.total(cost.amount for cost in costs), source


def _frame(
    probes: Iterable[Mapping[str, Any]],
    costs: Mapping[str, tuple[Decimal | None, CostSource | None]],
    tariff: FindTariff,
) -> pd.DataFrame:
    rows = []
    for probe in probes:
        before = probe["estimated_cost"]
        # a probe that was never billed keeps its cost at any price: nothing, or unknown
        after, source = costs.get(probe["probe_id"], (before, probe["cost_source"]))
        rows.append(
            {
                **probe,
                "priced_as": tariff(probe["model"], datetime.now(UTC)).model,
                "cost_before": before,
                "cost_after": after,
                "difference": None if before is None or after is None else after - before,
                "source_before": probe["cost_source"],
                "source": source,
            }
        )
    frame = pd.DataFrame(rows, columns=COLUMNS)
    known = {name: frame[column].dropna() for name, column in TOTALS.items()}
    frame = frame.astype(dict.fromkeys(TOTALS.values(), "float64"))
    frame.attrs |= {name: None if amounts.empty else pricing.total(amounts) for name, amounts in known.items()}
    return frame
