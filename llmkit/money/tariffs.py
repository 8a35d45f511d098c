"""The prices at which a run's requests are billed: those recorded by it, or those of another day or model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from llmkit.money import pricing
from llmkit.records import Model, Price, Rates, Usage, since


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


def recorded(models: Iterable[Mapping[str, Any]], changes: Iterable[Mapping[str, Any]]) -> FindTariff:
    """The prices recorded when a run was started (``models``), and from each resumption on those recorded then."""
    tariffs: defaultdict[str, list[tuple[datetime, Tariff]]] = defaultdict(list)
    rows = [(since(None), row) for row in models]
    rows += [(each["at"], row) for each in changes for row in each["changes"].get("models", {}).values()]
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
