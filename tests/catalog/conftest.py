"""A catalog of two small providers, cheap to make; the shipped one where a test is about it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from llmkit.catalog import Catalog, load_seed, seed_catalog
from llmkit.providers.credentials import Credentials
from llmkit.records import DatedPrice, Model, Price, Provider, split_reference
from llmkit.store import Store

PRICES = (("1.5", "6"), ("0", "0"))


@dataclass
class Bench:
    """A catalog with what stands around it: keys that are set, approvals, a clock to move."""

    store: Store
    keys: set[str] = field(default_factory=set)
    credentials: Credentials = field(default_factory=Credentials)
    now: datetime = datetime(2026, 11, 24, 12, tzinfo=UTC)

    @property
    def catalog(self) -> Catalog:
        """The catalog over the store."""
        return Catalog(
            self.store,
            self.credentials,
            has_key=lambda provider: provider.api_key_env in self.keys,
            clock=self.tick,
        )

    def tick(self) -> datetime:
        """A clock that never stands still, so that two edits are never at the same time."""
        self.now += timedelta(microseconds=1)
        return self.now


@pytest.fixture(scope="session")
def two_providers(tmp_path_factory) -> Path:
    """A folder with the catalog of ``bench``, made once and copied for each test."""
    store = Store(tmp_path_factory.mktemp("two") / "catalog.duckdb")
    cheap, free = (Price(cost_input_per_million=Decimal(i), cost_output_per_million=Decimal(o)) for i, o in PRICES)
    with store.edit(actor="seed") as edit:
        for name, url, key in (
            ("alpha", "https://alpha.example/v1", "ALPHA_KEY"),
            ("local", "http://localhost:11434/v1", None),
        ):
            provider = Provider(name=name, display_name=name, wire="openai_chat", base_url=url, api_key_env=key)
            edit.put_provider(provider, "seed")
        for ref, price in (
            ("alpha:one", cheap),
            ("alpha:two", cheap),
            ("alpha:three", cheap),
            ("local:llama3:8b", free),
        ):
            name, model_id = split_reference(ref)
            model = Model(provider=name, model_id=model_id, display_name=model_id, price=price)
            edit.put_model(replace(model, is_default=ref == "alpha:one"), "seed")
            edit.add_price(DatedPrice(reference=ref, valid_from=None, price=price), "seed")
    store.close()
    return store.path.parent


@pytest.fixture
def bench(two_providers, copy_catalog, tmp_path) -> Iterator[Bench]:
    """Two providers: ``alpha`` with a key variable and three models, the first its default; ``local`` without a key."""
    copy_catalog(two_providers, tmp_path)
    bench = Bench(Store(tmp_path / "catalog.duckdb"))
    bench.credentials.approve_origin("alpha", "https://alpha.example", "ALPHA_KEY")
    yield bench
    bench.store.close()


@pytest.fixture
def catalog(bench) -> Catalog:
    """The catalog of ``bench``."""
    return bench.catalog


@pytest.fixture(scope="session")
def seeded(tmp_path_factory) -> Path:
    """A folder with the shipped catalog, made once and copied for each test."""
    store = Store(tmp_path_factory.mktemp("seeded") / "shipped.duckdb")
    seed_catalog(store, load_seed(), now=Bench.now)
    store.close()
    return store.path.parent


@pytest.fixture
def shipped(seeded, copy_catalog, tmp_path) -> Iterator[Bench]:
    """The shipped catalog."""
    copy_catalog(seeded, tmp_path)
    bench = Bench(Store(tmp_path / "shipped.duckdb"))
    yield bench
    bench.store.close()


@pytest.fixture
def n_events(bench) -> Callable[[], int]:
    """How many events the catalog has."""
    return lambda: len(bench.catalog.history())
