"""An order of a run, and how it is written down and read again: as rows of the journal and of the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any

from llmkit.errors import Code
from llmkit.money import pricing
from llmkit.providers.transport import RetryPolicy
from llmkit.records import Model, Params, Price, Provider, Scenario
from llmkit.runs.conversation import TOKENS, Conversation
from llmkit.runs.plan import Plan
from llmkit.runs.progress import RunEvent
from llmkit.store import Event, events


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """What to run: the plan and all that goes with it. ``check_answer`` is as in ``Settings.check_answer``."""

    plan: Plan
    providers: Mapping[str, Provider]
    policy: RetryPolicy
    retry_unknown: bool
    adaptive: bool = False
    name: str | None = None
    kind: str = "probe"
    budget: Decimal | None = None
    estimate: Mapping[str, Any] | None = None
    simulated: bool = False
    check_answer: Callable[[str], Any] | None = None
    on_event: Callable[[RunEvent], None] | None = None


def stored_spec(
    row: Mapping[str, Any],
    providers: Mapping[str, Provider],
    check: Callable[[Mapping[str, Any]], Callable[[str], Any]],
) -> RunSpec:
    """The order of a stored run, from its row in ``runs``; ``check`` makes ``check_answer`` from a JSON schema."""
    settings = row["settings"]
    params = Params(**{**settings["params"], "stop": tuple(settings["params"]["stop"])})
    plan = Plan(
        scenarios=tuple(_scenario(scenario) for scenario in row["scenarios"]),
        models=tuple(Model.from_row(model) for model in row["models"]),
        samples=settings["samples"],
        params=params,
        order=settings["order"],
        order_seed=settings["order_seed"],
    )
    budget = settings["budget"]
    return RunSpec(
        plan=plan,
        providers=_at_stored_costs(providers, row["models"]),
        policy=RetryPolicy(**settings["policy"]),
        retry_unknown=settings["retry_unknown"],
        adaptive=settings["adaptive"],
        name=row["name"],
        kind=row["kind"],
        budget=None if budget is None else Decimal(budget),
        estimate=row["estimate"],
        simulated=row["simulated"],
        check_answer=check(params.schema) if params.schema else None,
    )


def settings_row(order: RunSpec) -> dict[str, Any]:
    """Everything but what is asked of whom, as it is written down."""
    plan = order.plan
    policy = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(order.policy).items()}
    return {
        "samples": plan.samples,
        "params": {**asdict(plan.params), "stop": list(plan.params.stop)},
        "order": plan.order,
        "order_seed": plan.order_seed,
        "budget": None if order.budget is None else format(order.budget, "f"),
        "policy": policy,
        "retry_unknown": order.retry_unknown,
        "adaptive": order.adaptive,
    }


def scenario_row(scenario: Scenario) -> dict[str, Any]:
    """The scenario as it is written down."""
    return {
        "scenario_id": scenario.scenario_id,
        "prompt": scenario.prompt,
        "system": scenario.system,
        "followups": list(scenario.followups),
        "dimensions": dict(scenario.dimensions),
        "template": scenario.template,
    }


def model_row(model: Model, provider: Provider) -> dict[str, Any]:
    """The model with everything that its answers are billed at, the provider's default costs included."""
    fallback = pricing.default_rates(provider)
    return {**model.to_row(), "default_costs": fallback.to_row() if fallback else None}


def _at_stored_costs(providers: Mapping[str, Provider], models: Sequence[Mapping[str, Any]]) -> dict[str, Provider]:
    """The providers of a stored run, with the default costs that were in force when it was started."""
    result: dict[str, Provider] = {}
    for row in models:
        rates = Price.from_row(row.get("default_costs") or {})
        result[row["provider"]] = replace(
            providers[row["provider"]],
            default_cost_input_per_million=rates.cost_input_per_million,
            default_cost_output_per_million=rates.cost_output_per_million,
        )
    return result


def _scenario(row: Mapping[str, Any]) -> Scenario:
    return Scenario(**{**row, "followups": tuple(row["followups"])})


def conversation_of(order: RunSpec, run_id: str, row: Mapping[str, Any]) -> Conversation:
    """A probe as far as it had come. An answer that is not as the schema asks does not count, but for what it cost."""
    turns, failures, probe = row["turns"], row["failures"], order.plan.probe(row["position"])
    kept = turns[:-1] if len(turns) == len(probe.scenario.prompts) and not _is_right(order, turns[-1]) else turns
    wasted = [billed["cost"] for billed in (*failures, *turns[len(kept) :])]
    costs = [billed["cost"] for billed in (*turns, *failures)]
    counted = [*turns, *(failure["usage"] for failure in failures)]
    return Conversation(
        probe=probe,
        probe_id=events.probe_id(run_id, row["position"]),
        answers=[turn["response"] for turn in kept],
        turn_attempts={int(turn): int(count) for turn, count in row["attempts"].items()},
        maybe_billed=row["maybe_billed"],
        tokens={name: sum(tokens[name] or 0 for tokens in counted) for name in TOKENS} if counted else {},
        cost=None if None in costs else pricing.total(costs),
        wasted=pricing.total(wasted),
        sources={billed["cost_source"] for billed in (*turns, *failures)},
        latency_s=sum(turn["latency_s"] or 0.0 for turn in turns),
        queued_s=row["queued_s"] or 0.0,
        started_at=row["started_at"],
        finish_reason=turns[-1]["finish_reason"] if turns else None,
        model_version=turns[-1]["model_version"] if turns else None,
    )


def _is_right(order: RunSpec, turn: Mapping[str, Any]) -> bool:
    if order.check_answer is not None:
        try:
            order.check_answer(turn["response"])
        except ValueError:
            return False
    return True


def lost_outcome(row: Mapping[str, Any]) -> Event:
    """The outcome of an attempt whose process died before it could write one."""
    return events.outcome(
        **{**row, "turn_answered": None},
        error_code=Code.UNKNOWN,
        error_message="The process ended while this was on its way; it may have been billed.",
        maybe_billed=True,
    )
