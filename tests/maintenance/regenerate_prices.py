"""For maintainers: bring the prices in the shipped files up to date with genai-prices.

``python tests/maintenance/regenerate_prices.py data/catalog`` appends a dated entry wherever the price in force
differs, and prints what it changed. Comments, order and everything else stay as they are; a file without a difference
is not touched. ``--fresh`` gets the newest price data first.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from llmkit.money.price_comparison import MISSING, Difference, price_differences
from llmkit.money.upstream_prices import PriceList, read_price_list
from llmkit.records import PRICE_COLUMNS, RATE_COLUMNS, DatedPrice, Model, Price, price_on
from llmkit.records.checks import texts

_NUMBERS = (*RATE_COLUMNS, "factor")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m regenerate_prices", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="data/catalog of a checkout")
    parser.add_argument("--fresh", action="store_true", help="with the newest price data from the internet")
    given = parser.parse_args(arguments)
    upstream = read_price_list(given.fresh)
    for path in sorted(given.folder.glob("*.toml")):
        text = path.read_text(encoding="utf-8")
        changed, notes = regenerated(text, upstream, datetime.now(UTC))
        sys.stdout.writelines(f"{path.name}: {note}\n" for note in notes)
        if changed != text:
            path.write_text(changed, encoding="utf-8")
    return 0


def regenerated(text: str, upstream: PriceList, at: datetime) -> tuple[str, list[str]]:
    """A catalog file's text with the prices of ``upstream`` appended where they differ, and what was done, in words."""
    content = tomllib.loads(text, parse_float=Decimal)
    models, prices = _read(content)
    found = list(price_differences(models, prices, upstream, at))
    notes = [f"{each.model} is not in {each.source}" for each in found if each.what == MISSING]
    lines = text.splitlines()
    for (reference, begins), group in _grouped(found).items():
        day = (begins or at).date()
        before = price_on(prices[reference], begins or at)
        values = {each.what: each.theirs for each in group}
        price = replace(before.price if before else Price(), **values)
        place = _end_of_model(lines, list(models).index(reference))
        lines[place:place] = ["", *_entry(price, day, group[0])]
        notes += [f"{reference} from {day}: {each.what} {_words(each.ours)} → {_words(each.theirs)}" for each in group]
    return "\n".join([*lines, ""]), notes


def _read(content: Mapping[str, Any]) -> tuple[dict[str, Model], dict[str, list[DatedPrice]]]:
    models: dict[str, Model] = {}
    prices: dict[str, list[DatedPrice]] = {}
    for row in content.get("models", ()):
        model = Model(
            provider=content["provider"]["name"],
            model_id=row["model_id"],
            display_name=row["display_name"],
            status=row.get("status", "ACTIVE"),
        )
        models[model.reference] = model
        prices[model.reference] = [_dated(model.reference, entry) for entry in row["prices"]]
    return models, prices


def _dated(reference: str, entry: Mapping[str, Any]) -> DatedPrice:
    begins = texts.moment(entry["valid_from"], "valid_from") if "valid_from" in entry else None
    return DatedPrice.from_row({**entry, "reference": reference, "valid_from": begins})


def _grouped(found: Sequence[Difference]) -> dict[tuple[str, datetime | None], list[Difference]]:
    groups: dict[tuple[str, datetime | None], list[Difference]] = {}
    for each in found:
        if each.what in PRICE_COLUMNS:
            groups.setdefault((each.model, each.valid_from), []).append(each)
    return groups


def _end_of_model(lines: Sequence[str], index: int) -> int:
    """The line after the last one that belongs to a model: comments before the next one are about that."""
    starts = [number for number, line in enumerate(lines) if line.strip() == "[[models]]"]
    end = starts[index + 1] if index + 1 < len(starts) else len(lines)
    while not lines[end - 1].strip() or lines[end - 1].startswith("#"):
        end -= 1
    return end


def _entry(price: Price, day: date, difference: Difference) -> list[str]:
    """A price as lines of TOML, written as the files write it."""
    names = (*RATE_COLUMNS, "cost_per_thousand_searches")
    rates = [f"{name} = {rate.normalize():f}" for name in names if (rate := getattr(price, name)) is not None]
    lines = ["[[models.prices]]", f"valid_from = {day}", *rates, *variant_lines(price)]
    lines += [f"source = {json.dumps(difference.source)}", f"read_on = {difference.date}"]
    for name in ("price_tiers", "price_windows"):
        for part in getattr(price, name):
            lines += ["", f"[[models.prices.{name}]]", *(_line(*cell) for cell in part.to_row().items())]
    return lines


def variant_lines(price: Price) -> list[str]:
    """The variants of a price, one a line: tables of their own would part them from the rest of the entry."""
    if not price.price_variants:
        return []
    return ["price_variants = [", *(f"    {_inline(variant.to_row())}," for variant in price.price_variants), "]"]


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(_line(*cell) for cell in value.items()) + "}"
    return f"[{', '.join(map(_inline, value))}]" if isinstance(value, list) else json.dumps(value)


def _line(name: str, value: Any) -> str:
    return f"{name} = {Decimal(value).normalize():f}" if name in _NUMBERS else f"{name} = {_inline(value)}"


def _words(value: Any) -> str:
    return f"{len(value)} entries" if isinstance(value, tuple) else str(value)


if __name__ == "__main__":
    raise SystemExit(main())
