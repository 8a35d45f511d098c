"""The money of a run: never overspent, and not left lying about."""

import random
from decimal import Decimal

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.errors import BudgetExceeded
from llmkit.limiter import Budget, Purse

CENT = Decimal("0.01")


async def reserve(budget, most):
    """The purse of a conversation of one request, with its money."""
    purse = Purse(budget, "p", "of one turn")
    await purse.reserve(most)
    return purse


@pytest.mark.parametrize("seed", range(200))
def test_heavy_tailed_costs_stay_within_a_third(virtual, seed):
    """200 concurrent probes with heavy-tailed costs, a budget for a third: nothing overspent, at least 90% used."""
    rng = random.Random(seed)
    tokens = [min(1000, int(100 * rng.paretovariate(1.5))) for _ in range(200)]
    price, most = Decimal("0.00001"), Decimal("0.01000")
    budget = Budget(sum(tokens) * price / 3)
    refused = 0

    async def probe(used):
        nonlocal refused
        try:
            purse = await reserve(budget, most)
        except BudgetExceeded:
            refused += 1
            return
        assert budget.own.spent + budget.own.reserved <= budget.total
        await anyio.sleep(used / 500)
        purse.settle(used * price)

    async def main():
        async with anyio.create_task_group() as tasks:
            for used in tokens:
                tasks.start_soon(probe, used)

    virtual(main)
    assert budget.own.reserved == 0
    assert budget.total * Decimal("0.9") <= budget.own.spent <= budget.total
    assert 0 < refused < 200


@given(
    total=st.integers(0, 300),
    requests=st.lists(st.tuples(st.integers(0, 120), st.floats(0, 1), st.booleans()), max_size=40),
)
def test_whatever_is_asked_the_total_holds(total, requests):
    """For any worst cases and costs below them, known or not, spent and reserved never pass the total."""
    budget = Budget(total * CENT)

    async def ask(most, part, known):
        try:
            purse = await reserve(budget, most * CENT)
        except BudgetExceeded:
            assert most * CENT > budget.total - budget.own.spent
            return
        assert budget.own.spent + budget.own.reserved <= budget.total
        await anyio.lowlevel.checkpoint()
        purse.settle(int(most * part) * CENT if known else None)
        assert budget.own.spent + budget.own.reserved <= budget.total

    async def main():
        async with anyio.create_task_group() as tasks:
            for request in requests:
                tasks.start_soon(ask, *request)

    anyio.run(main)
    assert budget.own.reserved == 0
    assert budget.own.spent <= budget.total


def test_what_cannot_fit_is_refused_with_figures(virtual):
    """The error says what the request may cost, what the budget is, and what is spent."""

    async def main():
        budget = Budget(Decimal("1.00"))
        (await reserve(budget, Decimal("0.40"))).settle(Decimal("0.30"))
        with pytest.raises(BudgetExceeded, match=r"\$1\.00 .* \$0\.7125, and \$0\.30 is spent"):
            await reserve(budget, Decimal("0.7125"))
        assert (budget.own.spent, budget.own.reserved, budget.own.left) == (Decimal("0.30"), 0, Decimal("0.70"))

    virtual(main)


def test_an_unknown_price_cannot_be_checked(virtual):
    """Without a price there is no worst case, and a run with a budget does not send the request."""

    async def main():
        with pytest.raises(BudgetExceeded, match="unknown"):
            await reserve(Budget(Decimal(1)), None)

    virtual(main)


def test_a_large_request_is_not_starved_by_small_ones(virtual):
    """Who comes first is served first, also when a later one would fit sooner."""

    async def main():
        budget, served = Budget(Decimal(10)), []

        async def ask(name, most):
            purse = await reserve(budget, Decimal(most))
            served.append(name)
            await anyio.sleep(1)
            purse.settle(Decimal(0))

        async with anyio.create_task_group() as tasks:
            for name, most in (("first", 8), ("large", 9), ("small", 1)):
                tasks.start_soon(ask, name, most)
        assert served == ["first", "large", "small"]

    virtual(main)


def test_giving_up_frees_the_line(virtual):
    """A request that is cancelled while it waits for money lets the one behind it go."""

    async def main():
        budget = Budget(Decimal(10))
        held = await reserve(budget, Decimal(8))
        async with anyio.create_task_group() as tasks:
            with anyio.move_on_after(2):
                tasks.start_soon(later, budget)
                await reserve(budget, Decimal(9))
        assert budget.own.reserved == 10
        held.release()
        assert budget.own.reserved == 2

    async def later(budget):
        await anyio.sleep(1)
        with anyio.fail_after(60):
            await reserve(budget, Decimal(2))

    virtual(main)
