"""``kit.catalog``: :mod:`llmkit.catalog.lookup`, :mod:`llmkit.catalog.providers`, and the methods that edit models.

A change is checked before anything is written, is atomic, and records an event with the values before and after. Edits
of several threads, kernels and scripts are serialised; none is lost.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from llmkit.catalog import budget_settings, changes, price_age, price_checks, rules, undo
from llmkit.catalog.providers import ProviderEdits
from llmkit.catalog.purposes import purpose_name
from llmkit.catalog.undo import Event
from llmkit.errors import ModelDeprecated, ValidationError
from llmkit.money.amounts import in_words
from llmkit.money.retirements import read_retirements
from llmkit.money.upstream_prices import read_price_list
from llmkit.records import Model, Price
from llmkit.records.checks import texts
from llmkit.records.checks.api_config import api_config
from llmkit.records.user_warnings import warn
from llmkit.store import Edit


@dataclass(frozen=True, slots=True)
class Deprecation:
    """The result of deprecating a model: the model, the new default (``None`` when it was not the default, or no other
    model is active), and the internal tasks that still use it and need another model. ``str()`` gives a sentence with
    both prices.
    """

    model: Model
    new_default: Model | None
    infra_purposes: tuple[str, ...] = ()

    @property
    def price(self) -> Price:
        """The price of the deprecated model, in US dollars per million tokens."""
        return self.model.price

    @property
    def new_price(self) -> Price | None:
        """The price of the new default, if there is one."""
        return self.new_default.price if self.new_default else None

    def __str__(self) -> str:
        if self.new_default is None:
            return f"{self.model.reference} is deprecated."
        return (
            f"{self.model.reference} is deprecated. The default is now {self.new_default.reference}, at "
            f"{in_words(self.new_default.price)} per million tokens instead of {in_words(self.model.price)}."
        )


@dataclass(frozen=True, slots=True)
class DefaultChange:
    """The result of setting a default: the new default, and the previous one (``None`` when there was none)."""

    model: Model
    previous_default: Model | None


class Catalog(ProviderEdits):
    """Providers, models, prices and settings of one database.

    Every method that changes something raises, in addition to its own errors, ``CatalogBusy`` when another program
    holds the database open, ``ValidationError`` (with ``field``) for an invalid value or argument, ``ModelNotFound``
    and ``UnsupportedProvider`` for names that are not in the catalog.
    """

    # --- models ---

    def add_model(
        self,
        ref: str,
        *,
        display_name: str | None = None,
        cost_input_per_million: Any,
        cost_output_per_million: Any,
        set_as_default: bool = False,
        source: str | None = None,
        valid_from: Any = None,
        **more: Any,
    ) -> Model:
        """Add a model to a provider. Prices are US dollars per million tokens; ``None`` means unknown, 0 means free.

        ``more``: ``cost_cached_input_per_million``, ``cost_cache_write_per_million``,
        ``cost_cache_write_1h_per_million``, ``cost_per_thousand_searches``, ``price_tiers``, ``price_windows``,
        ``price_variants`` (rates of other service tiers), ``batch_discount``, ``context_window``,
        ``max_output_tokens``, ``retires_on``, ``api_config``. ``source`` says where the price was read. The model
        becomes the default only with ``set_as_default=True``, even when its provider has none.
        """
        costs = {
            "cost_input_per_million": cost_input_per_million,
            "cost_output_per_million": cost_output_per_million,
        }
        name = {} if display_name is None else {"display_name": display_name}
        new = changes.model_changes({**name, **costs, **more})
        texts.flag(set_as_default, "set_as_default")
        with self._edit() as edit:
            note = changes.price_note(source, valid_from, self._clock())
            model = changes.new_model(edit.state, ref)
            if model.reference in edit.state.models:
                raise ValidationError(f"There is a model {ref!r} already; update_model() changes it.", field="ref")
            model = edit.put_model(changes.updated(edit, model, new, note), "add_model")
            return _make_default(edit, model).model if set_as_default else model

    def update_model(
        self,
        ref: str,
        *,
        set_as_default: bool = False,
        status: str | None = None,
        is_default: bool | None = None,
        source: str | None = None,
        valid_from: Any = None,
        expected_updated_at: Any = None,
        **values: Any,
    ) -> Model:
        """Change a model: everything that :meth:`add_model` takes except its provider and id.

        ``status`` (``"ACTIVE"`` or ``"DEPRECATED"``) acts like :meth:`reactivate_model` and :meth:`deprecate_model`.
        ``is_default=True`` equals ``set_as_default=True``; ``is_default=False`` leaves the provider without a default
        if this was it; ``set_as_default=False`` changes nothing. A changed price is appended to the model's price
        history, and finished runs keep the prices they were billed at. ``valid_from`` (a date, a time, or ISO text) is
        when the price takes effect: one in the future changes nothing today. If the history has a later price, that
        one still applies from its day, and a warning says so.

        Raises:
            EditConflict: the model was changed after ``expected_updated_at`` (its ``updated_at`` when you read it).
            ModelDeprecated: a deprecated model cannot be the default.
        """
        new = changes.model_changes(values)
        texts.flag(set_as_default, "set_as_default")
        is_default = set_as_default or is_default
        changes.check_standing(status, is_default)
        with self._edit() as edit:
            # the time inside the edit: what another kernel wrote while this one waited must be earlier
            note = changes.price_note(source, valid_from, self._clock())
            before = rules.find_model(edit.state, ref)
            changes.unchanged_since(before, expected_updated_at, before.reference)
            after = changes.updated(edit, before, new, note)
            if after != before:
                after = edit.put_model(after, "update_model")
            return _apply_standing(edit, after, status, is_default)

    def deprecate_model(self, ref: str) -> Deprecation:
        """Remove a model from new runs; its history stays. A default is succeeded by an active model of its provider:
        one of its family at half to twice the price, else the nearest in price. If it is more than twice as dear, a
        warning gives both prices. A model that is deprecated already is left unchanged.
        """
        with self._edit() as edit:
            return _deprecate(edit, rules.find_model(edit.state, ref))

    def reactivate_model(self, ref: str) -> Model:
        """Allow a deprecated model in new runs again. It does not become the default."""
        with self._edit() as edit:
            return _reactivate(edit, rules.find_model(edit.state, ref))

    def set_default_model(self, ref: str) -> DefaultChange:
        """Make a model its provider's default, which new runs pre-select.

        Raises:
            ModelDeprecated: the model is deprecated.
        """
        with self._edit() as edit:
            return _make_default(edit, rules.find_model(edit.state, ref))

    def learn_rejected(self, ref: str, parameter: str) -> Model:
        """Remember, as the actor ``system``, that a model's API rejected a parameter: later requests omit it.

        It is stored in ``api_config["learned_rejects"]``; remove it there to make llmkit try again.
        """
        with self._store.edit(actor="system") as edit:
            model = rules.find_model(edit.state, ref)
            learned = sorted({*model.api_config.get("learned_rejects", ()), texts.text(parameter, "parameter")})
            config = api_config({**model.api_config, "learned_rejects": learned})
            changed = replace(model, api_config=config)
            return model if changed == model else edit.put_model(changed, "learn_rejected")

    # --- published prices ---

    def check_prices(
        self, *, fresh: bool | str = False, retirements: str | os.PathLike[str] | None = None
    ) -> pd.DataFrame:
        """Compare the catalog with the price data of the installed genai-prices, and with the model lists of the
        providers whose key is set. Changes nothing except the recorded day of the last comparison.

        One row per difference: ``model``, ``what`` (a price field, ``retires_on``, ``new model``,
        ``missing upstream``), ``ours``, ``theirs``, ``valid_from`` (the day of an announced price), ``source``,
        ``date`` (when it was read). Prices are US dollars per million tokens.

        ``fresh=True`` downloads the latest data of genai-prices first, with its own updater; a URL downloads from
        there. Retirement dates also come from litellm's price map, if litellm is installed or ``retirements`` is the
        path or URL of the map's JSON file.

        Raises:
            ValidationError: genai-prices is not installed, or there is no such map.
            RequestFailed: the latest data cannot be downloaded.
        """
        state = self.state()
        names = [name for name, provider in state.providers.items() if self.is_available(provider)]
        upstream, theirs, now = read_price_list(fresh), read_retirements(retirements), self._clock()
        differences = price_checks.check(state, upstream, theirs, names, self._list_models, now)
        day = now.date().isoformat()
        if state.settings.get(price_age.CHECKED) != day and not self._store.is_read_only:
            with self._store.edit(actor="system") as edit:
                edit.put_setting(price_age.CHECKED, day, "check_prices")
        return differences

    def apply_prices(self, rows: pd.DataFrame) -> tuple[str, ...]:
        """Apply differences found by :meth:`check_prices`: all of its rows, or a selection.

        Prices become dated entries of the history, effective now or on the announced day. New models are added. It is
        one change, which :meth:`undo` reverts (unless it added a model). Returns the references of changed models,
        including those with announced prices; ``missing upstream`` rows are ignored.

        Raises:
            ValidationError: rows that did not come from ``check_prices``.
        """
        if not isinstance(rows, pd.DataFrame):
            raise ValidationError("rows is the DataFrame of check_prices(), or a part of it.", field="rows")
        records = [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]
        with self._edit() as edit:
            return price_checks.accept(edit, records, self._clock())

    # --- budgets and settings ---

    def set_budget(self, scope: str, amount: Any, *, provider: str | None = None, alert_at: Any = 0.8) -> None:
        """See :meth:`llmkit.Kit.set_budget`."""
        with self._edit() as edit:
            budget_settings.set_budget(edit, scope, amount, provider, alert_at)

    def set_setting(self, key: str, value: Any) -> None:
        """Set a JSON-serialisable value; ``None`` clears it. ``infra_model_...`` takes references of active models.

        Raises:
            ModelDeprecated: the model for an internal task is deprecated.
        """
        if not isinstance(key, str) or not key.isidentifier() or key.startswith("_") or len(key) > 100:
            raise ValidationError("A setting's key is a word such as 'my_setting'.", field="key")
        if key == budget_settings.KEY:
            raise ValidationError("Budgets are set with kit.set_budget('2026-12', 200).", field="key")
        kept = texts.json_value(value, "value")
        purpose = purpose_name(key)
        if purpose is not None:
            rules.find_purpose(purpose)
        with self._edit() as edit:
            if purpose is not None and kept is not None:
                kept = _active(rules.find_model(edit.state, kept)).reference
            if edit.state.settings.get(key) != kept:
                edit.put_setting(key, kept)

    def set_infra_model(self, purpose: str, ref: str) -> Model:
        """Choose the model for an internal task: ``scenario_expansion``, ``summarization`` or ``judge``.

        Raises:
            ModelDeprecated: the model is deprecated.
        """
        key = rules.find_purpose(purpose).key
        model = self.model(ref)
        self.set_setting(key, model.reference)
        return model

    # --- undo ---

    def undo(self) -> tuple[str, ...]:
        """Revert the last user change that is not reverted yet; returns the references concerned.

        Undoing is itself a change in the history. Calling again reverts the change before. What was added is deleted.

        Raises:
            ValidationError: there is nothing to undo, or runs refer to what was added.
            EditConflict: an entry was changed again since.
        """
        events = self._last_edit()
        with self._edit() as edit:
            return undo.take_back(edit, events, self._clock())

    def last_change(self) -> str:
        """Describe what :meth:`undo` would revert: each entry with its values before and after.

        Raises:
            ValidationError: as in :meth:`undo`.
        """
        return undo.in_words(self._last_edit())

    def _last_edit(self) -> Sequence[Event]:
        events = undo.last_edit(self._store.catalog_events())
        for event in filter(undo.is_addition, events):
            remedy = "deprecate it" if event["entity"] == "model" else "disable it"
            self._check_unasked(event["reference"], f"Adding {event['reference']} cannot be undone", remedy)
        return events


def _apply_standing(edit: Edit, model: Model, status: str | None, is_default: bool | None) -> Model:
    """Apply a status and a default flag to a model; ``None`` leaves either unchanged."""
    if status is not None:
        model = _reactivate(edit, model) if status == "ACTIVE" else _deprecate(edit, model).model
    if is_default:
        return _make_default(edit, model).model
    if is_default is False and model.is_default:
        return edit.put_model(replace(model, is_default=False), "set_default_model")
    return model


def _deprecate(edit: Edit, model: Model) -> Deprecation:
    used_for = rules.purposes_of(edit.state, model.reference)
    if not model.is_active:
        return Deprecation(model, None, used_for)
    heir = rules.successor(edit.state, model) if model.is_default else None
    deprecated = edit.put_model(replace(model, status="DEPRECATED", is_default=False), "deprecate_model")
    promoted = edit.put_model(replace(heir, is_default=True), "set_default_model") if heir else None
    result = Deprecation(deprecated, promoted, used_for)
    if promoted and rules.is_much_dearer(model, promoted):
        warn(f"{result} Choose another with set_default_model().")
    return result


def _reactivate(edit: Edit, model: Model) -> Model:
    return model if model.is_active else edit.put_model(replace(model, status="ACTIVE"), "reactivate_model")


def _make_default(edit: Edit, model: Model) -> DefaultChange:
    previous = rules.default_of(edit.state, _active(model).provider)
    if previous is not None and previous.reference == model.reference:
        return DefaultChange(model, previous)
    if previous is not None:
        edit.put_model(replace(previous, is_default=False), "set_default_model")
    return DefaultChange(edit.put_model(replace(model, is_default=True), "set_default_model"), previous)


def _active(model: Model) -> Model:
    if not model.is_active:
        raise ModelDeprecated(f"{model.reference} is deprecated. Call reactivate_model({model.reference!r}) first.")
    return model
