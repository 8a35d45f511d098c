"""Keeping prices current: what others say a model costs, held against the catalog. Nothing here writes to a database.

``python -m llmkit.prices.regenerate data/catalog`` brings the shipped files up to date; users call
``kit.catalog.check_prices()``.
"""

from llmkit.prices.compare import (
    COLUMNS,
    MISSING,
    NEW,
    PRICE_FIELDS,
    Difference,
    list_differences,
    price_differences,
    to_frame,
)
from llmkit.prices.upstream import PriceList, read_price_list

__all__ = [
    "COLUMNS",
    "MISSING",
    "NEW",
    "PRICE_FIELDS",
    "Difference",
    "PriceList",
    "list_differences",
    "price_differences",
    "read_price_list",
    "to_frame",
]
