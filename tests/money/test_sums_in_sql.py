"""Totals are summed in SQL; they must not lose a digit there."""

from __future__ import annotations

import random
from decimal import Decimal

import duckdb
import pyarrow as pa

from llmkit.money.pricing import total


def test_a_million_costs_sum_to_the_same_digit_in_sql() -> None:
    """DuckDB's sum of a million DECIMAL(18,10) equals the Decimal sum exactly, unlike a sum of floats."""
    rng = random.Random(20261123)
    units = [int(rng.lognormvariate(16, 2.5)) for _ in range(1_000_000)]
    amounts = [Decimal(unit).scaleb(-10) for unit in units]
    costs = pa.table({"amount": pa.array(amounts, pa.decimal128(18, 10))})
    with duckdb.connect() as connection:
        connection.register("arrow_costs", costs)
        connection.execute("CREATE TABLE costs AS SELECT amount FROM arrow_costs")
        kind, summed = connection.execute("SELECT any_value(typeof(amount)), sum(amount) FROM costs").fetchone()
    assert kind == "DECIMAL(18,10)"
    assert summed == total(amounts) == Decimal(sum(units)).scaleb(-10)
    print(f"sum of 1,000,000 rows: {summed}")
