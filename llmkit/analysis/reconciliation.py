"""Compare our costs with a provider's bill by day and model, with the likely cause of each difference."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any

import pandas as pd

from llmkit.analysis.bill_exports import BillLine
from llmkit.money import pricing
from llmkit.money.amounts import dollars
from llmkit.records import EXACT, Model, Price, Usage
from llmkit.records.checks.texts import counted

COLUMNS = {
    "day": "str", "model": "str", "ours": "float64", "theirs": "float64", "difference": "float64", "requests": "int64",
    "likely_cause": "str",
}  # fmt: skip
TOLERANCE = Decimal("0.000001")
"""US dollars that amounts may differ by, because exports round floats."""
NEAR = Decimal("0.005")
"""The relative error within which a possible cause explains an amount."""
_DATED = re.compile(r"-20\d{2}-?[01]\d-?[0-3]\d$")
_STANDARD = ("standard", "default", "auto")

Key = tuple[str, str | None]


@dataclass(slots=True)
class _Side:
    """One side's figures for a day and a model."""

    amount: Decimal = Decimal(0)
    requests: int = 0
    copies: int = 1
    tiers: set[str] = field(default_factory=set)
    most: Decimal = Decimal(0)
    """The most that the ``unknown`` requests without a known cost can have cost."""
    unknown: int = 0
    answers: list[tuple[Usage, datetime]] = field(default_factory=list)


def reconcile(
    lines: Sequence[BillLine], requests: Iterable[Mapping[str, Any]], models: Mapping[str, Model]
) -> pd.DataFrame:
    """See :meth:`llmkit.Kit.reconcile`. ``requests`` are one provider's rows of :func:`llmkit.store.totals.billable`,
    ``models`` its models by reference.
    """
    whole = all(line.model is None for line in lines)
    days = {line.day for line in lines}
    with localcontext(EXACT):
        ours = _ours(requests, {line.day[:7] for line in lines}, whole)
        theirs = _theirs(lines, models)
        rows = [
            _row(key, ours.get(key, _Side()), theirs.get(key), key[0] in days, models.get(key[1] or ""))
            for key in sorted({*ours, *theirs}, key=lambda key: (key[0], key[1] or ""))
        ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _ours(requests: Iterable[Mapping[str, Any]], months: set[str], whole: bool) -> dict[Key, _Side]:
    sides: defaultdict[Key, _Side] = defaultdict(_Side)
    for row in requests:
        day = row["started_at"].strftime("%Y-%m-%d")
        if day[:7] not in months:
            continue
        side = sides[day, None if whole else row["model"]]
        side.requests += 1
        side.amount += row["cost"] or 0
        side.tiers.add(_tier(row["service_tier"]))
        if row["cost"] is None:
            side.unknown += 1
            side.most += row["worst_case"] or 0
        if row["usage"] is not None:
            usage = replace(Usage.from_row(row["usage"]), reported_cost=None)
            side.answers.append((usage, row["started_at"]))
    return sides


def _theirs(lines: Sequence[BillLine], models: Mapping[str, Model]) -> dict[Key, _Side]:
    names = {model.display_name: reference for reference, model in models.items()}
    names |= {name: ref for ref, model in models.items() for name in (model.model_id, _bare(model.model_id))}
    sides: defaultdict[Key, _Side] = defaultdict(_Side)
    for line in lines:
        reference = None if line.model is None else names.get(line.model, names.get(_bare(line.model), line.model))
        side = sides[line.day, reference]
        side.amount += _priced(line, models.get(reference or "")) if line.amount is None else line.amount
        side.copies = max(side.copies, line.copies)
        if line.tier is not None:
            side.tiers.add(_tier(line.tier))
    return sides


def _priced(line: BillLine, model: Model | None) -> Decimal:
    """The cost of a line's tokens at our prices, without price tiers, since request sizes are unknown."""
    if model is None:
        return Decimal(0)
    noon = datetime.fromisoformat(f"{line.day}T12:00:00+00:00")
    price = replace(model.full_price, price_tiers=())
    return pricing.cost(line.usage, price, noon, tier=_tier(line.tier)).amount or Decimal(0)


def _row(key: Key, ours: _Side, theirs: _Side | None, has_day: bool, model: Model | None) -> dict[str, Any]:
    amount = theirs.amount if theirs else Decimal(0)
    difference = amount - ours.amount
    return {
        "day": key[0],
        "model": key[1],
        "ours": float(ours.amount),
        "theirs": float(amount),
        "difference": float(round(difference, 10)),
        "requests": ours.requests,
        "likely_cause": None if abs(difference) <= TOLERANCE else _cause(ours, theirs, has_day, model),
    }


def _cause(ours: _Side, theirs: _Side | None, has_day: bool, model: Model | None) -> str:
    if theirs is None:
        return "missing model: the export has no line for it" if has_day else "missing day: the export lacks it"
    if theirs.copies > 1:
        return f"duplicate: the export has the same line {theirs.copies} times"
    if theirs.amount < 0:
        return "credit: the bill takes money off"
    if not ours.requests:
        return "not asked here: other programs, or another catalog, used the same key"
    if (tier := _other_tier(ours, theirs, model)) is not None:
        return f"other tier: it was billed as {tier}"
    if _near(theirs.amount, 2 * ours.amount):
        return "duplicate: it was billed twice"
    if 0 < theirs.amount - ours.amount <= ours.most + TOLERANCE:
        most = dollars(ours.most)
        return f"unknown: {counted(ours.unknown, 'request')} may have been billed, at {most} at most"
    return "another price or discount, or other programs used the same key"


def _other_tier(ours: _Side, theirs: _Side, model: Model | None) -> str | None:
    """The tier whose prices explain the billed amount, or else one that only the bill names."""
    price = Price() if model is None else model.full_price
    for tier in sorted({"standard", *(each.service_tier for each in price.price_variants)}):
        amounts = [pricing.cost(usage, price, at, tier=tier).amount for usage, at in ours.answers]
        if {tier} != ours.tiers and _near(theirs.amount, pricing.total(amounts)):
            return tier
    return min(theirs.tiers - ours.tiers, default=None)


def _near(one: Decimal, other: Decimal) -> bool:
    return abs(one - other) <= max(TOLERANCE, NEAR * abs(other))


def _tier(name: str | None) -> str:
    return "standard" if name is None or name.lower() in _STANDARD else name.lower()


def _bare(model_id: str) -> str:
    """A model id without the date of its snapshot."""
    return _DATED.sub("", model_id)
