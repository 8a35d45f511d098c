"""Estimate the cost of a plan from the answers stored in this catalog."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache, partial
from math import inf
from typing import Any

from llmkit.limiter.pace import Limits
from llmkit.limiter.time_left import seconds_left
from llmkit.money.estimate_table import Estimate
from llmkit.money.estimates import ModelEstimate, Workload, estimate_model
from llmkit.money.history import HISTORY_LIMIT, History, Observation
from llmkit.money.price_changes import price_changes
from llmkit.money.service_tiers import at_host, at_tier
from llmkit.providers.wires import Wire, answer_limit, asked_tier, wire_for
from llmkit.records import BATCH_TIER, STANDARD_TIER, DatedPrice, Model, Params, Price, Request, Usage
from llmkit.runs.plan import Plan, asked, cacheable, with_options
from llmkit.runs.prefixes import BYTES_PER_TOKEN, Beginning
from llmkit.runs.spec import RunSpec
from llmkit.runs.targets import Target
from llmkit.store import Store, past

USUAL_EFFORT = "medium"
"""Assumed for models that reason by default and state no effort."""
_REASONS_IF_ASKED = ("anthropic_messages",)
"""Wires whose models reason only on request."""
CACHE_UNIT = 128 * BYTES_PER_TOKEN
"""Automatic caches, which need no marks, keep beginnings in multiples of this many bytes."""
LONGEST = 24 * 366
"""The most hours ahead for which price changes are considered."""
MOST = 20_000
"""The most stored answers read for a history."""


class PastAnswers:
    """The stored answers as a :class:`~llmkit.money.history.History`, reread only after something was written.

    Rehearsals and real runs have separate histories, and so has each kind of run (such as an internal task).
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._kept: dict[tuple[str, bool], tuple[Mapping[str, int], History]] = {}

    def history(self, kind: str, simulated: bool) -> History:
        """The history for a run of that kind."""
        sizes = self.store.journal.sizes()
        read, history = self._kept.get((kind, simulated), ({}, History()))
        if read != sizes:
            rows = self.store.read(
                lambda c: past.answers(c, kind=kind, simulated=simulated, per_template=HISTORY_LIMIT, most=MOST)
            )
            history = History(map(_observation, rows))
            self._kept[kind, simulated] = (sizes, history)
        return history


def estimate_spec(
    spec: RunSpec,
    requests: Mapping[str, Request],
    history: History,
    prices: Mapping[str, Sequence[DatedPrice]],
    at: datetime,
) -> Estimate:
    """The estimate of what a run still has to ask. Models in batches cost their batch price and take the longest that
    their provider promises. ``prices`` are price histories by reference: changes expected during the run raise
    ``high``.
    """
    plan, reused, to_ask = spec.plan, spec.reused, spec.asked
    templates = {scenario.template for scenario in plan.scenarios}
    template = templates.pop() if len(templates) == 1 else None
    models: list[ModelEstimate] = []
    again: dict[str, tuple[Model, partial[ModelEstimate]]] = {}
    for index, config in enumerate(plan.configs):
        model, request = config.model, requests[config.label]
        target = Target.of(model, spec.providers[model.provider])
        tier = asked_tier(request.body or {}) or STANDARD_TIER
        tier = BATCH_TIER if model.reference in spec.batched else tier
        if index not in to_ask:
            models.append(ModelEstimate.nothing(model, config.label))
            continue
        left, answered = reused.left(plan, index)
        schema = None if "schema" in request.left_out else _canonical(config.params.schema)
        workload = Workload.of(
            [with_options(asked(plan.scenarios[number], config)) for number in left],
            samples=1 if reused.answers else plan.samples,
            answered=answered,
            template=_alike(template, schema),
            extra_chars=len(schema or ""),
        )
        estimate = partial(
            _at_price,
            tier=tier,
            base_url=target.provider.base_url,
            workload=workload,
            history=history,
            effort=_effort(model, config.params, request, target.wire.name),
            max_tokens=answer_limit(request),
            fallback=target.fallback if tier == STANDARD_TIER else None,
            config=config.label,
            caching=None if tier == BATCH_TIER else _caching(plan, index, left, answered, workload, target.wire),
        )
        models.append(estimate(model, at))
        again[config.label] = model, estimate
    hours = _hours(spec, models)
    for place, first in enumerate(models):
        if first.config in again:
            model, estimate = again[first.config]
            ends = at + timedelta(hours=min(hours[model.provider], LONGEST))
            for moment, price in price_changes(model.price, prices.get(model.priced_as, ()), at, ends):
                models[place] = models[place].up_to(estimate(replace(model, price=price), moment))
    models = [replace(each, left_out=requests[each.config].left_out) for each in models]
    pending = 0 if spec.asks else len(plan) - len(reused.whole)
    return Estimate.of(models, hours, reused=reused.count, saved=reused.cost, batched=spec.batched, pending=pending)


def _at_price(model: Model, at: datetime, *, tier: str, base_url: str, **how: Any) -> ModelEstimate:
    """The estimate for a model at a service tier and an address, with the price in force at ``at``."""
    price = at_tier(model.full_price, at_host(model.full_price, tier, base_url))
    return estimate_model(replace(model, price=price or Price()), at=at, **how)


def _caching(
    plan: Plan, index: int, left: Sequence[int], answered: Sequence[int], workload: Workload, wire: Wire
) -> tuple[float, float] | None:
    """``caching`` of :func:`estimate_model`: what a configuration has in shared beginnings; ``None`` where it is up to
    chance what is cached: in another order than ``cache``, at a provider that caches without marks.
    """
    if not plan.blocks and not wire.caches_what_is_marked:
        return None
    config, uses, extra = plan.configs[index], Counter[Beginning](), dict[Beginning, int]()
    for number, reused in zip(left, answered, strict=True):
        turns = len(plan.scenarios[number].prompts) - reused
        shorter = 0
        for beginning in plan.worth_caching(config, plan.block_of(number * len(plan.configs) * plan.samples)):
            size = beginning.size if wire.caches_what_is_marked else beginning.size // CACHE_UNIT * CACHE_UNIT
            uses[beginning] += turns * workload.samples
            extra[beginning], shorter = size - shorter, size
    if not uses and (wire.caches_what_is_marked or workload.chars.max() < cacheable(config.model)):
        return 0.0, 0.0
    whole, first = float(workload.chars.sum()) * workload.samples, 1 / plan.repeats(config)
    read = sum(extra[each] * (count - first) for each, count in uses.items()) / whole
    written = sum(extra.values()) * first / whole if wire.caches_what_is_marked else inf
    return read, written


def _hours(spec: RunSpec, models: Sequence[ModelEstimate]) -> dict[str, float]:
    """The expected hours of each provider: the longer of its live requests within its limits, and of its batches at the
    longest that it promises for each turn.
    """
    providers, batched = spec.providers, spec.batched
    turns = max(len(scenario.prompts) for scenario in spec.plan.scenarios)
    hours = dict.fromkeys((model.provider for model in models), 0.0)
    asked = batched & {model.model for model in models if model.requests}
    for model in spec.plan.models:
        if model.reference in asked and (api := wire_for(providers[model.provider], model).batches()) is not None:
            hours[model.provider] = max(hours[model.provider], float(api.hours * turns))
    for name in hours:
        own = [model for model in models if model.provider == name and model.model not in batched]
        requests = sum(model.requests for model in own) or 1
        seconds = seconds_left(
            requests,
            Limits.of(providers[name]),
            latency=sum(model.requests * model.seconds for model in own) / requests,
            tokens=sum(model.requests * model.tokens for model in own) / requests,
        )
        hours[name] = max(hours[name], seconds / 3600 if own else 0.0)
    return hours


def _effort(model: Model, params: Params, request: Request, wire: str) -> str | None:
    """The requested reasoning effort, else the model's default, else the usual one if it reasons unasked."""
    effort = None if "reasoning_effort" in request.left_out else params.reasoning_effort
    usual = USUAL_EFFORT if model.api_config.get("reasoning") and wire not in _REASONS_IF_ASKED else None
    return effort or model.api_config.get("default_reasoning_effort") or usual


def _observation(row: Mapping[str, Any]) -> Observation:
    schema = _read_canonical(row["schema"])
    told = {name: value for name, value in row.items() if name != "schema"}
    told |= {"template": _alike(row["template"], schema), "usage": Usage.from_row(row["usage"])}
    return Observation(**told | {"input_chars": row["input_chars"] + len(schema or "")})


def _alike(template: str | None, schema: str | None) -> str | None:
    """The key of answers of similar length: their template, and their schema if they have one."""
    return template if schema is None else f"{template or ''} {schema}"


def _canonical(schema: Mapping[str, Any] | None) -> str | None:
    return None if schema is None else json.dumps(schema, sort_keys=True, separators=(",", ":"))


@lru_cache(maxsize=64)
def _read_canonical(text: str | None) -> str | None:
    return None if text is None else _canonical(json.loads(text))
