"""From what a user asks for to a checked order: what can be refused is refused here, before anything is sent."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from llmkit.catalog import rules
from llmkit.errors import (
    LlmkitError,
    MissingApiKey,
    ModelDeprecated,
    RunRefused,
    ValidationError,
)
from llmkit.providers.transport import RetryPolicy
from llmkit.providers.wires import wire_for
from llmkit.records import Model, Provider, Request, Scenario
from llmkit.records.checks import shapes, texts
from llmkit.runs import RunEvent
from llmkit.runs.plan import AskingOrder, Plan, check_order, check_samples, make_params
from llmkit.scenarios import Prompts, as_scenarios
from llmkit.store import CatalogState
from llmkit.tasks.structured import Schema, json_schema

RUN_OPTIONS = ("adaptive", "order_seed")
"""What ``options`` may hold besides the rarer parameters of a request."""

OPTIONS_EXAMPLE = "{'top_p': 0.9}"
ON_EVENT = "every RunEvent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What somebody asks of ``kit.run``, once it is known to be of the right kind.

    Raises:
        ValidationError: an argument that is not.
    """

    prompts: Prompts
    models: str | Model | Sequence[str | Model] | None = None
    samples: int = 1
    kind: str = "probe"
    name: str | None = None
    system: str | None = None
    followups: str | Sequence[str] | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    budget: Decimal | int | str | float | None = None
    order: AskingOrder = "interleaved"
    on_event: Callable[[RunEvent], None] | None = None
    retry: RetryPolicy | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    schema: Schema | None = None

    def __post_init__(self) -> None:
        shapes.optional_string(self.name, "name")
        shapes.function(self.on_event, "on_event", ON_EVENT)
        shapes.instance(self.retry, RetryPolicy, "retry", "llmkit.RetryPolicy(max_attempts=2)")
        shapes.mapping(self.options, "options", OPTIONS_EXAMPLE)

    @property
    def adaptive(self) -> bool:
        """Whether to look for the best concurrency below the limit."""
        return texts.flag(self.options.get("adaptive", False), "adaptive")

    @property
    def order_seed(self) -> int | None:
        """The seed of the order of asking, if one was given."""
        seed = self.options.get("order_seed")
        return None if seed is None else shapes.whole(seed, "order_seed")


def make_plan(asked: Asked, state: CatalogState, has_key: Callable[[Provider], bool]) -> Plan:
    """The plan of what is asked; without ``order_seed`` among the options it is shuffled by a new one.

    Raises:
        LlmkitError: prompts, models or parameters that make no sense or cannot be used.
    """
    check_order(asked.order)
    params = make_params(
        temperature=asked.temperature,
        max_tokens=asked.max_tokens,
        seed=asked.seed,
        schema=json_schema(asked.schema),
        options={name: value for name, value in asked.options.items() if name not in RUN_OPTIONS},
    )
    order_seed = asked.order_seed
    scenarios = make_scenarios(asked.prompts, asked.system, asked.followups)
    models = choose_models(asked.models, state, has_key)
    return Plan(
        scenarios=scenarios,
        models=models,
        samples=check_samples(asked.samples, len(scenarios) * len(models)),
        params=params,
        order=asked.order,
        order_seed=random.randrange(2**32) if order_seed is None else order_seed,
    )


_MODELS = "references such as 'openai:gpt-6-luna', one or a list of them"


def choose_models(
    models: str | Model | Sequence[str | Model] | None,
    state: CatalogState,
    has_key: Callable[[Provider], bool],
) -> tuple[Model, ...]:
    """The models of a run, in the order given; ``None``: the default of every enabled provider with a key.

    Raises:
        ModelNotFound, ModelDeprecated, MissingApiKey, ValidationError: the one problem that there is.
        RunRefused: several of them.
    """
    if models is None:
        return _defaults(state, has_key)
    given = [models] if isinstance(models, str | Model) else shapes.several(models, "models", _MODELS)
    if not given:
        raise ValidationError("models is empty: name at least one, or leave it out for the defaults.", field="models")
    problems: list[LlmkitError] = []
    chosen: dict[str, Model] = {}
    for entry in given:
        reference = entry.reference if isinstance(entry, Model) else entry
        try:
            model = rules.find_model(state, reference)
            check_usable(model, state.providers[model.provider], has_key)
        except LlmkitError as problem:
            problems.append(problem)
            continue
        if model.reference in chosen:
            problems.append(
                ValidationError(f"{model.reference} is named twice: use samples= to ask it more often.", field="models")
            )
        chosen[model.reference] = model
    refuse(problems)
    return tuple(chosen.values())


def check_usable(model: Model, provider: Provider, has_key: Callable[[Provider], bool]) -> None:
    """Refuse a model that a new run may not use.

    Raises:
        ModelDeprecated: it is deprecated, or its provider is disabled.
        MissingApiKey: its provider's key is not set.
    """
    if not model.is_active:
        raise ModelDeprecated(
            f"{model.reference} is deprecated. Choose another, or bring it back with "
            f"kit.catalog.reactivate_model({model.reference!r})."
        )
    if not provider.is_enabled:
        raise ModelDeprecated(
            f"{provider.display_name} is disabled. Enable it with "
            f"kit.catalog.update_provider({provider.name!r}, is_enabled=True)."
        )
    if not has_key(provider):
        raise MissingApiKey(
            f"{model.reference} needs a key: set the environment variable {provider.api_key_env}, "
            f"or type it for this session with kit.ask_key({provider.name!r})."
        )


def refuse(problems: Sequence[LlmkitError]) -> None:
    """Raise the only problem as it is, and several as one."""
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise RunRefused(problems)


def _defaults(state: CatalogState, has_key: Callable[[Provider], bool]) -> tuple[Model, ...]:
    enabled = [provider for provider in state.providers.values() if provider.is_enabled]
    usable = {provider.name for provider in enabled if has_key(provider)}
    defaults = tuple(
        model for model in state.models.values() if model.is_default and model.is_active and model.provider in usable
    )
    if not defaults:
        for model in state.models.values():
            if model.provider in usable and model.is_active:
                name = state.providers[model.provider].display_name
                raise ValidationError(
                    f"{name} can be asked, but has no default model. Name models=, or choose one with "
                    f"kit.catalog.set_default_model({model.reference!r}).",
                    field="models",
                )
        variables = ", ".join(sorted({p.api_key_env for p in enabled if p.api_key_env}))
        raise MissingApiKey(
            "No provider is available. Set at least one of these environment variables and try again: "
            f"{variables}. Or rehearse without keys: llmkit.open(simulate=True)."
        )
    return defaults


def make_scenarios(prompts: Prompts, system: str | None, followups: str | Sequence[str] | None) -> tuple[Scenario, ...]:
    """Scenarios from whatever was given; ``system`` and ``followups`` go to those that have none of their own.

    Raises:
        ValidationError: there is nothing to ask, or something that is not text.
    """
    shared_system, shared = shapes.optional_string(system, "system"), shapes.strings(followups, "followups")
    scenarios = as_scenarios(prompts)
    return tuple(
        replace(scenario, system=scenario.system or shared_system, followups=scenario.followups or shared)
        for scenario in scenarios
    )


def first_requests(plan: Plan, providers: Mapping[str, Provider]) -> dict[str, Request]:
    """Each model's first request, by reference: what a model does not take and how long its answers get is known now.

    Raises:
        ValidationError: ``strict`` is set and a parameter would be left out.
        RunRefused: so for several models.
    """
    problems: list[LlmkitError] = []
    requests: dict[str, Request] = {}
    for index, model in enumerate(plan.models):
        call = plan.call(plan.probe(index * plan.samples))
        try:
            requests[model.reference] = wire_for(providers[model.provider], model).build(call)
        except ValidationError as problem:
            problems.append(problem)
    refuse(problems)
    return requests


def warn_of_left_out(requests: Mapping[str, Request]) -> None:
    """One warning for each model that does not take a parameter."""
    for reference, request in requests.items():
        if request.left_out:
            names = ", ".join(request.left_out)
            warnings.warn(f"{reference} does not take {names}: asked without.", UserWarning, stacklevel=4)
