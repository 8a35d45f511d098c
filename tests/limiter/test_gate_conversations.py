"""The money of conversations: what was begun is finished."""

import random
from decimal import Decimal

import anyio
import pytest

from llmkit.errors import BudgetExceeded
from llmkit.limiter import Budget, Purse

COUNT = 200


@pytest.mark.parametrize("seed", range(50))
def test_whatever_turns_cost_the_budget_holds_and_most_of_it_is_used_well(virtual, seed):
    """Heavy-tailed turns in a world without servers: never passed, and no more is wasted than a few conversations."""
    rng = random.Random(seed)
    most = Decimal("0.001")
    turns = [
        [min(most, round(most / 10 * Decimal(rng.paretovariate(1.5)), 10)) for _ in range(4)] for _ in range(COUNT)
    ]
    budget = Budget(sum(map(sum, turns), Decimal(0)) / 3)
    finished, wasted, costs = [], [], []

    async def converse(costs_of_turns):
        purse, spent = Purse(budget, "p"), Decimal(0)
        try:
            for number, cost in enumerate(costs_of_turns, start=1):
                purse.rest = most * (4 - number)
                purse.likely = sum(costs) / len(costs) * 3 / 4 + most if costs else None
                money = await purse.reserve(most)
                assert budget.spent + budget.reserved <= budget.total
                await anyio.sleep(rng.random())
                money.settle(cost)
                spent += cost
        except BudgetExceeded:
            wasted.append(spent)
        else:
            finished.append(spent)
            costs.append(spent)
        finally:
            purse.close()

    async def main():
        limiter = anyio.CapacityLimiter(20)

        async def one(costs_of_turns):
            async with limiter:
                await converse(costs_of_turns)

        async with anyio.create_task_group() as tasks:
            for costs_of_turns in turns:
                tasks.start_soon(one, costs_of_turns)

    virtual(main)
    assert budget.reserved == 0
    assert budget.spent <= budget.total
    assert sum(wasted) <= budget.total * Decimal("0.05")
    assert sum(finished) >= budget.total * Decimal("0.9")
