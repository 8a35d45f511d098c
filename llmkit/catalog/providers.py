"""Edit providers: add and delete them, change limits and addresses, and track their balances."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from llmkit.catalog import changes, rules
from llmkit.catalog.lookup import CatalogReader
from llmkit.catalog.price_checks import ListModels
from llmkit.catalog.purposes import PURPOSES
from llmkit.errors import OriginNotApproved, ValidationError
from llmkit.providers.credentials import how_to_approve, names_api_key
from llmkit.records import EXACT, Model, Provider, dialect_at
from llmkit.records.checks import addresses, numbers, texts
from llmkit.records.user_warnings import warn
from llmkit.store import CatalogState, Edit, Store, queries


class ProviderEdits(CatalogReader):
    """The part of the catalog that edits providers.

    ``approve_origin`` and ``origin_allowed`` take a provider's name, an origin such as ``https://openrouter.ai``, and
    the variable of its key; ``list_models`` asks providers for their lists of models; ``actor`` is recorded with
    changes.
    """

    def __init__(
        self,
        store: Store,
        *,
        has_key: Callable[[Provider], bool],
        approve_origin: Callable[[str, str, str | None], None],
        origin_allowed: Callable[[str, str, str | None], bool],
        list_models: ListModels = lambda names: {},
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        actor: str = "user",
        card: Callable[[], dict[str, str]] = dict,
    ) -> None:
        self._store, self._has_key, self._clock = store, has_key, clock
        self._actor = actor
        self._list_models = list_models
        self._approve_origin = approve_origin
        self._origin_allowed = origin_allowed
        self._card = card
        self._listeners: set[Callable[[], object]] = set()

    def listen(self, listener: Callable[[], object]) -> None:
        """Call ``listener`` after each edit made with this catalog, on the thread that made it."""
        self._listeners.add(listener)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return self._card()

    def apply_due_prices(self) -> list[Model]:
        """Write announced prices that are now in force to the table, as the actor ``system``; return those models.

        Reads do not depend on it: they always use the prices in force.
        """
        if not rules.due(self._store.catalog(), self._clock()):
            return []
        with self._store.edit(actor="system") as edit:
            return [edit.put_model(model, "apply_due_price") for model in rules.due(edit.state, self._clock())]

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
            elif provider.api_key_env and not self._is_approved(provider):
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
            _drop(edit, entry)
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
        return self._origin_allowed(*_approval_key(provider))

    def _approve(self, provider: Provider) -> None:
        if not self._is_approved(provider):
            self._approve_origin(*_approval_key(provider))

    def set_balance(self, provider: str, amount: Any) -> Provider:
        """Set what is left on a provider's account, in US dollars; ``None`` stops tracking it. Runs deduct from it."""
        value = None if amount is None else numbers.amount(amount, "amount")
        with self._edit() as edit:
            entry = rules.find_provider(edit.state, provider)
            if entry.balance != value:
                edit.set_balance(entry.name, value)
            return edit.state.providers[entry.name]

    def sync_balance(self, provider: str, real_balance: Any) -> Decimal | None:
        """Set the balance to the one shown by the provider, and log the difference.

        Returns the real balance minus ours (negative: more was spent than we knew); ``None`` when none was tracked.
        """
        value = numbers.amount(real_balance, "real_balance")
        with self._edit() as edit:
            entry = rules.find_provider(edit.state, provider)
            delta = None if entry.balance is None else EXACT.subtract(value, entry.balance)
            edit.record_sync(entry.name, entry.balance, value, delta)
            edit.set_balance(entry.name, value, "sync_balance")
            return delta


def _drop(edit: Edit, provider: Provider) -> None:
    """Delete a provider and its balance, unless one of its models was set for an internal task meanwhile."""
    _check_unneeded(edit.state, provider.name)
    if edit.state.providers[provider.name].balance is not None:
        edit.set_balance(provider.name, None)
    edit.drop_provider(provider.name, "delete_provider")


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


def _approval_key(provider: Provider) -> tuple[str, str, str | None]:
    """The provider, origin and key variable that an approval is for."""
    return provider.name, addresses.origin_of(provider.base_url), provider.api_key_env


def _sends_elsewhere(before: Provider, after: Provider) -> bool:
    """Whether the edit makes llmkit send another key, or the same key to another origin."""
    moved = addresses.origin_of(before.base_url) != addresses.origin_of(after.base_url)
    return after.api_key_env is not None and (moved or before.api_key_env != after.api_key_env)
