"""Bringing a database up to the shipped catalog: once, again, and after users and llmkit changed it."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from types import MappingProxyType

import pytest

from llmkit.catalog import Catalog, load_seed, seed_catalog
from llmkit.providers.credentials import Credentials
from llmkit.records import DatedPrice, Price
from llmkit.store import Store

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LUNA, SOL = "openai:gpt-6-luna", "openai:gpt-6-sol"


@pytest.fixture
def store(tmp_path):
    """A seeded database."""
    store = Store(tmp_path / "catalog.duckdb")
    assert seed_catalog(store, load_seed(), now=NOW)
    return store


@pytest.fixture
def catalog(store):
    """Its catalog."""
    return Catalog(store, Credentials(), has_key=lambda provider: False)


def changed(reference, *, price=None, **columns):
    """A later release, in which one model has other values, and another price from today on."""
    seed = load_seed()
    models = {**seed.unpriced_models, reference: replace(seed.unpriced_models[reference], **columns)}
    prices = dict(seed.prices)
    if price is not None:
        entry = DatedPrice(
            reference=reference,
            valid_from=NOW,
            price=Price(cost_input_per_million=Decimal(price), cost_output_per_million=Decimal(price)),
            source="https://example.org/prices",
            read_on=date(2026, 11, 24),
        )
        prices[reference] = (*prices[reference], entry)
    fingerprint = repr((reference, price, columns))
    return replace(seed, unpriced_models=models, prices=prices, fingerprint=fingerprint)


def test_seeding_again_writes_nothing(store):
    """Opening a second time leaves the catalog, its history and every file as they are."""
    state = store.catalog()
    events = len(store.catalog_events())
    files = {path: path.stat().st_mtime_ns for path in store.path.parent.rglob("*") if path.suffix != ".lock"}
    assert not seed_catalog(store, load_seed())
    assert {path: path.stat().st_mtime_ns for path in store.path.parent.rglob("*") if path.suffix != ".lock"} == files
    assert store.catalog() == state
    assert len(store.catalog_events()) == events


def test_models_come_in_the_order_of_the_files(catalog):
    """The order in the catalog is the maintainers', and the default is not moved to the end."""
    assert catalog.models("openai")["model"].tolist() == [
        ref for ref in load_seed().prices if ref.startswith("openai:")
    ]


def test_a_new_release_updates_what_nobody_edited(store, catalog):
    """A corrected price and a retirement arrive with the next release, as events of the seed."""
    assert seed_catalog(store, changed(SOL, price="3", retires_on=date(2027, 6, 1)), now=NOW)
    model = catalog.model(SOL)
    assert model.cost_input_per_million == 3
    assert model.retires_on == date(2027, 6, 1)
    assert catalog.history(SOL).iloc[-1]["actor"] == "seed"
    assert not seed_catalog(store, changed(SOL, price="3", retires_on=date(2027, 6, 1)), now=NOW)


def test_a_price_that_a_user_set_stays(store, catalog):
    """A new release does not touch the user's price, now or later, but still updates the rest of the model."""
    catalog.update_model(SOL, cost_input_per_million="1.1")
    history = catalog.state().prices[SOL]
    seed_catalog(store, changed(SOL, price="3", max_output_tokens=5), now=NOW)
    model = catalog.model(SOL)
    assert model.cost_input_per_million == Decimal("1.1")
    assert model.max_output_tokens == 5
    assert catalog.state().prices[SOL] == history


def test_a_price_that_a_user_announced_stays(store, catalog):
    """An entry that the user dated ahead counts as an edit of the price, too."""
    catalog.update_model(SOL, cost_input_per_million="1.1", valid_from="2099-01-01")
    seed_catalog(store, changed(SOL, price="3"), now=NOW)
    assert catalog.model(SOL).cost_input_per_million == 2


def test_each_edited_field_stays_on_its_own(store, catalog):
    """A name and a limit that a user changed survive a release that changes everything."""
    catalog.update_model(SOL, display_name="My Sol")
    catalog.update_provider("openai", requests_per_minute=500)
    seed = changed(SOL, display_name="GPT-6 Sol (new)", context_window=7)
    openai = replace(seed.providers["openai"], requests_per_minute=100, max_parallel_requests=9)
    seed_catalog(store, replace(seed, fingerprint="later", providers={**seed.providers, "openai": openai}), now=NOW)
    model, provider = catalog.model(SOL), catalog.provider("openai")
    assert (model.display_name, model.context_window) == ("My Sol", 7)
    assert (provider.requests_per_minute, provider.max_parallel_requests) == (500, 9)


def test_a_default_that_a_user_chose_stays_and_else_follows_the_release(store, catalog):
    """The shipped default moves with a release, unless somebody chose one; it never gives a provider two."""
    catalog.set_default_model("mistral:mistral-large-2512")
    seed = load_seed()
    models = dict(seed.unpriced_models)
    for old, new in ((LUNA, SOL), ("mistral:mistral-small-2603", "mistral:codestral")):
        models[old], models[new] = replace(models[old], is_default=False), replace(models[new], is_default=True)
    seed_catalog(store, replace(seed, fingerprint="later", unpriced_models=models), now=NOW)
    defaults = {name: model.reference for name, model in catalog.defaults().items()}
    assert (defaults["openai"], defaults["mistral"]) == (SOL, "mistral:mistral-large-2512")
    assert catalog.models()["is_default"].sum() == len(seed.providers)


def test_a_chosen_default_that_a_release_deprecates_gives_way(store, catalog):
    """When the user's default is deprecated upstream, the shipped default takes over."""
    catalog.set_default_model(SOL)
    seed_catalog(store, changed(SOL, status="DEPRECATED"), now=NOW)
    assert catalog.defaults()["openai"].reference == LUNA
    assert catalog.model(SOL).status == "DEPRECATED"


def test_a_model_that_a_user_reactivated_stays_active(store, catalog):
    """Status is a field like any other: a user's choice wins."""
    catalog.reactivate_model("openai:gpt-4.1")
    seed_catalog(store, changed("openai:gpt-4.1", display_name="GPT-4.1!"), now=NOW)
    model = catalog.model("openai:gpt-4.1")
    assert (model.status, model.display_name) == ("ACTIVE", "GPT-4.1!")


def test_a_users_own_model_that_is_shipped_later_keeps_what_the_user_said(store, catalog):
    """What the user left open is filled in by the release; what was said stays."""
    catalog.add_model("xai:grok-5", cost_input_per_million=1, cost_output_per_million=2)
    seed = load_seed()
    model = replace(
        seed.unpriced_models["xai:grok-4.7"], model_id="grok-5", display_name="Grok 5", context_window=2_000_000
    )
    entry = replace(seed.prices["xai:grok-4.7"][0], reference="xai:grok-5")
    later = replace(
        seed,
        fingerprint="later",
        unpriced_models={**seed.unpriced_models, "xai:grok-5": model},
        prices={**seed.prices, "xai:grok-5": (entry,)},
    )
    seed_catalog(store, later, now=NOW)
    known = catalog.model("xai:grok-5")
    assert (known.cost_input_per_million, known.context_window) == (1, 2_000_000)
    assert known.price_tiers == ()


def test_infra_models_follow_the_release_until_a_user_chooses(store, catalog):
    """A setting that a user made is never overwritten."""
    catalog.set_infra_model("summarization", SOL)
    seed = load_seed()
    settings = dict.fromkeys(seed.settings, "mistral:mistral-small-2603")
    seed_catalog(store, replace(seed, fingerprint="later", settings=settings), now=NOW)
    assert catalog.infra_model("summarization").reference == SOL
    assert catalog.infra_model("scenario_expansion").reference == "mistral:mistral-small-2603"


def test_what_an_api_taught_survives_a_release(store, catalog):
    """A learnt rejection is kept while the rest of the model's api_config is renewed."""
    catalog.learn_rejected(SOL, "seed")
    seed_catalog(store, changed(SOL, api_config=MappingProxyType({"sampling": False})), now=NOW)
    assert catalog.model(SOL).api_config == {"sampling": False, "learned_rejects": ["seed"]}


def test_nothing_is_taken_away(store, catalog):
    """Models that are shipped no more, and those of users, stay."""
    catalog.add_provider("local", base_url="http://localhost:11434/v1")
    catalog.add_model("local:llama", cost_input_per_million=0, cost_output_per_million=0)
    seed = load_seed()
    fewer = {ref: model for ref, model in seed.unpriced_models.items() if ref != SOL}
    prices = {ref: entries for ref, entries in seed.prices.items() if ref != SOL}
    seed_catalog(store, replace(seed, fingerprint="later", unpriced_models=fewer, prices=prices), now=NOW)
    assert {SOL, "local:llama"} <= set(catalog.models()["model"])


def test_balances_survive_a_release(store, catalog):
    """What is on account has nothing to do with what is shipped."""
    catalog.set_balance("openai", 25)
    seed = load_seed()
    openai = replace(seed.providers["openai"], display_name="OpenAI!")
    seed_catalog(store, replace(seed, fingerprint="later", providers={**seed.providers, "openai": openai}), now=NOW)
    assert (catalog.provider("openai").balance, catalog.provider("openai").display_name) == (25, "OpenAI!")
