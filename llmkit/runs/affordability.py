"""Check what a run may spend before it starts: its budgets, and the balances of its providers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from llmkit.errors import BudgetExceeded, LlmkitError, ValidationError, refuse
from llmkit.money import pricing
from llmkit.money.amounts import dollars, in_words
from llmkit.money.estimate_table import Estimate
from llmkit.records import Price, Provider, Request, SharedBudget, is_month, month_of
from llmkit.records.checks import near_names, numbers
from llmkit.runs.plan import Plan, most_input_tokens
from llmkit.runs.spec import RunSpec
from llmkit.runs.spending import Standing
from llmkit.runs.targets import Target


def balance_warnings(estimate: Estimate, providers: Mapping[str, Provider]) -> Iterator[str]:
    """One warning per provider whose balance the run will probably exceed."""
    for name, provider in providers.items():
        cost = pricing.total(model.cost for model in estimate.models if model.provider == name)
        if provider.balance is not None and cost > max(provider.balance, Decimal(0)):
            yield (
                f"This run will probably cost {dollars(cost)} at {provider.display_name}, whose balance is "
                f"{dollars(provider.balance, exact=True)}. It runs anyway; handle.cancel() stops it, "
                f"and kit.catalog.sync_balance({name!r}, ...) corrects the balance."
            )


def refuse_overdrawn(spec: RunSpec) -> None:
    """Refuse to ask on accounts that owe money."""
    names = dict.fromkeys(spec.plan.configs[place].model.provider for place in spec.asked)
    refuse(
        [
            BudgetExceeded(
                f"The balance of {provider.display_name} is {dollars(provider.balance, exact=True)}. Correct "
                f"it with kit.catalog.sync_balance({name!r}, ...). Or run anyway with options={{'overdraw': True}}."
            )
            for name in names
            if (provider := spec.providers[name]).balance is not None and provider.balance < 0
        ]
    )


def budget_warnings(estimate: Estimate, budget: Decimal | None) -> Iterator[str]:
    """One warning if the budget will probably end the run early."""
    if budget is not None and estimate.total is not None and estimate.total > budget:
        yield (
            f"This run will probably cost {dollars(estimate.total)}, and its budget of "
            f"{dollars(budget, exact=True)} covers only {int(100 * budget / estimate.total)}% of that: it will stop "
            "there, and kit.resume(run_id, budget=...) continues it."
        )


def project_warnings(project: str | None, shared: Sequence[SharedBudget]) -> Iterator[str]:
    """One warning if no budget is of the project, but one of a project that is nearly called so."""
    projects = {budget.scope for budget in shared if not is_month(budget.scope)}
    if project not in {None, *projects} and (meant := near_names.near(project, projects, 1, alike=0.8)):
        yield f"No budget covers the project {project!r}.{near_names.hint(meant)}"


def check_budget(
    spec: RunSpec, requests: Mapping[str, Request], budget: Any, shared: Sequence[Standing]
) -> Decimal | None:
    """The budget as a Decimal, after checking that it and the ``shared`` budgets can be kept: every price is known and
    every answer limited in length, of whatever is to be asked. Models in batches count at their batch price.
    """
    plan, amount = spec.plan, None if budget is None else positive(budget)
    scope = spec.project, month_of(datetime.now(UTC))
    problems: list[LlmkitError] = []
    for index in spec.asked:
        config = plan.configs[index]
        model = config.model
        limits = [] if amount is None else [(amount, f"the budget of {dollars(amount)}", "budget=")]
        for now in (standing for standing in shared if standing.budget.covers(model.provider, *scope)):
            words = f"the {dollars(now.account.left)} left of the budget {now.budget.key}"
            limits.append((now.account.left, words, "the amount with kit.set_budget"))
        if not limits:
            continue
        least, words, name = min(limits)
        call, request = plan.typical_call(index), requests[config.label]
        target = Target.of(model, spec.providers[model.provider], in_batches=model.reference in spec.batched)
        bound = target.bound(config, request)
        worst, most = bound.worst_case(most_input_tokens(call, request)), bound.max_output_tokens
        if worst is None and most is None:
            problems.append(BudgetExceeded(f"{model.reference} has no limit on its answers: set max_tokens=."))
        elif worst is None:
            problems.append(
                BudgetExceeded(
                    f"{model.reference} has no price, so no budget can be enforced. Set one with "
                    f"kit.catalog.update_model({model.reference!r}, cost_input_per_million=..., "
                    "cost_output_per_million=...), or leave out the model or the budget."
                )
            )
        elif worst > max(least, Decimal(0)):  # what is free needs no money, even if more than a budget is spent
            problems.append(
                BudgetExceeded(
                    f"One request to {model.reference} can cost up to {dollars(worst)}"
                    f"{'' if most is None else f' (answers of up to {most:,} tokens)'}, more than {words}. "
                    f"Lower max_tokens=, or raise {name}."
                )
            )
    refuse(problems)
    return amount


def positive(budget: Any) -> Decimal:
    """A run's budget in US dollars."""
    amount = numbers.amount(budget, "budget")
    if amount <= 0:
        raise ValidationError("budget must be a positive amount in US dollars.", field="budget")
    return amount


def raised(budget: Any, spent: Decimal) -> Decimal:
    """The new budget of a run that has already spent ``spent``."""
    amount = positive(budget)
    if amount <= spent:
        raise BudgetExceeded(
            f"The run has spent {dollars(spent)} already (requests that may have been billed count at their "
            f"worst case), so a budget of {dollars(amount, exact=True)} leaves nothing: raise it."
        )
    return amount


def price_warnings(models: Mapping[str, Mapping[str, Any]], before: Plan) -> Iterator[str]:
    """One warning per model whose price has changed since the run was started or last resumed."""
    for model in before.models:
        if (row := models.get(model.reference)) is not None:
            was, now = (in_words(rates) for rates in (model.price, Price.from_row(row)))
            yield (
                f"The price of {model.reference} was changed: new requests cost {now} per million tokens, earlier ones "
                f"cost {was}. Both prices are recorded; compare them with run.reprice(as_of=...)."
            )
