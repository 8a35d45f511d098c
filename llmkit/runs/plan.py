"""The plan of a run: scenarios × models × samples, the order of asking, and the call of each turn. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from numbers import Integral, Real
from typing import Any, Literal, get_args

from llmkit.errors import ValidationError, refuse
from llmkit.money.service_tiers import askable
from llmkit.providers.wires import answer_limit, answers_asked
from llmkit.records import Call, Message, Model, Params, Request, Scenario
from llmkit.records.checks import numbers, shapes, texts
from llmkit.records.typed_questions import Order

AskingOrder = Literal["interleaved", "sequential"]

MOST_PROBES = 10_000_000
"""In one run. More would not fit into a notebook's memory, and is surely a slip."""

Check = Callable[[str], Any]
"""Parses an answer; raises ``ValueError`` with a sentence when that is not as asked."""

MESSAGE_OVERHEAD = 16  # tokens that a chat template adds around a message; no provider's is larger


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A model with the way it is asked: a level of the grid. ``system`` takes the place of the scenarios'."""

    model: Model
    label: str
    params: Params
    system: str | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """One scenario × one configuration × one sample; ``position`` is its place in the product, ``sample`` counts from
    1, and ``scenario`` is as this configuration is asked."""

    position: int
    scenario: Scenario
    config: Configuration
    sample: int

    @property
    def model(self) -> Model:
        """The model that is asked."""
        return self.config.model


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run asks. Probes are numbered scenario by scenario, configuration by configuration, sample by sample."""

    scenarios: tuple[Scenario, ...]
    configs: tuple[Configuration, ...]
    samples: int
    params: Params
    order: AskingOrder = "interleaved"
    order_seed: int = 0

    def __len__(self) -> int:
        return len(self.scenarios) * len(self.configs) * self.samples

    @property
    def models(self) -> tuple[Model, ...]:
        """The models of the run, each once."""
        return tuple({config.model.reference: config.model for config in self.configs}.values())

    def probe(self, position: int) -> Probe:
        """The probe at a position."""
        rest, sample = divmod(position, self.samples)
        place, which = divmod(rest, len(self.configs))
        scenario, config = asked(self.scenarios[place], self.configs[which]), self.configs[which]
        if scenario.question is not None:
            order = self.order_of(position)
            config = replace(config, params=replace(config.params, schema=scenario.question.schema(order)))
            scenario = with_options(scenario, order)
        return Probe(position, scenario, config, sample + 1)

    def scenario_of(self, position: int) -> Scenario:
        """The scenario of the probe at a position, as it was given."""
        return self.scenarios[position // (self.samples * len(self.configs))]

    def order_of(self, position: int) -> Order:
        """The order in which the probe at a position is shown the options of its question."""
        question = self.scenario_of(position).question
        return question.order(f"{self.order_seed}:{position}") if question is not None else ()

    def check_of(self, probe: Probe, shared: Check | None) -> Check | None:
        """What parses the last answer of a probe: its question, or what all others of the run ``shared``."""
        question = probe.scenario.question
        return shared if question is None else partial(question.read, order=self.order_of(probe.position))

    def model_of(self, position: int) -> Model:
        """The model that the probe at a position asks."""
        return self.configs[position // self.samples % len(self.configs)].model

    def asking_order(self) -> Iterator[int]:
        """Every position once.

        ``interleaved`` asks all scenarios once before it asks any a second time, in an order shuffled anew for each
        sample and with the configurations shuffled within each scenario, so that a drift at a provider is not
        confounded with a scenario, a configuration or a sample. The same ``order_seed`` gives the same order.
        ``sequential`` is by position.
        """
        if self.order == "sequential":
            yield from range(len(self))
            return
        generator = random.Random(self.order_seed)
        for sample in range(self.samples):
            for scenario in generator.sample(range(len(self.scenarios)), len(self.scenarios)):
                for config in generator.sample(range(len(self.configs)), len(self.configs)):
                    yield (scenario * len(self.configs) + config) * self.samples + sample

    def call(self, probe: Probe, answers: Sequence[str] = (), model: Model | None = None) -> Call:
        """The call of a probe's next turn, given the answers so far; to ``model`` when that is how it is asked now.

        With a seed, each sample gets a seed of its own (seed, seed + 1, …): equal seeds would give equal answers.
        """
        params = probe.config.params
        if params.seed is not None:
            params = replace(params, seed=params.seed + probe.sample - 1)
        prompts = probe.scenario.prompts
        call = Call(
            model=model or probe.model,
            messages=(*probe.scenario.messages, Message("user", prompts[0])),
            system=probe.scenario.system,
            params=params,
        )
        for answer, prompt in zip(answers, prompts[1:], strict=False):
            call = call.answered(answer, prompt)
        return call


def asked(scenario: Scenario, config: Configuration) -> Scenario:
    """The scenario as a configuration is asked it."""
    return scenario if config.system is None else replace(scenario, system=config.system)


def with_options(scenario: Scenario, order: Order | None = None) -> Scenario:
    """The scenario with what its question adds to the prompt, by default in the order given."""
    if (question := scenario.question) is None:
        return scenario
    text = question.text(tuple(range(len(question.rows or question.options))) if order is None else order)
    return replace(scenario, prompt=f"{scenario.prompt}\n\n{text}".rstrip())


def most_input_tokens(call: Call, request: Request) -> int:
    """No tokenizer makes more tokens of a call's request than this: a token is at least one byte of what is sent."""
    return len(request.content) + MESSAGE_OVERHEAD * (len(call.messages) + 1)


def most_output_tokens(request: Request, model: Model) -> int | None:
    """The most tokens that can be billed as output; ``None`` when neither the request nor the model sets a limit."""
    limits = [limit for limit in (answer_limit(request), model.max_output_tokens) if limit is not None]
    return answers_asked(request) * min(limits) if limits else None


def make_params(
    *,
    temperature: float | None = None,
    max_tokens: int | None = None,
    seed: int | None = None,
    schema: Mapping[str, Any] | None = None,
    service_tier: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> Params:
    """The parameters of a run, checked. ``options`` holds the rarer ones by their names in :class:`Params`.

    Raises:
        ValidationError: an unknown option, or a value out of range.
    """
    names = {field.name for field in fields(Params)} - {"temperature", "max_tokens", "seed", "schema", "service_tier"}
    values = shapes.mapping(options, "options", "{'top_p': 0.9}")
    if unknown := sorted(set(values) - names):
        raise ValidationError(
            f"Unknown option{'s' if len(unknown) > 1 else ''} {', '.join(map(repr, unknown))}. "
            f"options takes {', '.join(sorted(names))}.",
            field="options",
        )
    values["stop"] = _stops(values.get("stop"))
    values["extra_body"] = _body(values.get("extra_body"))
    values["top_p"] = _between("top_p", values.get("top_p"), 0, 1)
    params = Params(
        temperature=_between("temperature", temperature, 0, 2),
        max_tokens=None if max_tokens is None else numbers.whole(max_tokens, "max_tokens", 1),
        seed=None if seed is None else numbers.whole(seed, "seed", 0),
        schema=schema,
        service_tier=shapes.optional_string(service_tier, "service_tier"),
        **values,
    )
    shapes.optional_string(params.reasoning_effort, "reasoning_effort")
    texts.flag(params.strict, "strict")
    return params


def _stops(value: Any) -> tuple[str, ...]:
    """One text or several that end an answer; white space alone is one too."""
    if value is None:
        return ()
    texts = (
        (value,) if isinstance(value, str) else shapes.several(value, "stop", "a non-empty string or a list of them")
    )
    if not all(isinstance(text, str) and text for text in texts):
        raise ValidationError("stop must be a non-empty string or a list of them.", field="stop")
    return tuple(shapes.string(text, "stop") for text in texts)


def _body(value: Any) -> dict[str, Any]:
    """What is merged into the request, as JSON holds it."""
    body: dict[str, Any] = texts.json_value(
        shapes.mapping(value, "extra_body", "{'service_tier': 'flex'}"), "extra_body"
    )
    return body


def check_tiers(configs: Sequence[Configuration]) -> None:
    """Refuse a service tier that a model has no price for, or that no request can ask for.

    Raises:
        ValidationError: one configuration asks for such a tier.
        RunRefused: several do.
    """
    problems = []
    for config in configs:
        tier, names = config.params.service_tier, askable(config.model.full_price)
        if tier is not None and tier not in names and not {*tier.split("+")} <= {*names}:
            problems.append(
                ValidationError(
                    f"{config.label} has no service tier {tier!r} to ask for. It has: {', '.join(names)}; leave "
                    "service_tier out to have the provider choose.",
                    field="service_tier",
                )
            )
    refuse(problems)


def check_order(order: str) -> None:
    """Refuse an order of asking that makes no sense.

    Raises:
        ValidationError: it is none.
    """
    if order not in get_args(AskingOrder):
        raise ValidationError(f"order must be one of {', '.join(get_args(AskingOrder))}, not {order!r}.", field="order")


def check_samples(samples: int, pairs: int) -> int:
    """How often each of so many pairs of a scenario and a model is asked.

    Raises:
        ValidationError: not a whole number of at least 1, or more probes than one run may have.
    """
    count = numbers.whole(samples, "samples", 1)
    if count * pairs > MOST_PROBES:
        raise ValidationError(
            f"{count:,} samples of {pairs:,} scenarios × models are more than the {MOST_PROBES:,} probes that one run "
            "may have: ask less at a time.",
            field="samples",
        )
    return count


def _between(name: str, value: Any, low: float, high: float) -> float | None:
    if value is None:
        return None
    number = float(value) if not isinstance(value, bool) and isinstance(value, Real) else None
    if number is None or not low <= number <= high:
        raise ValidationError(f"{name} must be a number from {low} to {high}, not {value!r}.", field=name)
    return int(number) if isinstance(value, Integral) else number
