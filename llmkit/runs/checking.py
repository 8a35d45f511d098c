"""Turn a run request into a checked spec: whatever can be refused is refused here, before anything is sent."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol

from llmkit.catalog import Access, rules
from llmkit.catalog.budget_settings import budgets_of
from llmkit.catalog.price_checks import old_prices
from llmkit.errors import LlmkitError, MissingApiKey, ValidationError, refuse
from llmkit.money.estimate_table import Estimate
from llmkit.money.pricing import default_rates, with_fallback
from llmkit.providers.transport import RetryPolicy
from llmkit.providers.wires import wire_for
from llmkit.records import Model, Provider, Request
from llmkit.records.checks import shapes
from llmkit.records.user_warnings import warn
from llmkit.runs.affordability import (
    balance_warnings,
    budget_warnings,
    check_budget,
    price_warnings,
    project_warnings,
    raised,
    refuse_overdrawn,
)
from llmkit.runs.chosen_models import choose_configs, default_models, refuse_two_systems, request_params, with_shared
from llmkit.runs.estimating import PastAnswers, estimate_spec
from llmkit.runs.modes import batched_models
from llmkit.runs.plan import AskingOrder, Plan, check_samples
from llmkit.runs.request import RunRequest
from llmkit.runs.reuse import NOTHING, check_reuse, reused_answers
from llmkit.runs.spec import RunSpec, changed_models, repriced, settings_row, stored_spec
from llmkit.runs.spending import Spending
from llmkit.runs.stop_rules import check_stop_rule, early_end
from llmkit.scenarios import as_scenarios
from llmkit.store import CatalogState

SchemaCheck = Callable[[Mapping[str, Any]], Callable[[str], Any]]
"""Makes a parser of answers from a JSON schema; the parser raises ``ValueError`` with a sentence."""


class Reach(Protocol):
    """What checks need to know about access to the providers."""

    simulating: bool
    is_remote: bool
    """Whether other processes send the requests; if one dies, its requests in flight are lost."""

    def has_key(self, provider: Provider) -> bool:
        """Whether the provider can be asked."""

    def check(self, providers: Sequence[Provider]) -> None:
        """Refuse keys that cannot be sent, and addresses that were not approved."""


@dataclass(frozen=True, slots=True)
class Checker:
    """Checks requests against the catalog, the keys, the budget and the balances."""

    reach: Reach
    past: PastAnswers
    spending: Spending
    schema_check: SchemaCheck
    said: set[str] = field(default_factory=set)
    """The once-per-session warnings already given."""

    def spec(self, request: RunRequest, state: CatalogState, plan: Plan | None = None) -> RunSpec:
        """The checked spec of a request, from its ``plan`` if one exists; warns where models or parameters differ from
        those requested, prices are old, or money may run out. Refuses all problems together.
        """
        asks = request.asks
        if plan is None:
            plan = self._plan(request, state, asks=asks)
        if request.stop_when is not None:
            check_stop_rule(request.stop_when, plan)
        providers = {model.provider: state.providers[model.provider] for model in plan.models}
        if asks:
            self.reach.check(list(providers.values()))
        requests, spec = typical_requests(plan, providers), self._unpriced(request, plan, providers)
        access = self._access(state, asks=False)
        retired = [obstacle.sentence for model in plan.models for obstacle in access.obstacles(model)]
        _warn([*retired, *borrowed_price_warnings(plan, providers)])
        if asks and not self.reach.simulating:
            _warn(self._old_price_warnings(plan, state))
        _warn(left_out_warnings(requests))
        shared = budgets_of(state)
        standings = self.spending.standings(shared, simulated=self.reach.simulating)
        budget = check_budget(spec, requests, request.budget, standings)
        if not self.reach.simulating and not request.overdraw:
            refuse_overdrawn(spec)
        estimate = self._estimate(spec, requests, state)
        _warn(project_warnings(request.project, shared))
        if asks:
            _warn(budget_warnings(estimate, budget))
        if asks and not self.reach.simulating:
            _warn(balance_warnings(estimate, providers))
        return replace(
            spec,
            budget=budget,
            shared_budgets=shared,
            estimate=estimate.to_row(),
            retry_unknown=self._retries_unknown(spec.policy, budget),
        )

    def estimate(self, request: RunRequest, state: CatalogState, plan: Plan | None = None) -> Estimate:
        """The estimated cost of a request, from its ``plan`` if one exists. Models that it names need no key."""
        if plan is None:  # an empty plan is falsy
            plan = self._plan(request, state, asks=request.asks and request.models is None)
        requests = typical_requests(plan, state.providers)
        return self._estimate(self._unpriced(request, plan, state.providers, only_count=True), requests, state)

    def resumed(
        self, row: Mapping[str, Any], state: CatalogState, budget: Any, spent: Decimal
    ) -> tuple[RunSpec, dict[str, Any]]:
        """The spec of a stored run that can be resumed here, and its changes: the new ``budget``, unless ``None``, and
        the rows of ``models`` whose prices have changed.
        """
        before = self.stored(row, state)
        spec, changes = repriced(before, state.models, state.providers), {}
        if models := changed_models(before, spec):
            _warn(price_warnings(models, before.plan))
            changes["models"] = models
        if (rule := row["settings"].get("stop_when")) is not None and early_end(row) is None:
            warn(
                f"Run {row['id']} was to stop when {rule}. Resumed, it asks whatever is left. To stop early, start it "
                "again with kit.run(..., reuse=True, stop_when=...), which takes the answers that are here."
            )
        if budget is not None:
            spec = replace(spec, budget=raised(budget, spent))
            changes["budget"] = settings_row(spec)["budget"]
        return spec, changes

    def stored(self, row: Mapping[str, Any], state: CatalogState) -> RunSpec:
        """The spec of a stored run, from its row in ``runs``, if it can be resumed here."""
        if bool(row["simulated"]) is not self.reach.simulating:
            raise ValidationError(
                f"Run {row['id']} was {'simulated' if row['simulated'] else 'real'}: open the catalog with "
                f"llmkit.open(..., simulate={bool(row['simulated'])}) to resume it."
            )
        asked = dict.fromkeys(model["provider"] for model in row["models"])
        providers = [rules.find_provider(state, name) for name in asked]
        spec = stored_spec(row, state.providers, self.schema_check)
        if len(spec.plan) != row["n_probes"]:
            raise ValidationError(
                f"Run {row['id']} cannot be resumed: lines of its journal are damaged, and only {len(spec.plan):,} of "
                f"its {row['n_probes']:,} probes still have their prompts. kit.doctor() says more."
            )
        missing = [provider for provider in providers if not self.reach.has_key(provider)]
        if missing:
            variables = ", ".join(str(provider.api_key_env) for provider in missing)
            names = ", ".join(provider.name for provider in missing)
            raise MissingApiKey(f"Set the environment variables {variables} first: the run asks {names}.")
        self.reach.check(providers)
        retry_unknown = spec.retry_unknown or self._retries_unknown(spec.policy, spec.budget)
        return replace(spec, shared_budgets=budgets_of(state), retry_unknown=retry_unknown)

    def _plan(self, request: RunRequest, state: CatalogState, *, asks: bool = True) -> Plan:
        access = self._access(state, asks=asks)
        if request.models is None and asks and not self.reach.simulating:
            request = replace(request, models=self._reachable(default_models(access), state))
        return make_plan(request, access)

    def _reachable(self, models: Sequence[Model], state: CatalogState) -> Sequence[Model]:
        """The models but those whose keys or addresses are refused, which a warning names; all, if that leaves none."""
        refused = dict[str, LlmkitError]()
        for model in models:
            try:
                self.reach.check([state.providers[model.provider]])
            except LlmkitError as problem:
                refused[model.reference] = problem
        if left := [model for model in models if model.reference not in refused]:
            _warn(f"{reference} is left out. {problem}" for reference, problem in refused.items())
        return left or models

    def _access(self, state: CatalogState, *, asks: bool = True) -> Access:
        return Access(state, self.reach.has_key if asks else lambda _: True, datetime.now(UTC).date())

    def _old_price_warnings(self, plan: Plan, state: CatalogState) -> Iterator[str]:
        """One warning per session if prices of the plan's models were read long ago."""
        words = old_prices(state, [model.priced_as for model in plan.models], datetime.now(UTC))
        if words and "old prices" not in self.said:
            self.said.add("old prices")
            yield words

    def _retries_unknown(self, policy: RetryPolicy, budget: Decimal | None) -> bool:
        """Whether to retry requests that may have been billed; under a budget they count at their worst case."""
        if policy.retry_unknown is not None:
            return policy.retry_unknown
        return budget is None or self.reach.is_remote

    def _unpriced(
        self, request: RunRequest, plan: Plan, providers: Mapping[str, Provider], *, only_count: bool = False
    ) -> RunSpec:
        """The spec of a request, as far as it depends on no money; ``only_count`` as in :func:`reused_answers`."""
        batched = batched_models(plan, providers, request.mode)
        check = self.schema_check(plan.params.schema) if plan.params.schema else None
        reused, within = NOTHING, check_reuse(request.reuse, request.reuse_within)
        if request.reuse:
            how: dict[str, Any] = {"simulated": self.reach.simulating, "within": within, "only_count": only_count}
            reused = reused_answers(self.past.store, plan, providers, check=check, **how)
        return RunSpec(
            plan=plan,
            providers=providers,
            policy=request.retry or RetryPolicy(),
            adaptive=request.adaptive,
            name=request.name,
            kind=request.kind,
            project=request.project,
            replicates=request.replicates,
            simulated=self.reach.simulating,
            check_answer=check,
            on_event=request.on_event,
            stop_when=request.stop_when,
            batched=batched,
            poll_s=request.poll_s,
            reused=reused,
            asks=request.asks,
        )

    def _estimate(self, spec: RunSpec, requests: Mapping[str, Request], state: CatalogState) -> Estimate:
        history = self.past.history(spec.kind, self.reach.simulating)
        return estimate_spec(spec, requests, history, state.prices, datetime.now(UTC))


def make_plan(request: RunRequest, access: Access) -> Plan:
    """The plan of a request; without the option ``order_seed`` it gets a random one."""
    shapes.one_of(request.order, AskingOrder, "order")
    params = request_params(request, {})
    order_seed = request.order_seed
    prompts = as_scenarios(request.prompts)
    scenarios = with_shared(prompts, request.system, request.followups)
    configs = choose_configs(request, params, access)
    refuse_two_systems(prompts, configs)
    if request.schema is not None and prompts and all(each.question for each in prompts):
        raise ValidationError(
            "Questions of llmkit.question are answered by their type, and there is no other prompt here that schema= "
            "could be for: leave it out, or ask them as strings or scenarios.",
            field="schema",
        )
    return Plan(
        scenarios=scenarios,
        configs=configs,
        samples=check_samples(request.samples, len(scenarios) * len(configs)),
        params=params,
        order=request.order,
        order_seed=random.randrange(2**32) if order_seed is None else order_seed,
        option_seed=order_seed or 0,
    )


def typical_requests(plan: Plan, providers: Mapping[str, Provider]) -> dict[str, Request]:
    """A typical request of each configuration, by label: it shows the limit on answers, and which parameters are left
    out, which ``strict`` refuses.
    """
    problems: list[ValidationError] = []
    requests: dict[str, Request] = {}
    for index, config in enumerate(plan.configs):
        call = plan.typical_call(index)
        try:
            requests[config.label] = wire_for(providers[config.model.provider], config.model).build(call)
        except ValidationError as problem:
            problems.append(problem)
    refuse(problems)
    return requests


def borrowed_price_warnings(plan: Plan, providers: Mapping[str, Provider]) -> Iterator[str]:
    """One warning per dated snapshot billed at its family's price, and per model at its provider's default costs."""
    for model in plan.models:
        if model.priced_as != model.reference:
            yield (
                f"{model.reference} is not in the catalog: it is billed at the price of {model.priced_as}. "
                f"kit.catalog.add_model({model.reference!r}, ...) gives it one of its own."
            )
        elif with_fallback(model.price, default_rates(providers[model.provider])) != model.price:
            yield (
                f"{model.reference} has no price: it is billed at the default costs of {model.provider}. "
                f"kit.catalog.update_model({model.reference!r}, ...) gives it one of its own."
            )


def left_out_warnings(requests: Mapping[str, Request]) -> Iterator[str]:
    """One warning per configuration whose model does not take a parameter."""
    for label, request in requests.items():
        if request.left_out:
            yield f"{label} does not accept {', '.join(request.left_out)}: left out of its requests."


def _warn(sentences: Iterable[str]) -> None:
    for sentence in sentences:
        warn(sentence)
