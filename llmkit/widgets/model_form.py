"""The form to add or edit a model. Its id and provider never change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llmkit.money.amounts import column_in_words
from llmkit.records import RATE_COLUMNS, Model, PriceTier
from llmkit.widgets.form import (
    PRICES_ARE,
    Field,
    Form,
    Values,
    choice_field,
    date_field,
    name_field,
    price_field,
    text_field,
    tick_field,
    whole_field,
)

TIER = {
    "tier_above": "above",
    "tier_input": "cost_input_per_million",
    "tier_output": "cost_output_per_million",
}
"""The fields of a price tier."""
_FIRST = 5
"""The number of fields after which a new model's form is folded."""


def add_form(providers: Sequence[tuple[str, str]], submit: Callable[[], Any], cancel: Callable[[], Any]) -> Form:
    """An empty form; ``providers`` are pairs of display name and name."""
    identity = [
        choice_field("provider", "Provider", providers),
        text_field("model_id", "Model id", hint="as the API is sent it", also=("ref",), needed=True),
    ]
    fields = [*identity, *_fields()]
    more = [field.name for field in fields[_FIRST:]]
    return Form(fields, label="Add model", submit=submit, cancel=cancel, folded=more, hint=PRICES_ARE)


def edit_form(model: Model, submit: Callable[[], Any], cancel: Callable[[], Any], reread: Callable[[], Any]) -> Form:
    """A form filled with a model; its id is read-only."""
    shown = text_field("model_id", "Model id")
    shown.control.disabled = True
    fields = [shown, *_fields(model.model_id)]
    form = Form(fields, label="Save", submit=submit, cancel=cancel, reread=reread, hint=PRICES_ARE)
    tier = model.price_tiers[0] if model.price_tiers else None
    form.show(
        {name: getattr(model, name, None) for name in form.fields}
        | {name: tier and getattr(tier, rate) for name, rate in TIER.items()}
        | {"set_as_default": model.is_default}
    )
    for name in TIER:
        form[name].control.disabled = len(model.price_tiers) > 1
    form["set_as_default"].control.disabled = model.is_default or not model.is_active
    return form


def new_model(form: Form) -> tuple[str, Values]:
    """The reference and the keyword arguments for :meth:`Catalog.add_model`."""
    typed = form.values()
    reference = f"{typed.pop('provider')}:{typed.pop('model_id')}"
    tier = {name: typed.pop(name) for name in TIER}
    always = {name: typed.pop(name) for name in ("cost_input_per_million", "cost_output_per_million")}
    more = {name: value for name, value in typed.items() if value is not None}
    return reference, {**always, **more, **_tiers(tier, ())}


def changed_values(form: Form, model: Model) -> Values:
    """The arguments for :meth:`Catalog.update_model`: changed values only."""
    changes = form.changes()
    tier = {name: changes.pop(name, None) for name in TIER}
    if form.touched(*TIER):
        changes |= _tiers({name: form[name].value() for name in tier}, model.price_tiers)
    return changes


def _fields(name: str | None = None) -> list[Field]:
    rates = RATE_COLUMNS[:4]  # those of the first cache lifetime
    prices = [price_field(rate, f"{column_in_words(rate).capitalize()} ($)") for rate in rates]
    return [
        name_field("the id", name),
        *prices,
        whole_field("tier_above", "Long input above", hint="tokens", also=("price_tiers", "price_tiers.above")),
        price_field("tier_input", "Long input price", hint="as above", also=("price_tiers.cost_input_per_million",)),
        price_field("tier_output", "Long output price", hint="as above", also=("price_tiers.cost_output_per_million",)),
        whole_field("context_window", "Context window", hint="tokens"),
        whole_field("max_output_tokens", "Max output", hint="tokens"),
        date_field("retires_on", "Retires on"),
        tick_field("set_as_default", "Default model"),
    ]


def _tiers(typed: Mapping[str, Any], before: Sequence[PriceTier]) -> Values:
    """The tier typed into the form; its rates that the form does not show are kept."""
    if not any(value is not None for value in typed.values()):
        return {"price_tiers": []} if before else {}
    kept = before[0].to_row() if before else {}
    tier = {**kept, **{TIER[name]: value for name, value in typed.items()}}
    return {"price_tiers": [{name: value for name, value in tier.items() if value is not None}]}
