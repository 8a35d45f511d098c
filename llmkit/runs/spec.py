"""The checked spec of a run, and its rows in the journal and the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any

from llmkit.money import pricing
from llmkit.providers.transport import RetryPolicy
from llmkit.records import Model, Params, Provider, Question, Rates, Scenario, SharedBudget
from llmkit.runs.plan import Configuration, Plan
from llmkit.runs.progress import RunEvent
from llmkit.runs.reuse import NOTHING, Reused
from llmkit.runs.stop_rules import StopRule


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """What to run: the plan and all of its settings.

    ``check_answer`` parses the last answer of each probe without a question of its own; it raises ``ValueError`` with a
    sentence when the answer does not have the required form.
    """

    plan: Plan
    providers: Mapping[str, Provider]
    policy: RetryPolicy
    retry_unknown: bool = False
    adaptive: bool = False
    name: str | None = None
    kind: str = "probe"
    budget: Decimal | None = None
    project: str | None = None
    replicates: str | None = None
    shared_budgets: tuple[SharedBudget, ...] = ()
    estimate: Mapping[str, Any] | None = None
    simulated: bool = False
    check_answer: Callable[[str], Any] | None = None
    on_event: Callable[[RunEvent], None] | None = None
    stop_when: StopRule | None = None
    batched: frozenset[str] = frozenset()
    """References of the models that run in batches."""
    poll_s: float | None = None
    reused: Reused = NOTHING
    asks: bool = True
    """Whether to request the answers that are not reused."""

    @property
    def asked(self) -> list[int]:
        """The places of the configurations with answers to request."""
        places = range(len(self.plan.configs)) if self.asks else ()
        return [place for place in places if any(True for _ in self.reused.positions_left(self.plan, place))]


def stored_spec(
    row: Mapping[str, Any],
    providers: Mapping[str, Provider],
    check: Callable[[Mapping[str, Any]], Callable[[str], Any]],
) -> RunSpec:
    """The spec of a stored run, from its row in ``runs``; ``check`` makes ``check_answer`` from a JSON schema."""
    settings, plan = row["settings"], stored_plan(row)
    budget, schema = settings["budget"], plan.params.schema
    return RunSpec(
        plan=plan,
        providers=_at_stored_costs(providers, noted_models(row)),
        policy=RetryPolicy(**settings["policy"]),
        retry_unknown=settings["retry_unknown"],
        adaptive=settings["adaptive"],
        batched=frozenset(settings.get("batched") or ()),
        poll_s=settings.get("poll_s"),
        name=row["name"],
        kind=row["kind"],
        budget=None if budget is None else Decimal(budget),
        project=settings.get("project"),
        estimate=row["estimate"],
        simulated=row["simulated"],
        check_answer=check(schema) if schema else None,
    )


def stored_plan(row: Mapping[str, Any]) -> Plan:
    """The plan of a stored run, from its row in ``runs`` and its ``scenarios``."""
    settings = row["settings"]
    params = Params(**_with_stops(settings["params"]))
    return Plan(
        scenarios=tuple(_scenario(scenario) for scenario in row["scenarios"]),
        configs=tuple(_config(model, params) for model in noted_models(row)),
        samples=settings["samples"],
        params=params,
        order=settings["order"],
        order_seed=settings["order_seed"],
        option_seed=settings.get("option_seed"),
    )


def noted_models(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The model rows of a stored run, at the prices of its start or its last resumption."""
    changed: dict[str, Any] = {}
    for each in row["changes"]:
        changed |= each["changes"].get("models", {})
    return [{**model, **changed.get(f"{model['provider']}:{model['model_id']}", {})} for model in row["models"]]


def repriced(spec: RunSpec, models: Mapping[str, Model], providers: Mapping[str, Provider]) -> RunSpec:
    """The same run at a catalog's current prices; models that it no longer lists keep their stored prices."""
    listed = ((config, models.get(config.model.reference, config.model)) for config in spec.plan.configs)
    configs = tuple(
        replace(config, model=replace(config.model, price=new.price, batch_discount=new.batch_discount))
        for config, new in listed
    )
    costs = {
        name: _at_costs(provider, pricing.default_rates(providers[name])) for name, provider in spec.providers.items()
    }
    return replace(spec, plan=replace(spec.plan, configs=configs), providers=costs)


def changed_models(before: RunSpec, after: RunSpec) -> dict[str, dict[str, Any]]:
    """The new rows of the models whose rates differ, by reference."""
    rows = (
        [model_row(model, spec.providers[model.provider]) for model in spec.plan.models] for spec in (before, after)
    )
    return {f"{new['provider']}:{new['model_id']}": new for old, new in zip(*rows, strict=True) if old != new}


def settings_row(spec: RunSpec) -> dict[str, Any]:
    """The stored form of all settings but the scenarios and models."""
    plan = spec.plan
    return {
        "samples": plan.samples,
        "params": asdict(plan.params),
        "order": plan.order,
        "order_seed": plan.order_seed,
        "option_seed": plan.option_seed,
        "budget": None if spec.budget is None else format(spec.budget, "f"),
        "project": spec.project,
        "replicates": spec.replicates,
        "policy": asdict(spec.policy),
        "retry_unknown": spec.retry_unknown,
        "adaptive": spec.adaptive,
        "batched": sorted(spec.batched),
        "poll_s": spec.poll_s,
        "stop_when": None if spec.stop_when is None else str(spec.stop_when),
    }


def scenario_row(scenario: Scenario) -> dict[str, Any]:
    """The stored form of a scenario."""
    return {
        "scenario_id": scenario.scenario_id,
        "prompt": scenario.prompt,
        "system": scenario.system,
        "followups": list(scenario.followups),
        "dimensions": dict(scenario.dimensions),
        "template": scenario.template,
        "messages": [asdict(message) for message in scenario.messages] or None,
        "question": scenario.question.to_row() if scenario.question else None,
    }


def model_row(model: Model, provider: Provider) -> dict[str, Any]:
    """The stored form of a model, with all the rates that its answers may be billed at: default costs included."""
    fallback = pricing.default_rates(provider)
    return {**model.to_row(), "default_costs": fallback.to_row() if fallback else None}


def config_row(config: Configuration, provider: Provider, params: Params) -> dict[str, Any]:
    """The stored form of a configuration: its model, label, system prompt, and parameters that differ from ``params``,
    the run's.
    """
    own, shared = asdict(config.params), asdict(params)
    how = {name: value for name, value in own.items() if value != shared[name]}
    return {
        **model_row(config.model, provider),
        "config": config.label,
        "system": config.system,
        "how": how,
    }


def _config(row: Mapping[str, Any], params: Params) -> Configuration:
    """The inverse of :func:`config_row`; an earlier version stored the model alone."""
    model = Model.from_row(row)
    how = _with_stops(row.get("how") or {})
    label = row.get("config") or model.reference
    return Configuration(model=model, label=label, params=replace(params, **how), system=row.get("system"))


def _with_stops(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters read from JSON, with ``stop`` as a tuple again."""
    return {name: tuple(value) if name == "stop" else value for name, value in params.items()}


def _at_stored_costs(providers: Mapping[str, Provider], models: Sequence[Mapping[str, Any]]) -> dict[str, Provider]:
    """The providers of a stored run, with the default costs stored with its models."""
    costs = {row["provider"]: Rates.from_row(row.get("default_costs") or {}) for row in models}
    return {name: _at_costs(providers[name], rates) for name, rates in costs.items()}


def _at_costs(provider: Provider, rates: Rates | None) -> Provider:
    rates = rates or Rates()
    return replace(
        provider,
        default_cost_input_per_million=rates.cost_input_per_million,
        default_cost_output_per_million=rates.cost_output_per_million,
    )


def _scenario(row: Mapping[str, Any]) -> Scenario:
    question = row.get("question")
    return Scenario(**{**row, "question": Question.from_row(question) if question else None})
