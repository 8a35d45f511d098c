"""Turn keyword arguments into checked column values, and those into records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from llmkit.catalog import rules
from llmkit.errors import EditConflict, ValidationError
from llmkit.money.price_changes import next_change
from llmkit.records import RATE_COLUMNS, DatedPrice, Model, Provider, price_on, split_reference
from llmkit.records.checks import addresses, numbers, texts
from llmkit.records.checks.api_config import api_config
from llmkit.records.user_warnings import warn
from llmkit.store import CatalogState, Edit

Check = Callable[[Any, str], Any]

_PROVIDER: Mapping[str, Check] = {
    "display_name": texts.text,
    "wire": texts.wire,
    "dialect": texts.dialect,
    "base_url": addresses.base_url,
    "api_key_env": texts.key_variable,
    "max_parallel_requests": partial(numbers.limit, most=numbers.MAX_PARALLEL),
    "requests_per_minute": partial(numbers.limit, most=numbers.MAX_PER_MINUTE),
    "tokens_per_minute": numbers.optional_limit,
    "is_enabled": texts.flag,
    "default_cost_input_per_million": numbers.price,
    "default_cost_output_per_million": numbers.price,
}
_MODEL: Mapping[str, Check] = {
    "display_name": texts.text,
    "batch_discount": numbers.share,
    "context_window": numbers.count,
    "max_output_tokens": numbers.count,
    "retires_on": texts.day,
    "api_config": api_config,
}
_PRICE: Mapping[str, Check] = {
    **dict.fromkeys(RATE_COLUMNS, numbers.price),
    "price_tiers": numbers.price_tiers,
    "price_windows": numbers.price_windows,
    "price_variants": numbers.price_variants,
    "cost_per_thousand_searches": numbers.price,
}
_ELSEWHERE = {
    "provider": "A model never moves to another provider. Add it there, and deprecate this one.",
    "model_id": "A model's id never changes: the history of every run refers to it. Add another model instead.",
    "balance": "Use set_balance() or sync_balance().",
    "status": "A new model is active; deprecate_model() changes that.",
    "is_default": "Use set_as_default=True.",
}


def provider_changes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Check the values of a provider."""
    return _checked(values, _PROVIDER, "provider")


def model_changes(values: Mapping[str, Any]) -> dict[str, Any]:
    """Check the values of a model: its own columns, and those of its price."""
    return _checked(values, {**_MODEL, **_PRICE}, "model")


def _checked(values: Mapping[str, Any], checks: Mapping[str, Check], what: str) -> dict[str, Any]:
    for name in values:
        if name in _ELSEWHERE and name not in checks:
            raise ValidationError(_ELSEWHERE[name], field=name)
    texts.known_names(values, checks, what)
    return {name: checks[name](value, name) for name, value in values.items()}


def unchanged_since(record: Provider | Model, expected_updated_at: Any, what: str) -> None:
    """Refuse to edit a record that was changed after the caller read it; ``None`` skips the check."""
    if expected_updated_at is None or texts.moment(expected_updated_at, "expected_updated_at") == record.updated_at:
        return
    raise EditConflict(
        f"{what} was changed elsewhere after you read it (at {record.updated_at:%Y-%m-%d %H:%M:%S} UTC). "
        "Reload it, and repeat your change.",
        field="expected_updated_at",
    )


def new_model(state: CatalogState, reference: str) -> Model:
    """A model that is still to be added, called by its id."""
    name, model_id = split_reference(reference)
    provider = rules.find_provider(state, name).name
    return Model(provider=provider, model_id=texts.model_id(model_id), display_name=model_id)


def updated(edit: Edit, before: Model, new: Mapping[str, Any], *, source: Any, valid_from: Any, now: datetime) -> Model:
    """The changed model, still to be put, at its price in force; a changed price is appended to its history, with its
    ``source``, as read today, and the moment from which it is valid, which is ``now`` if it is not given.

    Prices not in ``new`` are those in force on the day of the change. A new model's price has always been in force,
    unless ``valid_from`` says otherwise.
    """
    source = None if source is None else texts.text(source, "source")
    chosen = None if valid_from is None else texts.moment(valid_from, "valid_from")
    is_new, entries = before.reference not in edit.state.models, edit.state.prices.get(before.reference, ())
    begins = chosen or now
    entry = price_on(entries, begins)
    base = entry.price if entry else before.price
    price = replace(base, **{name: value for name, value in new.items() if name in _PRICE})
    model = replace(before, **{name: value for name, value in new.items() if name in _MODEL})
    if price == base:
        return model
    later = next_change(entries, begins)
    if later is not None and later.valid_from is not None and chosen is None:
        day = later.valid_from.date()
        warn(
            f"{model.reference}: the catalog has another price from {day} on ({later.source or 'no source given'}), "
            f"which will replace yours then. To keep yours, set it again then, or now in code with valid_from='{day}'."
        )
    entry = DatedPrice(
        reference=model.reference,
        valid_from=chosen if is_new else begins,
        price=price,
        source=source,
        read_on=None if source is None else now.date(),
    )
    edit.add_price(entry, "add_model" if is_new else "update_model")
    return rules.priced(model, edit.state.prices[model.reference], now)
