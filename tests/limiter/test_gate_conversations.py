"""The money of conversations: what was begun is finished."""

import random
from decimal import Decimal

import anyio
import pytest

from llmkit.errors import BudgetExceeded
from llmkit.limiter import Budget, Purse


@pytest.mark.parametrize(("count", "most_wasted", "least_finished"), [(60, "0.15", "0.8"), (200, "0.05", "0.9")])
@pytest.mark.parametrize("seed", range(50))
def test_whatever_turns_cost_the_budget_holds_and_most_of_it_is_used_well(
    virtual, seed, count, most_wasted, least_finished
):
    """Heavy-tailed turns in a world without servers: never passed, and no more is wasted than a few conversations."""
    rng = random.Random(seed)
    most = Decimal("0.001")
    turns = [
        [min(most, round(most / 10 * Decimal(rng.paretovariate(1.5)), 10)) for _ in range(4)] for _ in range(count)
    ]
    budget = Budget(sum(map(sum, turns), Decimal(0)) / 3)
    finished, wasted = [], []

    async def converse(costs_of_turns):
        purse, spent = Purse(budget, "p", "of four turns"), Decimal(0)
        try:
            for number, cost in enumerate(costs_of_turns, start=1):
                purse.rest = most * (4 - number)
                await purse.reserve(most)
                assert budget.own.spent + budget.own.reserved <= budget.total
                await anyio.sleep(rng.random())
                purse.settle(cost)
                spent += cost
        except BudgetExceeded:
            wasted.append(spent)
        else:
            finished.append(spent)
        finally:
            purse.release()

    async def main():
        limiter = anyio.CapacityLimiter(20)

        async def one(costs_of_turns):
            async with limiter:
                await converse(costs_of_turns)

        async with anyio.create_task_group() as tasks:
            for costs_of_turns in turns:
                tasks.start_soon(one, costs_of_turns)

    virtual(main)
    assert budget.own.reserved == 0
    assert budget.own.spent <= budget.total
    assert sum(wasted) <= budget.total * Decimal(most_wasted)
    assert sum(finished) >= budget.total * Decimal(least_finished)
