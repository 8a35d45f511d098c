"""The frozen records that travel through llmkit, and nothing else.

Money is :class:`decimal.Decimal` in US dollars; prices are per million tokens. An unknown price is ``None``, never 0.
Times are timezone-aware UTC.
"""

from llmkit.records.answered import Failure, FinishReason, RateInfo, RemoteModel, Reply, Scope, Usage
from llmkit.records.asked import Call, Message, Params, Scenario
from llmkit.records.entries import Model, ModelStatus, Provider, split_reference
from llmkit.records.http import Request, Response
from llmkit.records.prices import RATE_COLUMNS, CostSource, DatedPrice, Price, PriceTier, PriceWindow, Rates

__all__ = [
    "RATE_COLUMNS",
    "Call",
    "CostSource",
    "DatedPrice",
    "Failure",
    "FinishReason",
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
    "Reply",
    "Request",
    "Response",
    "Scenario",
    "Scope",
    "Usage",
    "split_reference",
]
