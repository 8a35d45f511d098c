"""The DataFrames of the catalog: columns, types, missing values."""

from dataclasses import replace
from datetime import UTC, datetime

import pandas as pd

from llmkit.catalog import Catalog, frames
from llmkit.providers.credentials import Credentials
from llmkit.store import CatalogState, Store


def test_an_empty_catalog_has_the_same_columns_and_types(tmp_path, shipped):
    """Code that works on a full catalog works on an empty one."""
    empty = Catalog(Store(tmp_path / "empty.duckdb"), Credentials(), has_key=lambda provider: False)
    for frame in ("models", "providers", "settings"):
        full, bare = getattr(shipped.catalog, frame)(), getattr(empty, frame)()
        assert len(full) > 0
        assert len(bare) == 0
        assert list(bare.columns) == list(full.columns)
        assert bare.dtypes.to_dict() == full.dtypes.to_dict()
    assert list(empty.history().columns) == list(shipped.catalog.history().columns)


def test_every_table_column_is_there(shipped):
    """``models()`` and ``providers()`` hold all columns of their tables, and the derived ones."""
    table = set(shipped.store.query("SELECT * FROM llm_models LIMIT 0").columns)
    assert table | {"model", "provider", "is_available", "price_source", "price_read_on"} == set(
        shipped.catalog.models().columns
    )
    table = set(shipped.store.query("SELECT * FROM llm_providers LIMIT 0").columns)
    derived = {"is_available", "default_model", "n_active_models"}
    assert table | derived <= set(shipped.catalog.providers().columns)


def test_unknown_values_are_missing_and_never_zero(catalog):
    """An unknown price is NaN, an unknown count is NA, a free model's price is 0."""
    catalog.add_model("alpha:dear", cost_input_per_million=None, cost_output_per_million=None)
    models = catalog.models().set_index("model")
    assert pd.isna(models.loc["alpha:dear", "cost_input_per_million"])
    assert models.loc["local:llama3:8b", "cost_input_per_million"] == 0.0
    assert models["context_window"].dtype == "Int64"
    assert models["context_window"].isna().all()
    assert models.loc["alpha:dear", "price_tiers"] is None


def test_a_time_on_the_second_stands_beside_others(shipped):
    """Its text has no fraction of a second, which must not be taken for another format."""
    times = [datetime(2026, 11, 27, 9, 30, tzinfo=UTC), datetime(2026, 11, 27, 9, 30, 0, 7, tzinfo=UTC)]
    entries = zip(shipped.catalog.state().providers.items(), times, strict=False)
    state = CatalogState(providers={name: replace(provider, updated_at=at) for (name, provider), at in entries})
    frame = frames.providers(state, available=lambda provider: True, key_status=lambda provider: "set")
    assert frame["updated_at"].tolist() == times


def test_values_come_back_in_their_types(catalog):
    """Prices as floats, tiers as lists of dicts with floats, dates as dates, times as UTC."""
    catalog.update_model(
        "alpha:one",
        cost_cached_input_per_million="0.015",
        price_tiers=[{"above": 200_000, "cost_input_per_million": "3.5"}],
        price_windows=[{"weekdays": [1, 5], "start": "01:00", "end": "04:00", "cost_input_per_million": 2}],
        context_window=400_000,
        retires_on="2027-01-14",
        api_config={"max_tokens_param": "max_tokens"},
        batch_discount=0.5,
    )
    row = catalog.models().set_index("model").loc["alpha:one"]
    assert row["cost_cached_input_per_million"] == 0.015
    assert row["price_tiers"] == [{"above": 200_000, "cost_input_per_million": 3.5}]
    assert row["price_windows"] == [
        {"weekdays": [1, 5], "start": "01:00:00", "end": "04:00:00", "cost_input_per_million": 2.0}
    ]
    assert row["retires_on"] == pd.Timestamp("2027-01-14")
    assert row["api_config"] == {"max_tokens_param": "max_tokens"}
    assert (row["context_window"], row["batch_discount"]) == (400_000, 0.5)
    assert row["updated_at"] > pd.Timestamp(datetime(2026, 1, 1, tzinfo=UTC))


def test_a_frames_tiers_can_be_given_back(catalog):
    """What ``models()`` shows as tiers and hours is accepted as it is by ``update_model``."""
    catalog.update_model(
        "alpha:one",
        price_tiers=[{"above": 1000, "cost_output_per_million": "0.1"}],
        price_windows=[{"weekdays": [7], "start": "10:00", "end": "00:00", "cost_output_per_million": 9}],
    )
    row = catalog.models().set_index("model").loc["alpha:one"]
    catalog.update_model("alpha:two", price_tiers=row["price_tiers"], price_windows=row["price_windows"])
    one, two = catalog.model("alpha:one"), catalog.model("alpha:two")
    assert one.price == two.price


def test_providers_say_their_default_and_count(shipped):
    """Each provider's row names its default model and counts its active models."""
    providers = shipped.catalog.providers().set_index("name")
    models = shipped.catalog.models()
    for name, row in providers.iterrows():
        own = models[models["provider"] == name]
        assert row["default_model"] == own.loc[own["is_default"], "model"].item()
        assert row["n_active_models"] == (own["status"] == "ACTIVE").sum()
    assert providers.loc["openai", ["max_parallel_requests", "requests_per_minute"]].tolist() == [5, 60]


def test_every_price_says_where_it_was_read_and_when(shipped):
    """Also one that was entered since; a price without a source has neither."""
    models = shipped.catalog.models().set_index("model")
    assert (
        models.loc[models["cost_input_per_million"].notna(), ["price_source", "price_read_on"]].notna().all(axis=None)
    )
    shipped.catalog.update_model(models.index[0], cost_input_per_million=123)
    assert shipped.catalog.models().iloc[0][["price_source", "price_read_on"]].isna().all()
