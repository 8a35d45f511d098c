"""What a run may spend, looked at before it is started: its budget, and the balances of its providers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from llmkit.errors import BudgetExceeded, LlmkitError, ValidationError, refuse
from llmkit.money import pricing
from llmkit.money.estimate_table import Estimate
from llmkit.records import Provider, Request
from llmkit.records.checks import numbers
from llmkit.runs.plan import Plan, most_input_tokens, most_output_tokens


def warn_of_balances(estimate: Estimate, providers: Mapping[str, Provider]) -> None:
    """One warning for each provider whose balance the run will probably exceed."""
    for name, provider in providers.items():
        cost = pricing.total(model.cost for model in estimate.models if model.provider == name)
        if provider.balance is not None and cost > provider.balance:
            warnings.warn(
                f"This run will probably cost {pricing.dollars(cost)} at {provider.display_name}, whose balance is "
                f"{pricing.dollars(provider.balance, exact=True)}. It goes on all the same; handle.cancel() stops it, "
                f"and kit.catalog.sync_balance({name!r}, ...) corrects the balance.",
                UserWarning,
                stacklevel=4,
            )


def check_budget(
    plan: Plan, providers: Mapping[str, Provider], requests: Mapping[str, Request], budget: Any
) -> Decimal | None:
    """The budget as a Decimal, after checking that it can be kept: every price known, every answer's length limited.

    Raises:
        ValidationError: not a positive amount.
        BudgetExceeded: a model is unpriced, or not even one request fits.
        RunRefused: several of these.
    """
    if budget is None:
        return None
    amount = numbers.amount(budget, "budget")
    if amount <= 0:
        raise ValidationError("budget must be a positive amount in US dollars.", field="budget")
    problems: list[LlmkitError] = []
    for index, model in enumerate(plan.models):
        call, request = plan.call(plan.probe(index * plan.samples)), requests[model.reference]
        most_output = most_output_tokens(request, model)
        if most_output is None:
            problems.append(BudgetExceeded(f"{model.reference} has no limit on its answers: give max_tokens=."))
            continue
        worst = pricing.worst_case(
            model.price,
            input_tokens=most_input_tokens(call, request),
            max_output_tokens=most_output,
            fallback=pricing.default_rates(providers[model.provider]),
        )
        if worst is None:
            problems.append(
                BudgetExceeded(
                    f"{model.reference} has no price, so a budget cannot be kept. Set it with "
                    f"kit.catalog.update_model({model.reference!r}, cost_input_per_million=..., "
                    "cost_output_per_million=...), or leave the model or the budget out."
                )
            )
        elif worst > amount:
            problems.append(
                BudgetExceeded(
                    f"One request to {model.reference} can cost up to {pricing.dollars(worst)} (answers of up to "
                    f"{most_output:,} tokens), more than the budget of {pricing.dollars(amount)}. Give a smaller "
                    "max_tokens=, or a larger budget=."
                )
            )
    refuse(problems)
    return amount
