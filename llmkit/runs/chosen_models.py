"""The scenarios and the configurations of a run, chosen and checked from its request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from llmkit.catalog import Access, rules
from llmkit.errors import LlmkitError, MissingApiKey, ValidationError, refuse
from llmkit.money.service_tiers import askable
from llmkit.records import Config, Model, Params, Scenario
from llmkit.records.checks import shapes
from llmkit.runs.parameters import make_params
from llmkit.runs.plan import Configuration
from llmkit.runs.request import RUN_OPTIONS, RunRequest


def request_params(request: RunRequest, own: Mapping[str, Any]) -> Params:
    """The parameters of a run, overridden by a configuration's ``own``."""
    names = ("temperature", "max_tokens", "seed", "service_tier")
    direct = {name: own.get(name, getattr(request, name)) for name in names}
    rarer = {name: value for name, value in own.items() if name not in names}
    others = (*names, "system") if own else RUN_OPTIONS
    return make_params(direct, request.schema, {**request.request_options, **rarer}, others)


def refuse_two_systems(scenarios: Iterable[Scenario], configs: Iterable[Configuration]) -> None:
    """Refuse system prompts in both scenarios and configurations: the configurations' would silently replace them."""
    with_system = next((config for config in configs if config.system is not None), None)
    if with_system is None:
        return
    own = next((scenario for scenario in scenarios if scenario.system), None)
    if own is not None:
        raise ValidationError(
            f"The configuration {with_system.label!r} and the scenario {own.scenario_id} both have a system prompt, "
            "and only one can be sent: leave one of them out.",
            field="models",
        )


_MODELS = "references such as 'openai:gpt-6-luna' or llmkit.Config(...), one or a list of them"


def each_model(models: Any) -> tuple[Any, ...]:
    """The entries of ``models=``, of which there may be one or several."""
    return (models,) if isinstance(models, str | Model | Config) else shapes.several(models, "models", _MODELS)


def choose_configs(request: RunRequest, params: Params, access: Access) -> tuple[Configuration, ...]:
    """The configurations of a run, in order; without ``models``, the default of every enabled provider with a key.
    Plain models get the run's ``params``.
    """
    models = default_models(access) if request.models is None else request.models
    entries = each_model(models)
    if not entries:
        raise ValidationError("models is empty: name at least one, or leave it out for the defaults.", field="models")
    problems: list[LlmkitError] = []
    chosen: dict[str, Configuration] = {}
    for entry in entries:
        config = entry if isinstance(entry, Config) else None
        reference = config.ref if config else entry.reference if isinstance(entry, Model) else entry
        try:
            model = rules.askable_model(access.state, reference)
            if (obstacle := access.blocking(model)) is not None:
                raise obstacle.error()
            made = (
                _configuration(config, model, request)
                if config
                else Configuration(model=model, label=model.reference, params=params)
            )
        except LlmkitError as problem:
            problems.append(problem)
            continue
        if made.label in chosen:
            problems.append(_named_twice(made.label, model))
        chosen[made.label] = made
    refuse(problems)
    check_configs(chosen.values())
    return tuple(chosen.values())


def check_configs(configs: Iterable[Configuration]) -> None:
    """Refuse a service tier that has no price or that requests cannot ask for, and ``max_tokens`` above the model's
    own limit, which its provider would refuse request by request.
    """
    refuse([problem for config in configs for problem in _unfit(config)])


def _unfit(config: Configuration) -> Iterator[ValidationError]:
    tier, names = config.params.service_tier, askable(config.model.full_price)
    if tier is not None and tier not in names and not {*tier.split("+")} <= {*names}:
        yield ValidationError(
            f"{config.label} cannot be asked at the service tier {tier!r}, only at: {', '.join(names)}. Leave out "
            "service_tier to let the provider choose.",
            field="service_tier",
        )
    most, longest = config.params.max_tokens, config.model.max_output_tokens
    if most is not None and longest is not None and most > longest:
        yield ValidationError(
            f"{config.label} allows {longest:,} tokens per answer, not {most:,}: lower max_tokens, or leave it out.",
            field="max_tokens",
        )


def _configuration(config: Config, model: Model, request: RunRequest) -> Configuration:
    own = dict(config.how)
    try:
        system = shapes.optional_string(own.pop("system", None), "system")
        return Configuration(
            model=model, label=config.label, params=request_params(request, own), system=system or None
        )
    except ValidationError as error:
        raise ValidationError(f"Config {config.label!r}: {error}", field=error.field) from None


def _named_twice(label: str, model: Model) -> ValidationError:
    remedy = "use samples= to ask it more often, or llmkit.Config(..., label=...) to ask it in several ways"
    if label != model.reference:
        remedy = "give every Config a label of its own"
    return ValidationError(f"{label} is named twice: {remedy}.", field="models")


def default_models(access: Access) -> tuple[Model, ...]:
    """The default models that can be asked, of which there must be one."""
    state = access.state
    active = [model for model in state.models.values() if access.blocking(model) is None]
    defaults = tuple(model for model in active if model.is_default)
    if not defaults:
        if active:
            raise ValidationError(
                f"{state.providers[active[0].provider].display_name} can be asked, but has no default model. Name "
                f"models=, or choose one with kit.catalog.set_default_model({active[0].reference!r}).",
                field="models",
            )
        enabled = [provider for provider in state.providers.values() if provider.is_enabled]
        variables = ", ".join(sorted({p.api_key_env for p in enabled if p.api_key_env}))
        raise MissingApiKey(
            "No provider is available. Set at least one of these environment variables and try again: "
            f"{variables}. Or rehearse without keys: llmkit.open(simulate=True)."
        )
    return defaults


def with_shared(
    scenarios: Sequence[Scenario], system: str | None, followups: str | Sequence[str] | None
) -> tuple[Scenario, ...]:
    """The scenarios, with ``system`` and ``followups`` for those without their own."""
    shared_system, shared = shapes.optional_string(system, "system"), shapes.strings(followups, "followups")
    names = {name.casefold() for scenario in scenarios for name in scenario.dimensions}
    if "answer" in names and any(scenario.question is not None for scenario in scenarios):
        raise ValidationError(
            "Your column 'answer' has the name that the answers to questions need: rename it.",
            field="prompts",
        )
    if not (shared_system or shared):
        return tuple(scenarios)
    return tuple(
        replace(scenario, system=scenario.system or shared_system, followups=scenario.followups or shared)
        for scenario in scenarios
    )
