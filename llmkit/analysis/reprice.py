"""Recompute the costs of a run from its stored tokens: at its own prices, those of another day or another model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pandas as pd

from llmkit.catalog import rules
from llmkit.money import pricing
from llmkit.records import CostSource, Model, Price, Rates, Usage, price_on, since, source_of_sum
from llmkit.records.checks import texts
from llmkit.store import CatalogState, Store, queries, run_rows, totals


@dataclass(frozen=True, slots=True)
class Tariff:
    """The prices of a model. ``trusts_reports``: use the costs that the provider reported."""

    model: str
    price: Price
    fallback: Rates | None
    trusts_reports: bool = False

    def cost(self, usage: Usage | None, asked_at: datetime, tier: str | None) -> pricing.Cost:
        """The cost of one answer."""
        if usage is not None and not self.trusts_reports:
            usage = replace(usage, reported_cost=None)
        return pricing.cost(usage, self.price, asked_at, tier=tier, fallback=self.fallback)


FindTariff = Callable[[str, datetime], Tariff]
"""Finds the tariff of a model (by reference) for a request made at a time."""


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
    tariff = _noted(run) if moment is None and model is None else _listed(state, moment or datetime.now(UTC), model)
    return _frame(probes, _costs(attempts, tariff), tariff)


def _noted(run: Mapping[str, Any]) -> FindTariff:
    """The prices recorded when the run was started, and from each resumption on those recorded then."""
    tariffs: defaultdict[str, list[tuple[datetime, Tariff]]] = defaultdict(list)
    rows = [(since(None), row) for row in run["models"]]
    rows += [(each["at"], row) for each in run["changes"] for row in each["changes"].get("models", {}).values()]
    for begins, row in rows:
        reference = f"{row['provider']}:{row['model_id']}"
        defaults = row.get("default_costs")
        fallback = Price.from_row(defaults) if defaults else None
        model = Model.from_row(row)
        tariff = Tariff(model.priced_as, model.full_price, fallback, trusts_reports=True)
        tariffs[reference].append((begins, tariff))

    def find(reference: str, asked_at: datetime) -> Tariff:
        return [tariff for begins, tariff in tariffs[reference] if begins <= asked_at][-1]

    return find


def _listed(state: CatalogState, at: datetime, model: str | None) -> FindTariff:
    """The catalog's prices in force at a time; those of ``model`` for every answer, if given."""
    other = None if model is None else rules.find_model(state, model).reference

    def tariff(reference: str, _: datetime) -> Tariff:
        chosen = other or rules.priced_as(state, reference)
        entry = price_on(state.prices.get(chosen, ()), at)
        provider = state.providers[chosen.partition(":")[0]]
        price, listed = entry.price if entry else Price(), state.models.get(chosen)
        price = replace(listed, price=price).full_price if listed else price
        return Tariff(chosen, price, pricing.default_rates(provider))

    return tariff


def _costs(
    attempts: Iterable[Mapping[str, Any]], tariff: FindTariff
) -> dict[str, tuple[Decimal | None, CostSource | None]]:
    """The cost of each probe that was billed at all; ``None`` when part of it is unknown."""
    parts: dict[str, list[pricing.Cost]] = {}
    for row in attempts:
        usage = None if row["usage"] is None else Usage.from_row(row["usage"])
        at = row["started_at"]
        parts.setdefault(row["probe_id"], []).append(tariff(row["model"], at).cost(usage, at, row["service_tier"]))
    return {probe_id: _sum(costs) for probe_id, costs in parts.items()}


def _sum(costs: list[pricing.Cost]) -> tuple[Decimal | None, CostSource | None]:
    unknown = any(cost.amount is None for cost in costs)
    return None if unknown else pricing.total(cost.amount for cost in costs), source_of_sum([c.source for c in costs])


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
                **{name: probe[name] for name in ("probe_id", "scenario_id", "sample", "status", "model")},
                "priced_as": tariff(probe["model"], datetime.now(UTC)).model,
                "cost_before": before,
                "cost_after": after,
                "difference": None if before is None or after is None else after - before,
                "source_before": probe["cost_source"],
                "source": source,
            }
        )
    frame = pd.DataFrame(rows, columns=COLUMNS)
    totals = {name: _known(row[column] for row in rows) for name, column in TOTALS.items()}
    frame = frame.astype(dict.fromkeys(TOTALS.values(), "float64"))
    frame.attrs.update(totals)
    return frame


def _known(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """The sum of the known amounts; ``None`` when there are none."""
    known = [amount for amount in amounts if amount is not None]
    return pricing.total(known) if known else None


COLUMNS = [
    "probe_id", "scenario_id", "sample", "status", "model", "priced_as", "cost_before", "cost_after", "difference",
    "source_before", "source",
]  # fmt: skip
TOTALS = {"total": "cost_after", "total_before": "cost_before", "difference": "difference"}
