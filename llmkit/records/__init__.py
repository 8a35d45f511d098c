"""The frozen records that the rest of llmkit passes around, and nothing else.

Money is :class:`decimal.Decimal` in US dollars; prices are per million tokens. An unknown price is ``None``, never 0.
Times are timezone-aware UTC.
"""

import copyreg
from types import MappingProxyType
from typing import Any

from llmkit.records.budgets import BUDGETS, SharedBudget, is_month, month_of
from llmkit.records.calls import Call, Message, Params, Scenario
from llmkit.records.completions import (
    MAYBE_BILLED,
    TOKEN_COLUMNS,
    Completion,
    Failure,
    FinishReason,
    RateInfo,
    RemoteModel,
    Scope,
    Usage,
)
from llmkit.records.configurations import Config
from llmkit.records.dialects import DIALECTS, STANDARD, Dialect, dialect_at, dialect_before
from llmkit.records.entries import WIRE_NAMES, Model, ModelStatus, Provider, WireName, split_reference
from llmkit.records.http_messages import HttpResponse, Request
from llmkit.records.prices import (
    BATCH_TIER,
    EXACT,
    PRICE_COLUMNS,
    PRICE_PARTS,
    RATE_COLUMNS,
    STANDARD_TIER,
    CostSource,
    DatedPrice,
    Price,
    PriceTier,
    PriceVariant,
    PriceWindow,
    Rates,
    price_on,
    since,
    source_of_sum,
)
from llmkit.records.typed_questions import Question


def _frozen(items: dict[str, Any]) -> MappingProxyType[str, Any]:
    return MappingProxyType(items)


# Python can neither copy nor pickle the frozen dicts in records, and scenarios are sent to other processes
copyreg.pickle(MappingProxyType, lambda frozen: (_frozen, (dict(frozen),)))


__all__ = [
    "BATCH_TIER", "BUDGETS", "DIALECTS", "EXACT", "MAYBE_BILLED", "PRICE_COLUMNS", "PRICE_PARTS", "RATE_COLUMNS",
    "STANDARD", "STANDARD_TIER", "TOKEN_COLUMNS", "WIRE_NAMES", "Call", "Completion", "Config", "CostSource",
    "DatedPrice", "Dialect", "Failure", "FinishReason", "HttpResponse", "Message", "Model", "ModelStatus", "Params",
    "Price", "PriceTier", "PriceVariant", "PriceWindow", "Provider", "Question", "RateInfo", "Rates", "RemoteModel",
    "Request", "Scenario", "Scope", "SharedBudget", "Usage", "WireName", "dialect_at", "dialect_before", "is_month",
    "month_of", "price_on", "since", "source_of_sum", "split_reference",
]  # fmt: skip
