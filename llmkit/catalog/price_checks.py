"""Keep prices current: compare them with published ones, apply accepted differences, and warn of old prices."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import pandas as pd

from llmkit.catalog import changes
from llmkit.catalog.seed_files import load_seed
from llmkit.errors import LlmkitError, ValidationError
from llmkit.money.price_comparison import (
    MISSING,
    NEW,
    list_differences,
    price_differences,
    retirement_differences,
    to_frame,
    unlisted_models,
)
from llmkit.money.retirements import Retirements
from llmkit.money.upstream_prices import PriceList
from llmkit.records import PRICE_COLUMNS, RemoteModel, price_on
from llmkit.records.user_warnings import warn
from llmkit.store import CatalogState, Edit

ListModels = Callable[[Sequence[str]], Mapping[str, Callable[[], Sequence[RemoteModel]]]]
"""Asks providers, by name, for their own lists of models; returns functions that wait for these."""
CHECKED = "_prices_checked_on"
"""The setting with the day of the last comparison with fresh prices; the underscore hides it from users."""
REMEDY = "kit.catalog.check_prices(fresh=True)"
OLD = timedelta(days=30)


def check(
    state: CatalogState,
    upstream: PriceList,
    retirements: Retirements | None,
    providers: Sequence[str],
    ask: ListModels,
    at: datetime,
) -> pd.DataFrame:
    """The differences as a frame, with their source in ``.attrs``; a provider that does not answer causes a warning and
    is listed there too.

    A provider's own list takes precedence: what it says about a model is not repeated from other sources.
    """
    lists: dict[str, Sequence[RemoteModel]] = {}
    unanswered: dict[str, str] = {}
    for provider, answer in ask(providers).items():
        try:
            lists[provider] = answer()
        except LlmkitError as error:
            unanswered[provider] = str(error)
            warn(f"{provider} was not asked for its models: {error}")
    listed = list(list_differences(state.models, lists, upstream, at))
    stated = {(each.model, each.what) for each in listed}
    others = [
        *unlisted_models(state.models, load_seed().left_out, upstream, at),
        *(retirement_differences(state.models, retirements) if retirements else ()),
    ]
    differences = to_frame(
        [
            *price_differences(state.models, state.prices, upstream, at),
            *listed,
            *(each for each in others if (each.model, each.what) not in stated),
        ]
    )
    differences.attrs |= {"source": upstream.source, "unanswered": unanswered}
    return differences


def accept(edit: Edit, rows: Iterable[Mapping[str, Any]], now: datetime) -> tuple[str, ...]:
    """Write accepted differences; return the references of models that change now or on an announced day."""
    changed: list[str] = []
    for (reference, valid_from, source), values in _grouped(rows).items():
        before, prices = edit.state.models.get(reference), edit.state.prices.get(reference)
        model = before or changes.new_model(edit.state, reference)
        new = changes.model_changes(values)
        after = changes.updated(edit, model, new, source=source, valid_from=valid_from, now=now)
        if after != before:
            edit.put_model(after, "apply_prices")
        if after != before or edit.state.prices.get(reference) != prices:
            changed.append(reference)
    return tuple(dict.fromkeys(changed))


def _grouped(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, Any, Any], dict[str, Any]]:
    """The values to write, by model, day and source; rows without any are skipped."""
    groups: dict[tuple[str, Any, Any], dict[str, Any]] = {}
    for row in rows:
        missing = {"model", "what", "theirs"} - row.keys()
        if missing:
            raise ValidationError(
                f"Pass rows of check_prices(): there is no column {', '.join(sorted(missing))}.", field="rows"
            )
        what, theirs = row["what"], row["theirs"]
        if what == MISSING:
            continue
        if what not in (*PRICE_COLUMNS, "retires_on", NEW):
            raise ValidationError(f"what={what!r} cannot be applied.", field="rows")
        key = (str(row["model"]), row.get("valid_from"), row.get("source"))
        if what == NEW and not isinstance(theirs, Mapping):
            raise ValidationError(
                "theirs of a new model is a dict of its columns, as check_prices() gives it.", field="rows"
            )
        groups.setdefault(key, {}).update(theirs if what == NEW else {what: theirs})
    return groups


def read_on(state: CatalogState, references: Iterable[str], at: datetime) -> date | None:
    """The day on which the oldest of the models' prices in force was read, or the later day of the last comparison;
    ``None`` if no day is recorded.
    """
    entries = [price_on(state.prices.get(reference, ()), at) for reference in references]
    days = [entry.read_on for entry in entries if entry is not None and entry.read_on is not None]
    checked = state.settings.get(CHECKED)
    return max(min(days), date.fromisoformat(checked) if checked else date.min) if days else None


def old_prices(state: CatalogState, references: Iterable[str], at: datetime) -> str:
    """A warning if prices of these models are old; else an empty text."""
    day = read_on(state, references, at)
    if day is None or at.date() - day <= OLD:
        return ""
    return (
        f"Prices in the catalog were read {(at.date() - day).days:,} days ago, on {day}: "
        f"{REMEDY} compares them with the latest."
    )
