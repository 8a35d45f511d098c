"""The plan of a run: scenarios × configurations × samples, their order, and the call of each turn. Pure."""

from __future__ import annotations

import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

from llmkit.errors import ValidationError
from llmkit.money.pricing import caching_pays
from llmkit.providers.wires import answer_limit, answers_asked
from llmkit.records import Call, Message, Model, Params, Request, Scenario
from llmkit.records.checks import numbers
from llmkit.records.typed_questions import Order
from llmkit.runs.parameters import MAX_SEED
from llmkit.runs.prefixes import BYTES_PER_TOKEN, Beginning, Block, Parts, divided

AskingOrder = Literal["interleaved", "sequential", "cache"]

MOST_PROBES = 10_000_000
"""Per run. More would not fit into a notebook's memory, and is surely a mistake."""

Check = Callable[[str], Any]
"""Parses an answer; raises ``ValueError`` with a sentence when it does not have the required form."""

CACHE_MIN_TOKENS = 1_024  # for models that state no minimum: that of OpenAI and most others

MESSAGE_OVERHEAD = 16  # tokens that a chat template adds around a message; no provider adds more


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A model with its parameters: a level of the grid. ``system`` replaces the scenarios' system prompt."""

    model: Model
    label: str
    params: Params
    system: str | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """One scenario × one configuration × one sample. ``position`` is its index in the product, ``sample`` counts from
    1, and ``scenario`` has the configuration's system prompt and the options in the order shown."""

    position: int
    scenario: Scenario
    config: Configuration
    sample: int

    @property
    def model(self) -> Model:
        """The configuration's model."""
        return self.config.model


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The probes of a run, numbered scenario by scenario, configuration by configuration, sample by sample."""

    scenarios: tuple[Scenario, ...]
    configs: tuple[Configuration, ...]
    samples: int
    params: Params
    order: AskingOrder = "interleaved"
    order_seed: int = 0
    option_seed: int | None = None
    """Seed for shuffling options; ``None`` in runs of earlier versions, which used ``order_seed`` and position."""
    blocks: tuple[Block, ...] = field(init=False, default=())
    """For the order ``cache``: scenarios that are asked together."""
    _block_of: Mapping[int, int] = field(init=False, default_factory=dict)
    _repeats: Counter[tuple[str, str | None]] = field(init=False, default_factory=Counter)
    _question_repeats: tuple[int, ...] = field(init=False, default=())
    """For each scenario, how many earlier ones ask the same question with options."""
    _typical: int = field(init=False, default=0)  # the first scenario with a question, whose requests have a schema too

    def __post_init__(self) -> None:
        seen: defaultdict[Parts, Iterator[int]] = defaultdict(itertools.count)
        repeats_of = (0 if each.question is None else next(seen[parts_of(each)]) for each in self.scenarios)
        object.__setattr__(self, "_question_repeats", tuple(repeats_of))
        questions = (place for place, scenario in enumerate(self.scenarios) if scenario.question is not None)
        object.__setattr__(self, "_typical", next(questions, 0))
        if self.order == "cache":
            repeats = Counter((config.model.reference, config.system) for config in self.configs)
            blocks = tuple(divide(self, self.samples * max(repeats.values())))
            places = {scenario: place for place, block in enumerate(blocks) for scenario in block.scenarios}
            object.__setattr__(self, "blocks", blocks)
            object.__setattr__(self, "_block_of", places)
            object.__setattr__(self, "_repeats", repeats)

    def __len__(self) -> int:
        return len(self.scenarios) * len(self.configs) * self.samples

    @property
    def models(self) -> tuple[Model, ...]:
        """The models of the run, each once."""
        return tuple({config.model.reference: config.model for config in self.configs}.values())

    def probe(self, position: int) -> Probe:
        """The probe at a position."""
        place, config, sample = self._place_of(position)
        scenario = asked(self.scenarios[place], config)
        if scenario.question is not None:
            order = self.order_of(position)
            config = replace(config, params=replace(config.params, schema=scenario.question.schema(order)))
            scenario = with_options(scenario, order)
        return Probe(position, scenario, config, sample + 1)

    def _place_of(self, position: int) -> tuple[int, Configuration, int]:
        """The scenario's index, the configuration, and the sample (from 0) of the probe at a position."""
        rest, sample = divmod(position, self.samples)
        place, which = divmod(rest, len(self.configs))
        return place, self.configs[which], sample

    def order_of(self, position: int) -> Order:
        """The order of the options in the question at a position. It depends on what is asked, not on the position, so
        that a run with more scenarios, models or samples sends the same requests and can reuse their answers.
        """
        place, config, sample = self._place_of(position)
        scenario = self.scenarios[place]
        if scenario.question is None:
            return ()
        if self.option_seed is None:
            return scenario.question.order(f"{self.order_seed}:{position}")
        about = f"{self.option_seed} {config.model.reference} {self._question_repeats[place]} {sample}"
        return scenario.question.order(b"\n".join((about.encode(), *parts_of(asked(scenario, config)))))

    def question_text_of(self, position: int) -> str:
        """What follows the prompt at a position: its question with the options in their order, or nothing."""
        question = self.scenarios[self._place_of(position)[0]].question
        return "" if question is None else question.text(self.order_of(position))

    def check_of(self, position: int, shared: Check | None) -> Check | None:
        """The parser of the last answer at a position: its question's, else the run's ``shared`` one."""
        question = self.scenarios[self._place_of(position)[0]].question
        return shared if question is None else partial(question.read, order=self.order_of(position))

    def turns_of(self, position: int) -> int:
        """The number of turns of the probe at a position."""
        return len(self.scenarios[self._place_of(position)[0]].prompts)

    def model_of(self, position: int) -> Model:
        """The model of the probe at a position."""
        return self._place_of(position)[1].model

    def asking_order(self) -> Iterator[int]:
        """Every position once, in the order of asking. The same ``order_seed`` gives the same order.

        ``interleaved`` asks all scenarios once before any a second time, reshuffled for each sample and with the
        configurations shuffled within each scenario, so that drift at a provider is not confounded with scenario,
        configuration or sample. ``cache`` does the same within each block of scenarios that share a beginning, block
        by block. ``sequential`` goes by position.
        """
        if self.order == "sequential":
            yield from range(len(self))
            return
        generator = random.Random(self.order_seed)
        for scenarios in [block.scenarios for block in self.blocks] or [tuple(range(len(self.scenarios)))]:
            for sample in range(self.samples):
                for scenario in generator.sample(scenarios, len(scenarios)):
                    for config in generator.sample(range(len(self.configs)), len(self.configs)):
                        yield (scenario * len(self.configs) + config) * self.samples + sample

    def block_of(self, position: int) -> Block | None:
        """The block of the probe at a position; ``None`` unless the order is ``cache``."""
        place = self._block_of.get(self._place_of(position)[0])
        return None if place is None else self.blocks[place]

    def worth_caching(self, config: Configuration, block: Block | None) -> list[Beginning]:
        """The beginnings shared in a block that are worth caching for a configuration: long enough for the provider's
        cache, and used often enough that reads save more than the write costs.
        """
        own = _size(config.system or "")
        repeats = self.samples * self.repeats(config)
        return [
            replace(beginning, size=own + beginning.size)
            for beginning in (() if block is None else block.shared)
            if own + beginning.size >= cacheable(config.model)
            and caching_pays(config.model.price, beginning.scenarios * repeats)
        ]

    def repeats(self, config: Configuration) -> int:
        """The number of configurations with the same model and system prompt."""
        return self._repeats[config.model.reference, config.system]

    def warmed_by(self, position: int) -> tuple[Hashable, ...]:
        """The keys of a probe's beginnings worth caching, shortest first; the first probe with each warms the cache."""
        config = self._place_of(position)[1]
        beginnings = self.worth_caching(config, self.block_of(position))
        return tuple((beginning, config.model.reference, config.system) for beginning in beginnings)

    def alike(self, probe: Probe) -> Hashable:
        """Equal for probes whose calls differ only in their texts; ``None`` if its question makes a call different."""
        config = probe.config
        if probe.scenario.question is not None:
            return None
        return config.label, None if config.params.seed is None else probe.sample

    def typical_call(self, config: int) -> Call:
        """A first call of the configuration at a place, with all kinds of parameters that any of its calls has."""
        return self.call(self.probe((self._typical * len(self.configs) + config) * self.samples))

    def call(
        self, probe: Probe, answers: Sequence[str] = (), model: Model | None = None, *, in_batches: bool = False
    ) -> Call:
        """The call of a probe's next turn, given the answers so far; ``model`` overrides the probe's own.

        Beginnings worth caching are marked, except ``in_batches``, where none waits for another to fill the cache.

        With a seed, each sample gets its own (seed, seed + 1, …): equal seeds would give equal answers.
        """
        params = probe.config.params
        if params.seed is not None:
            params = replace(params, seed=(params.seed + probe.sample - 1) % (MAX_SEED + 1))
        prompts = probe.scenario.prompts
        call = Call(
            model=model or probe.model,
            messages=(*probe.scenario.messages, Message("user", prompts[0])),
            system=probe.scenario.system,
            params=params,
            marks=() if in_batches else self._marks(probe),
        )
        for answer, prompt in zip(answers, prompts[1:], strict=False):
            call = call.answered(answer, prompt)
        return call

    def _marks(self, probe: Probe) -> tuple[int, ...]:
        if not self.blocks:
            return ()
        text = b"".join(parts_of(probe.scenario))
        beginnings = self.worth_caching(probe.config, self.block_of(probe.position))
        return tuple(len(text[: each.size].decode(errors="ignore")) for each in beginnings)


def divide(plan: Plan, repeats: int) -> list[Block]:
    """The scenarios of a plan, each asked ``repeats`` times, in blocks that share a beginning long enough for at least
    one provider's cache.
    """
    return divided(
        [parts_of(scenario) for scenario in plan.scenarios],
        random.Random(plan.order_seed),
        repeats=repeats,
        least=min(cacheable(config.model) for config in plan.configs),
        before=max(_size(config.system or "") for config in plan.configs),
    )


def parts_of(scenario: Scenario) -> Parts:
    """The texts of a scenario that a model reads before its first answer."""
    texts = (scenario.system or "", *(message.content for message in scenario.messages), scenario.prompt)
    return tuple(text.encode(errors="replace") for text in texts)


def _size(text: str) -> int:
    return len(text.encode(errors="replace"))


def cacheable(model: Model) -> int:
    """The length in bytes of the shortest beginning that the model's provider caches."""
    return BYTES_PER_TOKEN * int(model.api_config.get("cache_min_tokens") or CACHE_MIN_TOKENS)


def asked(scenario: Scenario, config: Configuration) -> Scenario:
    """The scenario with the system prompt of a configuration."""
    return scenario if config.system is None else replace(scenario, system=config.system)


def with_options(scenario: Scenario, order: Order | None = None) -> Scenario:
    """The scenario with its question's text in the prompt; without ``order``, options stay in their original order."""
    if (question := scenario.question) is None:
        return scenario
    text = question.text(tuple(range(len(question.rows or question.options))) if order is None else order)
    return replace(scenario, prompt=f"{scenario.prompt}\n\n{text}".rstrip())


def most_input_tokens(call: Call, request: Request) -> int:
    """An upper bound on the input tokens of a call's request, for any tokenizer: a token covers at least one byte."""
    return len(request.content) + MESSAGE_OVERHEAD * (len(call.messages) + 1)


def most_output_tokens(request: Request, model: Model) -> int | None:
    """The most tokens that can be billed as output; ``None`` when neither the request nor the model limits them."""
    limits = [limit for limit in (answer_limit(request), model.max_output_tokens) if limit is not None]
    return answers_asked(request) * min(limits) if limits else None


def check_samples(samples: int, pairs: int) -> int:
    """The number of samples of each of ``pairs`` scenario × configuration pairs, checked."""
    count = numbers.whole(samples, "samples", 1)
    if count * pairs > MOST_PROBES:
        raise ValidationError(
            f"{count:,} samples of {pairs:,} scenarios × models are more than the {MOST_PROBES:,} probes that one run "
            "may have: ask less at a time.",
            field="samples",
        )
    return count
