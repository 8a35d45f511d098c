"""Budgets of months, at the moment when one ends."""

from datetime import UTC, datetime
from decimal import Decimal

import anyio
import pytest
from virtual_time import BEGUN, clock

from llmkit.errors import BudgetExceeded
from llmkit.limiter import Budget, Ledger, Purse, SharedMoney
from llmkit.limiter.pace import Limits
from llmkit.records import SharedBudget

WORST = Decimal(1)
LEFT = (datetime(2100, 2, 1, tzinfo=UTC) - BEGUN).total_seconds()
"""The seconds that are left of the month in which virtual time begins."""


@pytest.fixture
def budget(tmp_path):
    """The budget of a run that shares $5 with others in January, and $1 in February."""
    budget = Budget(None)
    shared = [SharedBudget(scope=month, amount=Decimal(amount)) for month, amount in (("2100-01", 5), ("2100-02", 1))]
    ledger = Ledger(tmp_path / "budgets", lambda _: True)
    ledger.refresh(shared, {each.key: {} for each in shared}, set(), "r")
    budget.shared = SharedMoney(ledger, "r", None, print, shared, clock=clock)
    return budget


def spent(budget):
    """What is spent of each month's budget."""
    with budget.shared.open(["2100-01", "2100-02"]) as accounts:
        return [account.spent for account in accounts.values()]


def test_requests_that_waited_into_the_next_month_are_checked_against_its_budget(virtual, make_gate, budget):
    """Three have money of January when it ends, with the limit a request a minute; February's covers one of them."""
    gate, sent = make_gate(), []
    gate.queue("p").set_limits(Limits(1, 1))

    async def ask(purse):
        try:
            async with gate.admit("p", run_id="r", model="p:m", purse=purse, worst_case=WORST) as admission:
                sent.append(datetime.fromtimestamp(clock(), UTC).month)
                admission.settle(tokens=0, cost=WORST, ok=True)
        except BudgetExceeded:
            sent.append(None)

    async def main():
        await anyio.sleep(LEFT - 90)
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask, Purse(budget, "p", "of one turn"))

    virtual(main)
    assert sent == [1, 1, 2, None, None]
    assert spent(budget) == [2, 1]


def test_the_turns_of_a_conversation_are_charged_to_the_months_that_they_are_asked_in(virtual, budget):
    """Though the money of all of them was reserved at once."""
    purse = Purse(budget, "p", "of two turns")

    async def main():
        purse.rest = WORST
        await purse.reserve(WORST)
        purse.settle(WORST)
        await anyio.sleep(LEFT)
        purse.rest = Decimal(0)
        await purse.reserve(WORST)
        purse.settle(WORST / 2)

    virtual(main)
    assert spent(budget) == [1, Decimal("0.5")]


def test_a_request_still_in_a_batch_stays_charged_to_its_month(virtual, budget):
    """An earlier process submitted it in January, and it counts as spent there until its answer is fetched."""

    async def main():
        with budget.shared.open(["2100-01"]) as accounts:
            accounts["2100-01"].change("r", spent=WORST)
        await anyio.sleep(LEFT)
        purse = Purse(budget, "p", "of one turn")
        purse.recall(WORST, BEGUN)
        purse.settle(WORST / 2)

    virtual(main)
    assert spent(budget) == [Decimal("0.5"), 0]
