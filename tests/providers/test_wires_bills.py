"""Every reply of the corpus with a bill worked out by hand costs just that."""

from __future__ import annotations

from decimal import Decimal

import pytest
from wire_corpus import Case, cases

from llmkit.money.pricing import cost
from llmkit.records import Price

BILLED = [case for case in cases() if case.bill]


@pytest.mark.parametrize("case", BILLED, ids=lambda case: case.name)
def test_bill_is_the_one_worked_out_by_hand(case: Case) -> None:
    """The cost of a reply at the fixture's rates, and who says so."""
    usage = case.outcome().usage
    bill = cost(usage, Price.from_row(case.bill["rates"]), case.response.received_at)
    assert (bill.amount, bill.source) == (Decimal(case.bill["cost"]), case.bill["cost_source"])


def test_bills_are_of_every_wire() -> None:
    """At least 60 replies with a bill, from every wire."""
    assert len(BILLED) >= 60
    assert {case.wire for case in BILLED} == {"openai_chat", "openai_responses", "anthropic_messages", "gemini"}
