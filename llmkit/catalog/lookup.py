"""The catalog's read-only methods."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pandas as pd

from llmkit.catalog import frames, rules
from llmkit.catalog.obstacles import Access
from llmkit.catalog.price_age import old_prices
from llmkit.errors import ModelNotFound
from llmkit.records import Model, ModelStatus, Provider
from llmkit.records.checks import shapes, texts
from llmkit.store import CatalogState, Store


class CatalogReader:
    """The read-only part of the catalog. Every call reads the database, and so sees the changes of other kernels."""

    _store: Store
    _has_key: Callable[[Provider], bool]
    _clock: Callable[[], datetime]

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
        state = access.state
        name = None if provider is None else rules.find_provider(state, provider).name

        def available(model: Model) -> bool:
            return access.blocking(model) is None

        chosen = (
            model
            for model in state.models.values()
            if (name is None or model.provider == name)
            and (status is None or model.status == status)
            and (available(model) or not available_only)
        )
        return frames.models(state, chosen, available=available, at=self._clock())

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
        return old_prices(state, active, self._clock())

    def settings(self) -> pd.DataFrame:
        """One row per setting: ``key`` and ``value``; internal ones, which start with ``_``, are left out."""
        values = self._store.catalog().settings
        return frames.settings({key: value for key, value in values.items() if not key.startswith("_")})

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
        return rules.successor(state, rules.find_model(state, ref))

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
