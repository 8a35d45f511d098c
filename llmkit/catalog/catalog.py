"""``kit.catalog``: the catalog's public API on one page. Its rules are in :mod:`llmkit.catalog.rules`.

A change is checked before anything is written, is atomic, and records an event with the values before and after. Edits
of several threads, kernels and scripts are serialised; none is lost.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pandas as pd

from llmkit.catalog import budget_settings, changes, frames, lifecycle, price_checks, rules, undo
from llmkit.catalog.lifecycle import DefaultChange, Deprecation
from llmkit.catalog.obstacles import Access
from llmkit.catalog.price_checks import ListModels
from llmkit.catalog.purposes import PURPOSES, purpose_name
from llmkit.catalog.undo import Event
from llmkit.errors import ModelNotFound, OriginNotApproved, ValidationError
from llmkit.money.retirements import read_retirements
from llmkit.money.upstream_prices import read_price_list
from llmkit.providers.credentials import Credentials, how_to_approve, names_api_key
from llmkit.records import BUDGETS, EXACT, Model, ModelStatus, Provider, columns, dialect_at, month_of
from llmkit.records.checks import addresses, numbers, shapes, texts
from llmkit.records.checks.api_config import api_config
from llmkit.records.user_warnings import warn
from llmkit.store import CatalogState, Edit, Store, queries


class Catalog:
    """Providers, models, prices and settings of one database. Every call reads the database, and so sees the changes of
    other kernels.

    Every method that changes something raises, in addition to its own errors, ``CatalogBusy`` when another program
    holds the database open, ``ValidationError`` (with ``field``) for an invalid value or argument, ``ModelNotFound``
    and ``UnsupportedProvider`` for names that are not in the catalog.

    ``credentials`` know where keys may be sent; ``list_models`` asks providers for their lists of models; ``actor`` is
    recorded with changes.
    """

    def __init__(
        self,
        store: Store,
        credentials: Credentials,
        *,
        has_key: Callable[[Provider], bool],
        list_models: ListModels = lambda names: {},
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        actor: str = "user",
        card: Callable[[], dict[str, str]] = dict,
    ) -> None:
        self._store, self._credentials, self._has_key, self._clock = store, credentials, has_key, clock
        self._actor = actor
        self._list_models = list_models
        self._card = card
        self._listeners: set[Callable[[], object]] = set()

    def listen(self, listener: Callable[[], object]) -> None:
        """Call ``listener`` after each edit made with this catalog, on the thread that made it."""
        self._listeners.add(listener)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return self._card()

    # --- reading ---

    def state(self) -> CatalogState:
        """A consistent snapshot of the whole catalog as records, with every model at its current price."""
        return rules.in_force(self._store.catalog(), self._clock())

    def access(self) -> Access:
        """The same, as it can be used with the keys that are set."""
        state = self.state()
        keys = {each.name: self.has_key(each) for each in state.providers.values()}
        return Access(state, lambda provider: keys[provider.name], self._clock().date())

    def providers(self) -> pd.DataFrame:
        """One row per provider: the table's columns, and ``is_available``, ``key_status``, ``default_model`` (a
        reference), ``n_active_models``. Money is float64 US dollars; ``key_status`` is ``set``, ``missing`` or
        ``not needed``.
        """
        return frames.providers(self.state(), available=self.is_available, key_status=self.key_status)

    def models(
        self, provider: str | None = None, status: str | None = None, available_only: bool = False
    ) -> pd.DataFrame:
        """One row per model, by provider, then in the order in which they were added.

        The table's columns, and ``model`` (the reference), ``provider``, ``is_available`` (active, and the provider is
        available). Prices are float64 US dollars per million tokens, missing where unknown; ``price_tiers``,
        ``price_windows`` and ``price_variants`` are lists of dicts, or ``None``. ``price_source`` and ``price_read_on``
        say where and when the price in force was read.

        Raises:
            UnsupportedProvider: there is no such provider.
            ValidationError: ``status`` is neither ``ACTIVE`` nor ``DEPRECATED``.
        """
        if status is not None:
            shapes.one_of(status, ModelStatus, "status")
        texts.flag(available_only, "available_only")
        access = self.access()
        name = None if provider is None else rules.find_provider(access.state, provider).name
        frame = frames.models(access, rules.moment(access.state, self._clock()))
        for column, wanted in (("provider", name), ("status", status), ("is_available", available_only or None)):
            if wanted is not None:
                frame = frame[frame[column] == wanted]
        return frame.reset_index(drop=True)

    def provider(self, name: str) -> Provider:
        """One provider.

        Raises:
            UnsupportedProvider: there is no such provider; the message suggests the nearest names.
        """
        return rules.find_provider(self.state(), name)

    def model(self, ref: str) -> Model:
        """One model, at its current price; an unlisted dated snapshot is treated like its family.

        Raises:
            ModelNotFound: there is no such model; the message suggests the nearest, at any provider.
            UnsupportedProvider: there is no such provider.
        """
        return rules.askable_model(self.state(), ref)

    def defaults(self) -> dict[str, Model]:
        """The default model of every enabled provider that has one, by provider name, with or without a key."""
        state = self.state()
        return {
            model.provider: model
            for model in state.models.values()
            if model.is_default and state.providers[model.provider].is_enabled
        }

    def is_available(self, provider: Provider) -> bool:
        """Whether requests can be sent to it: it is enabled, and its key is set or not needed."""
        return provider.is_enabled and self.has_key(provider)

    def has_key(self, provider: Provider) -> bool:
        """Whether the provider's key is set or not needed."""
        return provider.api_key_env is None or self._has_key(provider)

    def key_status(self, provider: Provider) -> str:
        """``set``, ``missing``, or ``not needed``; never the key."""
        if provider.api_key_env is None:
            return "not needed"
        return "set" if self._has_key(provider) else "missing"

    def old_prices(self) -> str:
        """A warning if prices of active models were read too long ago; else an empty text."""
        state = self.state()
        active = (reference for reference, model in state.models.items() if model.is_active)
        return price_checks.old_prices(state, active, self._clock())

    def settings(self) -> pd.DataFrame:
        """One row per setting: ``key`` and ``value``; internal ones, which start with ``_``, are left out."""
        values = self._store.catalog().settings
        shown = {key: value for key, value in values.items() if not key.startswith("_") and value is not None}
        return frames.settings(shown)

    def get_setting(self, key: str) -> Any:
        """A setting's value; ``None`` when it is not set.

        Raises:
            ValidationError: the key is not a text.
        """
        return self._store.catalog().settings.get(shapes.string(key, "key"))

    def heir(self, ref: str) -> Model | None:
        """The model that becomes its provider's default if this one is deprecated; ``None`` when no other is active.

        Raises:
            ModelNotFound: there is no such model.
        """
        state = self.state()
        return lifecycle.successor(state, rules.find_model(state, ref), self._clock().date())

    def infra_model(self, purpose: str) -> Model:
        """The model for an internal task: ``scenario_expansion``, ``summarization`` or ``judge``.

        If none is set for ``judge``, the one for ``summarization`` is used.

        Raises:
            ValidationError: there is no such purpose.
            ModelNotFound: no model is set for it, or the one set is not in the catalog any more.
        """
        state = self.state()
        reference = rules.infra_reference(state, purpose)
        if reference is None:
            raise ModelNotFound(
                f"No model is set for {purpose}. Choose one: set_infra_model({purpose!r}, 'openai:gpt-6-luna')."
            )
        return rules.find_model(state, reference)

    def history(self, ref: str | None = None) -> pd.DataFrame:
        """Every change, oldest first: ``at`` (UTC), ``actor``, ``action``, ``entity``, ``reference``, ``before``,
        ``after`` (dicts), and the ids of the event and of the edit that it belongs to.

        ``ref`` is a model's reference, a provider's name or a setting's key; ``None`` means everything.

        Raises:
            ModelNotFound: there is no such model.
            UnsupportedProvider: there is no such provider or setting.
            ValidationError: ``ref`` is none of these.
        """
        return self._store.catalog_events(None if ref is None else self._named(ref))

    def _named(self, ref: str | Model | Provider) -> str:
        state = self._store.catalog()
        if isinstance(ref, Provider):
            return rules.find_provider(state, ref).name
        if isinstance(ref, Model) or ":" in shapes.string(ref, "ref"):
            return rules.find_model(state, ref).reference
        return ref if ref in state.settings else rules.find_provider(state, ref).name

    # --- providers ---

    def add_provider(
        self,
        name: str,
        *,
        display_name: str | None = None,
        wire: str = "openai_chat",
        dialect: str | None = None,
        base_url: str,
        api_key_env: str | None = None,
        approve_origin: bool = False,
        **limits: Any,
    ) -> Provider:
        """Add an endpoint: Ollama, vLLM, LM Studio, OpenRouter, anything that speaks one of the wires.

        ``/chat/completions`` is appended to ``base_url``. ``api_key_env`` names the environment variable of its key,
        ``None`` when it needs none. ``dialect`` is how it departs from OpenAI's formats, such as ``openrouter``;
        ``None``: guessed from the address. ``limits``: ``max_parallel_requests`` (1), ``requests_per_minute`` (60),
        ``tokens_per_minute``, ``is_enabled``, ``default_cost_input_per_million``, ``default_cost_output_per_million``.

        A server without a key may use plain http on a private network, since there is no key to protect. A key is never
        sent to an address that this user did not approve: without ``approve_origin=True`` a provider with a key on
        another machine is added with a warning, and requests to it fail until the address is approved.

        Raises:
            OriginNotApproved: a key would be sent unencrypted, over http to another machine, without approval.
        """
        shown = texts.provider_name(name) if display_name is None else display_name
        address = {"wire": wire, "dialect": dialect, "base_url": base_url, "api_key_env": api_key_env}
        values = changes.provider_changes({"display_name": shown, **address, **limits})
        if dialect is None:
            values["dialect"] = dialect_at(values["base_url"])
        provider = Provider(name=texts.provider_name(name), **values)
        texts.flag(approve_origin, "approve_origin")
        with self._edit() as edit:
            if name in edit.state.providers:
                raise ValidationError(
                    f"There is a provider {name!r} already; update_provider() changes it.", field="name"
                )
            if approve_origin or _is_own(provider):
                self._approve(provider)
            elif not self._is_approved(provider):
                if addresses.is_open(provider.base_url):
                    raise OriginNotApproved(how_to_approve(provider), field="base_url")
                warn(how_to_approve(provider))
            return edit.put_provider(provider, "add_provider")

    def update_provider(
        self, name: str, *, approve_origin: bool = False, expected_updated_at: Any = None, **values: Any
    ) -> Provider:
        """Change a provider: its limits, ``is_enabled``, ``base_url``, ``display_name``, default costs, ``wire``,
        ``dialect``, ``api_key_env``. A limit of 0 becomes 1, with a warning. Current runs use new limits at once. A new
        address also sets its known dialect, unless ``dialect`` is given.

        ``approve_origin=True`` approves, on this machine, that the provider's key is sent to the (new) address.

        Raises:
            OriginNotApproved: a key would be sent to an unapproved origin on another machine.
            EditConflict: the provider was changed after ``expected_updated_at`` (its ``updated_at`` when you read it).
        """
        values = changes.provider_changes(values)
        texts.flag(approve_origin, "approve_origin")
        with self._edit() as edit:
            before = rules.find_provider(edit.state, name)
            changes.unchanged_since(before, expected_updated_at, before.name)
            dialect = dialect_at(values.get("base_url", ""))
            if dialect and dialect != dialect_at(before.base_url):
                values = {"dialect": dialect, **values}
            after = replace(before, **values)
            is_new = _sends_elsewhere(before, after)
            if approve_origin or (is_new and _is_own(after)):
                self._approve(after)
            elif is_new and not self._is_approved(after):
                raise OriginNotApproved(how_to_approve(after), field="base_url")
            return after if after == before else edit.put_provider(after, "update_provider")

    def delete_provider(self, name: str) -> Provider:
        """Delete a provider that a user added and no run has used, with its models. Returns the deleted record;
        :meth:`undo` restores everything.

        Raises:
            ValidationError: it came with llmkit, a run refers to it, or one of its models is set for an internal task.
        """
        entry = self.check_deletable(name)
        with self._edit() as edit:
            _check_unneeded(edit.state, entry.name)  # again: it may have been set meanwhile
            if edit.state.providers[entry.name].balance is not None:
                edit.set_balance(entry.name, None)
            edit.drop_provider(entry.name, "delete_provider")
        return entry

    def check_deletable(self, name: str) -> Provider:
        """Raise the error with which :meth:`delete_provider` would refuse; else return the provider."""
        entry = self.provider(name)
        if self._store.catalog_events(name).iloc[0]["actor"] == "seed":
            raise ValidationError(f"{name} comes with llmkit: disable it instead.", field="name")
        self._check_unasked(name, f"{name} cannot be deleted", "disable it instead")
        _check_unneeded(self.state(), name)
        return entry

    def _check_unasked(self, reference: str, what: str, remedy: str) -> None:
        if self._store.read(lambda connection: queries.has_asked(connection, reference)):
            raise ValidationError(f"{what}, as runs refer to it: {remedy}.", field="name")

    def _is_approved(self, provider: Provider) -> bool:
        key = provider.api_key_env
        return key is None or self._credentials.origin_allowed(provider.name, provider.base_url, key)

    def _approve(self, provider: Provider) -> None:
        if provider.api_key_env is not None and not self._is_approved(provider):
            self._credentials.approve_origin(provider.name, provider.base_url, provider.api_key_env)

    def set_balance(self, provider: str, amount: Any) -> Provider:
        """Set what is left on a provider's account, in US dollars; ``None`` stops tracking it. Runs deduct from it."""
        value = None if amount is None else numbers.amount(amount, "amount", exact=True)
        with self._edit() as edit:
            entry = rules.find_provider(edit.state, provider)
            if entry.balance != value:
                edit.set_balance(entry.name, value)
            return edit.state.providers[entry.name]

    def sync_balance(self, provider: str, real_balance: Any) -> Decimal | None:
        """Set the balance to the one shown by the provider, and log the difference.

        Returns the real balance minus ours (negative: more was spent than we knew); ``None`` when none was tracked.
        """
        value = numbers.amount(real_balance, "real_balance", exact=True)
        with self._edit() as edit:
            entry = rules.find_provider(edit.state, provider)
            delta = None if entry.balance is None else EXACT.subtract(value, entry.balance)
            edit.record_sync(entry.name, entry.balance, value, delta)
            edit.set_balance(entry.name, value, "sync_balance")
            return delta

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
            model, now = changes.new_model(edit.state, ref), rules.moment(edit.state, self._clock())
            if model.reference in edit.state.models:
                raise ValidationError(f"There is a model {ref!r} already; update_model() changes it.", field="ref")
            model = changes.updated(edit, model, new, source=source, valid_from=valid_from, now=now)
            model = edit.put_model(model, "add_model")
            return lifecycle.make_default(edit, model).model if set_as_default else model

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
        if status is not None:
            shapes.one_of(status, ModelStatus, "status")
        if is_default is not None:
            texts.flag(is_default, "is_default")
        with self._edit() as edit:
            # the time inside the edit: what another kernel wrote while this one waited must be earlier
            now = rules.moment(edit.state, self._clock())
            before = rules.find_model(edit.state, ref)
            changes.unchanged_since(before, expected_updated_at, before.reference)
            after = changes.updated(edit, before, new, source=source, valid_from=valid_from, now=now)
            if after != before:
                after = edit.put_model(after, "update_model")
            return lifecycle.apply_standing(edit, after, status, is_default, now.date())

    def deprecate_model(self, ref: str) -> Deprecation:
        """Remove a model from new runs; its history stays. A default is succeeded by an active model of its provider:
        one of its family at half to twice the price, else the nearest in price. If it is more than twice as dear, a
        warning gives both prices. A model that is deprecated already is left unchanged.
        """
        with self._edit() as edit:
            return lifecycle.deprecate(edit, rules.find_model(edit.state, ref), self._clock().date())

    def reactivate_model(self, ref: str) -> Model:
        """Allow a deprecated model in new runs again. It does not become the default."""
        with self._edit() as edit:
            return lifecycle.reactivate(edit, rules.find_model(edit.state, ref))

    def set_default_model(self, ref: str) -> DefaultChange:
        """Make a model its provider's default, which new runs pre-select.

        Raises:
            ModelDeprecated: the model is deprecated.
        """
        with self._edit() as edit:
            return lifecycle.make_default(edit, rules.find_model(edit.state, ref))

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
        providers whose key is set. Changes nothing; with ``fresh`` the day is recorded, which ends the warning of old
        prices (how old the installed data are is not known).

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
        if fresh and state.settings.get(price_checks.CHECKED) != day and not self._store.is_read_only:
            with self._store.edit(actor="system") as edit:
                edit.put_setting(price_checks.CHECKED, day, "check_prices")
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
        with self._edit() as edit:
            return price_checks.accept(edit, columns.rows(rows), rules.moment(edit.state, self._clock()))

    # --- budgets and settings ---

    def set_budget(self, scope: str, amount: Any, *, provider: str | None = None, alert_at: Any = 0.8) -> None:
        """See :meth:`llmkit.Kit.set_budget`."""
        with self._edit() as edit:
            budget_settings.set_budget(edit, scope, amount, provider, alert_at, month_of(self._clock()))

    def set_setting(self, key: str, value: Any) -> None:
        """Set a JSON-serialisable value; ``None`` clears it. ``infra_model_...`` takes references of active models.

        Raises:
            ModelDeprecated: the model for an internal task is deprecated.
        """
        if not isinstance(key, str) or not key.isidentifier() or key.startswith("_") or len(key) > 100:
            raise ValidationError("A setting's key is a word such as 'my_setting'.", field="key")
        if key == BUDGETS:
            raise ValidationError("Budgets are set with kit.set_budget('2026-12', 200).", field="key")
        kept = texts.json_value(value, "value")
        purpose = purpose_name(key)
        if purpose is not None:
            rules.find_purpose(purpose)
        with self._edit() as edit:
            if purpose is not None and kept is not None:
                kept = lifecycle.active(rules.find_model(edit.state, kept)).reference
            if repr(edit.state.settings.get(key)) != repr(kept):  # to ==, False is 0, and 1.0 is 1
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
        while True:
            events = self._last_edit()
            with self._edit() as edit:
                if undo.last_edit(edit.history())[0]["edit_id"] == events[0]["edit_id"]:  # no one was faster
                    return undo.take_back(edit, events, rules.moment(edit.state, self._clock()))

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

    @contextlib.contextmanager
    def _edit(self) -> Iterator[Edit]:
        """An edit that starts from the prices in force: due announced prices are written first, as a separate edit."""
        while True:
            with self._store.edit(self._actor) as edit:
                is_current = not rules.due(edit.state, self._clock())
                if is_current:
                    yield edit
            if is_current:
                break
            self.apply_due_prices()
        for listener in tuple(self._listeners):
            listener()

    def apply_due_prices(self) -> list[Model]:
        """Write announced prices that are now in force to the table, as the actor ``system``; return those models.

        Reads do not depend on it: they always use the prices in force.
        """
        if not rules.due(self._store.catalog(), self._clock()):
            return []
        with self._store.edit(actor="system") as edit:
            return [edit.put_model(model, "apply_due_price") for model in rules.due(edit.state, self._clock())]


def _check_unneeded(state: CatalogState, name: str) -> None:
    """Refuse if one of a provider's models is set for an internal task."""
    for purpose, each in PURPOSES.items():
        if str(state.settings.get(each.key)).startswith(f"{name}:"):
            raise ValidationError(
                f"{name} has the model for {each.title.lower()}: choose another with "
                f"set_infra_model({purpose!r}, ...) first.",
                field="name",
            )


def _is_own(provider: Provider) -> bool:
    """Whether adding it implies approval: the address is on this machine, and the variable is named like an API key."""
    return addresses.is_loopback(provider.base_url) and names_api_key(provider.api_key_env or "")


def _sends_elsewhere(before: Provider, after: Provider) -> bool:
    """Whether the edit makes llmkit send another key, or the same key to another origin."""
    moved = addresses.origin_of(before.base_url) != addresses.origin_of(after.base_url)
    return after.api_key_env is not None and (moved or before.api_key_env != after.api_key_env)
