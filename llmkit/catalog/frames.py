"""The catalog as DataFrames, with declared columns and types even without rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import pandas as pd

from llmkit.catalog.obstacles import Access
from llmkit.money.price_comparison import shown
from llmkit.records import PRICE_PARTS, RATE_COLUMNS, Provider, price_on
from llmkit.store import CatalogState

_TEXT, _MONEY, _COUNT, _FLAG, _ANY = "str", "float64", "Int64", "bool", "object"
_DAY, _MOMENT = "datetime64[us]", "datetime64[us, UTC]"

PROVIDER_COLUMNS: Mapping[str, str] = {
    "id": "int64", "name": _TEXT, "display_name": _TEXT, "is_available": _FLAG, "key_status": _TEXT,
    "default_model": _TEXT, "n_active_models": "int64", "wire": _TEXT, "dialect": _TEXT, "base_url": _TEXT,
    "api_key_env": _TEXT, "max_parallel_requests": "int64", "requests_per_minute": "int64", "tokens_per_minute": _COUNT,
    "is_enabled": _FLAG, "default_cost_input_per_million": _MONEY, "default_cost_output_per_million": _MONEY,
    "balance": _MONEY, "created_at": _MOMENT, "updated_at": _MOMENT,
}  # fmt: skip

MODEL_COLUMNS: Mapping[str, str] = {
    "model": _TEXT, "provider": _TEXT, "model_id": _TEXT, "display_name": _TEXT, "status": _TEXT, "is_default": _FLAG,
    "is_available": _FLAG, **dict.fromkeys((*RATE_COLUMNS, "cost_per_thousand_searches"), _MONEY),
    **dict.fromkeys(PRICE_PARTS, _ANY), "batch_discount": _MONEY, "context_window": _COUNT,
    "max_output_tokens": _COUNT, "retires_on": _DAY,
    "api_config": _ANY, "id": "int64", "provider_id": "int64", "created_at": _MOMENT, "updated_at": _MOMENT,
    "price_source": _TEXT, "price_read_on": _DAY,
}  # fmt: skip


def providers(
    state: CatalogState, *, available: Callable[[Provider], bool], key_status: Callable[[Provider], str]
) -> pd.DataFrame:
    """One row per provider, in the order in which they were added."""
    active = Counter(model.provider for model in state.models.values() if model.is_active)
    defaults = {model.provider: model.reference for model in state.models.values() if model.is_default}
    rows = (
        provider.to_row()
        | {
            "is_available": available(provider),
            "key_status": key_status(provider),
            "default_model": defaults.get(provider.name),
            "n_active_models": active[provider.name],
        }
        for provider in state.providers.values()
    )
    return _frame(rows, PROVIDER_COLUMNS)


def models(access: Access, at: datetime) -> pd.DataFrame:
    """One row per model, with source and day of reading of its price in force at ``at``."""
    state = access.state
    rows = (
        model.to_row()
        | {name: shown(getattr(model.price, name)) or None for name in PRICE_PARTS}
        | {
            "model": model.reference,
            "provider_id": state.providers[model.provider].id,
            "is_available": access.blocking(model) is None,
            "price_source": entry.source if entry else None,
            "price_read_on": entry.read_on if entry else None,
        }
        for model in state.models.values()
        for entry in (price_on(state.prices.get(model.reference, ()), at),)
    )
    return _frame(rows, MODEL_COLUMNS)


def settings(values: Mapping[str, Any]) -> pd.DataFrame:
    """One row per setting, sorted by name."""
    rows = ({"key": key, "value": value} for key, value in sorted(values.items()))
    return _frame(rows, {"key": _TEXT, "value": _ANY})


def _frame(rows: Iterable[Mapping[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=list(columns)).astype(columns)
