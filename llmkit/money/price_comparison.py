"""Compare the catalog with other sources: which prices, dates and models differ. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import pandas as pd

from llmkit.money.retirements import Retirements
from llmkit.money.upstream_prices import PriceList
from llmkit.records import (
    PRICE_COLUMNS,
    PRICE_PARTS,
    RATE_COLUMNS,
    DatedPrice,
    Model,
    Price,
    PriceWindow,
    RemoteModel,
    price_on,
)
from llmkit.records.rows import Row

NEW, MISSING = "new model", "missing upstream"

_GONE = {MISSING: (None, None)}

Prices = Mapping[str, Sequence[DatedPrice]]


class Difference(NamedTuple):
    """A difference between the catalog and another source.

    ``what`` is a price field, ``retires_on``, ``new model`` (``theirs`` holds the known columns), or
    ``missing upstream``. ``valid_from`` is the day on which an announced price takes effect; ``None``: now.
    """

    model: str
    what: str
    ours: Any
    theirs: Any
    valid_from: datetime | None
    source: str
    date: date


def price_differences(
    models: Mapping[str, Model], prices: Prices, upstream: PriceList, at: datetime
) -> Iterator[Difference]:
    """Current prices (at ``at``) and announced ones that differ, and active models missing from the list."""
    for reference, model in models.items():
        if not upstream.knows(model.provider):
            continue
        theirs = upstream.entries(model.provider, model.model_id)
        if not theirs and model.is_active:
            yield from _rows(reference, _GONE, upstream.source, upstream.read_on)
        ours = prices.get(reference, ())
        moments = [at, *(entry.valid_from for entry in theirs if entry.valid_from and entry.valid_from > at)]
        for moment in moments:
            mine, other = price_on(ours, moment), price_on(theirs, moment)
            if other is not None:
                changed = _changes(mine.price if mine else Price(), other.price)
                valid_from = None if moment == at else moment
                yield from _rows(reference, changed, upstream.source, upstream.read_on, valid_from)


def unlisted_models(
    models: Mapping[str, Model], left_out: Mapping[str, Iterable[str]], upstream: PriceList, at: datetime
) -> Iterator[Difference]:
    """Models in the price list that the catalog lacks; ``left_out`` holds, by provider, patterns of ids to ignore."""
    for provider, patterns in left_out.items():
        ours = [model.model_id for model in models.values() if model.provider == provider]
        for theirs in upstream.other_models(provider, ours, at):
            if not any(fnmatchcase(theirs.model_id, pattern) for pattern in patterns):
                new = {NEW: (None, listed_columns(theirs))}
                yield from _rows(f"{provider}:{theirs.model_id}", new, upstream.source, upstream.read_on)


def retirement_differences(models: Mapping[str, Model], theirs: Retirements) -> Iterator[Difference]:
    """Retirement dates that the catalog lacks or has differently."""
    for reference, model in models.items():
        day = theirs.days.get(reference)
        if day is not None and day != model.retires_on:
            yield from _rows(reference, {"retires_on": (model.retires_on, day)}, theirs.source, theirs.read_on)


def list_differences(
    models: Mapping[str, Model], lists: Mapping[str, Sequence[RemoteModel]], upstream: PriceList, at: datetime
) -> Iterator[Difference]:
    """Differences from the providers' own lists of models: new models, retirement dates, prices where listed, and
    active models that are no longer listed.

    ``lists`` is keyed by provider; a new model's price is looked up in ``upstream`` where its list has none.
    """
    today = at.date()
    for provider, listed in lists.items():
        source = f"{provider}'s list of models"
        remote = {f"{provider}:{model.model_id}": model for model in listed}
        for reference, theirs in remote.items():
            ours = models.get(reference)
            if ours is None:
                new = listed_columns(theirs, price_on(upstream.entries(provider, theirs.model_id), at))
                yield from _rows(reference, {NEW: (None, new)}, source, today)
                continue
            if theirs.retires_on is not None and theirs.retires_on != ours.retires_on:
                retires_on = {"retires_on": (ours.retires_on, theirs.retires_on)}
                yield from _rows(reference, retires_on, source, today)
            if theirs.price is not None:
                # lists have no tiers, hours or variants: a missing value is no difference
                listed_price = replace(theirs.price, **{part: getattr(ours.price, part) for part in PRICE_PARTS})
                stated = _changes(ours.price, listed_price).items()
                changed = {name: sides for name, sides in stated if sides[1] is not None}
                yield from _rows(reference, changed, source, today)
        for reference, model in models.items():
            if listed and model.provider == provider and model.is_active and reference not in remote:
                yield from _rows(reference, _GONE, source, today)


def to_frame(differences: Iterable[Difference]) -> pd.DataFrame:
    """One row per difference. ``ours`` and ``theirs`` are as in the catalog's frames: prices as float64 US dollars per
    million tokens, tiers and hours as lists of dicts, dates as dates.
    """
    rows = [map(shown, each) for each in differences]
    return pd.DataFrame(rows, columns=Difference._fields, dtype=object).astype({"valid_from": "datetime64[us, UTC]"})


def shown(value: Any) -> Any:
    """A catalog value as shown in frames: money as float, parts of a price as lists of dicts."""
    if isinstance(value, list | tuple):
        return list(map(shown, value))
    if isinstance(value, Row | dict):
        row = value.to_row() if isinstance(value, Row) else value
        return {
            name: float(cell) if name in (*RATE_COLUMNS, "factor") and cell else shown(cell)
            for name, cell in row.items()
        }
    return float(value) if isinstance(value, Decimal) else value


def _changes(ours: Price, theirs: Price) -> dict[str, tuple[Any, Any]]:
    """Field → (ours, theirs), where they differ."""
    # their variants, and ours for tiers that they do not list (regions of inference, for example)
    variants = {variant.service_tier: variant for variant in (*ours.price_variants, *theirs.price_variants)}
    adjusted = replace(
        theirs,
        price_windows=_on_our_days(ours.price_windows, theirs.price_windows),
        price_variants=tuple(variants[tier] for tier in sorted(variants)),
    )
    pairs = ((name, (getattr(ours, name), getattr(adjusted, name))) for name in PRICE_COLUMNS)
    return {name: pair for name, pair in pairs if pair[0] != pair[1]}


def _on_our_days(ours: Sequence[PriceWindow], theirs: Sequence[PriceWindow]) -> tuple[PriceWindow, ...]:
    """Their hours in our order, with our weekdays where the hours match (genai-prices cannot express weekdays)."""
    place = {(window.start, window.end): (rank, window.weekdays) for rank, window in enumerate(ours)}
    unknown = len(place)
    ranked = [(place.get((window.start, window.end), (unknown, window.weekdays)), window) for window in theirs]
    return tuple(replace(window, weekdays=days) for (_, days), window in sorted(ranked, key=lambda pair: pair[0][0]))


def _rows(
    reference: str,
    changed: Mapping[str, tuple[Any, Any]],
    source: str,
    read_on: date,
    valid_from: datetime | None = None,
) -> Iterator[Difference]:
    for what, (ours, theirs) in changed.items():
        yield Difference(reference, what, ours, theirs, valid_from, source, read_on)


def listed_columns(model: RemoteModel, entry: DatedPrice | None = None) -> dict[str, Any]:
    """Arguments for the catalog's ``add_model``: a listed model, priced by ``entry`` where the list has no price."""
    price = model.price or (entry.price if entry else Price())
    names = ("display_name", "context_window", "max_output_tokens", "retires_on")
    more = {name: value for name in names if (value := getattr(model, name)) is not None}
    return {**{name: value for name, value in price.to_row().items() if value is not None}, **more}
