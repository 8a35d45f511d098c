"""The frozen records that travel through llmkit, and nothing else.

Money is :class:`decimal.Decimal` in US dollars; prices are per million tokens. An unknown price is ``None``, never 0.
Times are timezone-aware UTC.
"""

from llmkit.records.calls import Call, Message, Params, Scenario
from llmkit.records.completions import Completion, Failure, FinishReason, RateInfo, RemoteModel, Scope, Usage
from llmkit.records.dialects import DIALECTS, STANDARD, Dialect, dialect_at, dialect_before
from llmkit.records.entries import Model, ModelStatus, Provider, split_reference
from llmkit.records.http_messages import HttpResponse, Request
from llmkit.records.prices import RATE_COLUMNS, CostSource, DatedPrice, Price, PriceTier, PriceWindow, Rates

__all__ = [
    "DIALECTS",
    "RATE_COLUMNS",
    "STANDARD",
    "Call",
    "Completion",
    "CostSource",
    "DatedPrice",
    "Dialect",
    "Failure",
    "FinishReason",
    "HttpResponse",
    "Message",
    "Model",
    "ModelStatus",
    "Params",
    "Price",
    "PriceTier",
    "PriceWindow",
    "Provider",
    "RateInfo",
    "Rates",
    "RemoteModel",
    "Request",
    "Scenario",
    "Scope",
    "Usage",
    "dialect_at",
    "dialect_before",
    "split_reference",
]
