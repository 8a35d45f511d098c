"""The shipped catalog: what its files hold, and that the database shows exactly that."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from llmkit.catalog import Catalog, load_seed, sample_scenarios, seed_catalog
from llmkit.catalog.purposes import PURPOSES
from llmkit.money.pricing import rates_at
from llmkit.providers.credentials import Credentials
from llmkit.providers.wires.options import PARAMETERS
from llmkit.records import RATE_COLUMNS
from llmkit.records.checks import addresses
from llmkit.store import Store

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "data" / "catalog").glob("*.toml"))
LIMITS = {
    "openai": (5, 60),
    "anthropic": (3, 40),
    "google": (1, 10),
    "xai": (2, 30),
    "deepseek": (2, 30),
    "mistral": (2, 30),
}
KEYS = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "google": "GOOGLE_API_KEY",
    "xai": "XAI_API_KEY",
    "deepseek": "DEEPSEEK_API_KEY",
    "mistral": "MISTRAL_API_KEY",
}


@pytest.fixture(scope="module")
def seed():
    """The shipped catalog."""
    return load_seed()


@pytest.fixture(scope="module")
def catalog(seed, tmp_path_factory):
    """A database with the shipped catalog, read on the day on which its prices were."""
    store = Store(tmp_path_factory.mktemp("seed") / "catalog.duckdb")
    seed_catalog(store, seed)
    return Catalog(
        store,
        Credentials(),
        has_key=lambda provider: False,
        clock=lambda: datetime(2026, 11, 23, 12, tzinfo=UTC),
    )


def models_in_files():
    """Every model of every file as (reference, its table), with numbers as exact Decimals."""
    for file in FILES:
        content = tomllib.loads(file.read_text("utf-8"), parse_float=Decimal)
        for row in content.get("models", ()):
            yield f"{content['provider']['name']}:{row['model_id']}", row


def price_on_reading_day(row):
    """The last price of a model's table that had begun when the prices were read."""
    return [price for price in row["prices"] if str(price.get("valid_from", "")) <= "2026-11-23"][-1]


def test_providers_with_their_limits_keys_and_origins(seed):
    """Limits are those a fresh account can keep; a key may go only where the provider's own address is."""
    shipped = {name: (p.max_parallel_requests, p.requests_per_minute) for name, p in seed.providers.items()}
    assert LIMITS.items() <= shipped.items()
    assert KEYS.items() <= {name: provider.api_key_env for name, provider in seed.providers.items()}.items()
    for name, provider in seed.providers.items():
        assert addresses.origin_of(provider.base_url) in seed.origins[name]
        assert all(origin.startswith("https://") for origin in seed.origins[name])


def test_a_host_that_has_prices_may_have_the_key(seed, kit):
    """Whoever moves to the provider's own servers in another region need not approve their address."""
    hosts = {
        (reference.partition(":")[0], variant.service_tier)
        for reference, entries in seed.prices.items()
        for entry in entries
        for variant in entry.price.price_variants
        if "." in variant.service_tier
    }
    assert hosts
    for provider, host in sorted(hosts):
        moved = kit.catalog.update_provider(provider, base_url=f"https://{host}/v1")
        assert moved.base_url == f"https://{host}/v1"


def test_every_shipped_price_is_read_back_from_the_database(catalog):
    """Rates, tiers and peak hours in ``models()`` are those of the files, for every model."""
    frame = catalog.models().set_index("model")
    found = dict(models_in_files())
    assert set(frame.index) == set(found)
    for reference, row in found.items():
        price, shown, record = price_on_reading_day(row), frame.loc[reference], catalog.model(reference).price
        for column in RATE_COLUMNS:
            written = price.get(column)
            assert getattr(record, column) == written, (reference, column)
            assert shown[column] == float(written) if written is not None else shown[column] != shown[column]
        for column in ("price_tiers", "price_windows"):
            rows = [
                {k: float(v) if k.startswith("cost_") else v for k, v in entry.items()}
                for entry in price.get(column, ())
            ]
            assert (shown[column] or []) == rows, (reference, column)


def test_every_price_says_where_and_when_it_was_read(seed):
    """A price without its source cannot be checked."""
    for entries in seed.prices.values():
        assert entries
        for entry in entries:
            assert re.search(r"https://\S+", entry.source), entry
            assert entry.read_on is not None
            assert entry.price.cost_input_per_million > 0
            assert entry.price.cost_output_per_million > 0


def test_exactly_one_active_default_a_provider(catalog, seed):
    """New runs pre-select one cheap current model of each provider."""
    models = catalog.models()
    chosen = models[models["is_default"]]
    assert sorted(chosen["provider"]) == sorted(seed.providers)
    assert (chosen["status"] == "ACTIVE").all()
    assert (chosen["cost_output_per_million"] <= 2.5).all()
    assert set(catalog.defaults()) == set(seed.providers)


def test_both_infra_purposes_have_an_active_model(catalog):
    """Expansion and summarization work without any setting up."""
    for purpose in PURPOSES:
        assert catalog.infra_model(purpose).is_active


def test_deprecated_models_say_when_they_go(seed):
    """A model that is deprecated has its date; one that is retired already is not shipped as active."""
    announced = set()
    for model in seed.unpriced_models.values():
        assert model.is_active or model.retires_on is not None, model.reference
        if model.is_active and model.retires_on is not None:
            assert model.retires_on > max(entry.read_on for entry in seed.prices[model.reference]), model.reference
            announced.add(model.reference)
    assert announced == {
        "google:gemini-2.5-flash", "google:gemini-2.5-pro", "mistral:mistral-large-2512", "mistral:mistral-medium-3-5"
    }, "those of which the providers themselves do not say yet that they are deprecated"  # fmt: skip


def test_deepseek_is_dearer_in_chinas_office_hours(seed):
    """Twice the base price on weekdays 01:00-04:00 and 06:00-10:00 UTC, and the base price at all other times."""
    for reference, entries in seed.prices.items():
        if not reference.startswith("deepseek:"):
            continue
        price = entries[-1].price
        for day, hour, factor in ((23, 0, 1), (23, 1, 2), (23, 4, 1), (27, 9, 2), (27, 10, 1), (28, 2, 1), (29, 7, 1)):
            rates = rates_at(price, 1000, datetime(2026, 11, day, hour, tzinfo=UTC))
            assert rates.cost_input_per_million == factor * price.cost_input_per_million, (reference, day, hour)
            assert rates.cost_output_per_million == factor * price.cost_output_per_million


def test_searches_have_a_price_at_all_times(seed):
    """A model whose searches have a price now has had one since its first entry, so that costs of then are whole."""
    for reference, entries in seed.prices.items():
        assert len({entry.price.cost_per_thousand_searches for entry in entries}) == 1, reference


def test_long_context_moves_the_whole_price(seed):
    """GPT-6 Luna doubles its input price above 272,000 tokens, Claude Haiku 5.5 its everything above 100,000."""
    at = datetime(2026, 11, 23, tzinfo=UTC)
    luna = seed.models(at)["openai:gpt-6-luna"].price
    assert rates_at(luna, 272_000, at).cost_input_per_million == Decimal("0.1")
    assert rates_at(luna, 272_001, at).cost_input_per_million == Decimal("0.2")
    haiku = seed.models(at)["anthropic:claude-haiku-5-5"].price
    assert rates_at(haiku, 100_001, at).cost_cache_write_1h_per_million == 1


def test_what_the_apis_accept_is_in_the_wires_words(seed):
    """Every word in ``api_config`` is one that a wire reads, so that none is there in vain."""
    words_known = {
        "wire", "max_tokens_param", "seed_param", "rejects", "sampling", "default_reasoning_effort",
        "reasoning_efforts", "reasoning_style", "structured", "cache_min_tokens", "reasoning",
    }  # fmt: skip
    for model in seed.unpriced_models.values():
        assert set(model.api_config) <= words_known, model.reference
        assert set(model.api_config.get("rejects", ())) <= set(PARAMETERS)
        assert model.api_config.get("sampling") in (True, False, "without_reasoning")
        efforts = model.api_config.get("reasoning_efforts")
        assert efforts is None or model.api_config.get("default_reasoning_effort", efforts[0]) in efforts


def test_nothing_in_the_files_points_at_a_workplace():
    """The files name public sources only."""
    for file in FILES:
        assert not re.search(r"/work|/root|/home|/tmp|localhost|facts", file.read_text("utf-8")), file.name


def test_sample_prompts_are_scenarios():
    """The quickstart has five questions, one with a follow-up, each with a topic to group by."""
    scenarios = sample_scenarios()
    assert len(scenarios) == 5
    assert len({scenario.scenario_id for scenario in scenarios}) == 5
    assert sum(len(scenario.followups) for scenario in scenarios) == 1
    assert all(scenario.dimensions["topic"] for scenario in scenarios)


def test_a_wrong_value_names_its_file(tmp_path):
    """Whoever edits the files of a checkout learns in which one a value is wrong, be it of a model."""
    for folder in ("llmkit", "data"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    file = tmp_path / "data" / "catalog" / "mistral.toml"
    wrong = re.sub(r"context_window = \d+", "context_window = -5", file.read_text("utf-8"), count=1)
    file.write_text(wrong, encoding="utf-8")
    python = [sys.executable, "-c", "from llmkit.catalog import load_seed; load_seed()"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ended = subprocess.run(python, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert "mistral.toml: context_window must be" in ended.stderr
