"""Every reply of the corpus with a bill worked out by hand costs just that."""

from __future__ import annotations

from decimal import Decimal

import pytest
from wire_corpus import Case, cases

from llmkit.money.pricing import cost
from llmkit.providers.wires import WIRES
from llmkit.records import Price

BILLED = [case for case in cases() if case.bill]


@pytest.mark.parametrize("case", BILLED, ids=lambda case: case.name)
def test_bill_is_the_one_worked_out_by_hand(case: Case) -> None:
    """The cost of a reply at the fixture's rates and at the tier that it tells, and who says so; unknown is None."""
    outcome, right = case.outcome(), case.bill["cost"]
    price = Price.from_row(case.bill["rates"])
    bill = cost(outcome.usage, price, case.response.received_at, tier=outcome.service_tier)
    assert (bill.amount, bill.source) == (right and Decimal(right), case.bill["cost_source"])


def test_bills_are_of_every_wire() -> None:
    """At least 200 replies with a bill, from every wire."""
    assert len(BILLED) >= 200
    assert {case.wire for case in BILLED} == set(WIRES)
