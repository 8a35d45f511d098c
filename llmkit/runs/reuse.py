"""Reuse answers that were bought before: look them up by the request that would be sent, turn by turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Literal

import numpy as np

from llmkit.errors import ValidationError
from llmkit.money import pricing
from llmkit.providers.wires import wire_for
from llmkit.providers.wires.body_templates import Questions
from llmkit.records import Provider
from llmkit.records.checks import numbers
from llmkit.runs.conversation import passes
from llmkit.runs.plan import Plan
from llmkit.store import Store, bought, events
from llmkit.store.bought import StoredAnswer

Reuse = bool | Literal["only"]
"""Whether to reuse answers; with ``only``, nothing is sent."""


@dataclass(frozen=True, slots=True)
class Reused:
    """The answers of a plan that need not be requested, by position, in the order of turns."""

    answers: Mapping[int, Sequence[StoredAnswer]]
    whole: frozenset[int]
    """Positions of the probes with all of their answers."""

    def left(self, plan: Plan, config: int) -> tuple[Sequence[int], Sequence[int]]:
        """The numbers of the scenarios left to ask of a configuration, and how many turns of each are reused; one entry
        per sample if the plan reuses any answer.
        """
        count, step = len(plan.scenarios), len(plan.configs) * plan.samples
        if not self.answers:
            return range(count), bytes(count)
        positions = list(self.positions_left(plan, config))
        return [p // step for p in positions], [len(self.answers.get(p, ())) for p in positions]

    def positions_left(self, plan: Plan, config: int) -> Iterator[int]:
        """The positions of a configuration's probes that lack an answer."""
        step = len(plan.configs) * plan.samples
        firsts = range(config * plan.samples, len(plan.scenarios) * step, step)
        return (p for first in firsts for p in range(first, first + plan.samples) if p not in self.whole)

    def versions(self, plan: Plan) -> dict[str, set[str | None]]:
        """The model versions that gave the answers, by model reference."""
        versions: dict[str, set[str | None]] = {}
        for position, answers in self.answers.items():
            served = {answer.model_version for answer in answers}
            versions.setdefault(plan.model_of(position).reference, set()).update(served)
        return versions

    @property
    def count(self) -> int:
        """The number of answers."""
        return sum(map(len, self.answers.values()))

    @property
    def cost(self) -> Decimal:
        """The known amount paid for them, in US dollars."""
        return pricing.total(answer.cost for each in self.answers.values() for answer in each)


NOTHING = Reused({}, frozenset())


def check_reuse(reuse: Any, within: Any) -> timedelta | None:
    """The maximum age of reused answers; ``within`` is in days, ``None`` for any age."""
    if not isinstance(reuse, bool | np.bool_) and not (isinstance(reuse, str) and reuse == "only"):
        raise ValidationError('reuse is True, False or "only".', field="reuse")
    if within is None:
        return None
    if not reuse:
        raise ValidationError(
            "reuse_within limits the age of reused answers: it needs reuse=True.", field="reuse_within"
        )
    days = numbers.amount(within, "reuse_within")
    if days <= 0:
        raise ValidationError("reuse_within is a positive number of days.", field="reuse_within")
    return timedelta(days=float(days))


def reused_answers(
    store: Store,
    plan: Plan,
    providers: Mapping[str, Provider],
    *,
    simulated: bool,
    within: timedelta | None = None,
    check: Callable[[str], Any] | None = None,
    only_count: bool = False,
) -> Reused:
    """The stored answers to a plan: of the same model to the same request (cache marks aside), for the same sample.

    Rehearsals reuse rehearsals only. An answer that ``check`` rejects is requested again. Where a plan repeats a
    request, each repetition gets a different answer. With ``only_count``, texts are not read unless they are needed to
    tell what is reused.
    """
    since = None if within is None else datetime.now(UTC) - within
    answers: dict[int, list[StoredAnswer]] = {}
    whole: set[int] = set()
    going_on: Iterable[int] = range(len(plan))
    bodies = Questions()
    only_count = only_count and check is None and not any(each.question or each.followups for each in plan.scenarios)
    look_up = partial(bought.answers, simulated=simulated, since=since, only_count=only_count)
    while questions := list(_questions(plan, providers, going_on, answers, bodies)):
        going_on = []
        for answer in store.read(partial(look_up, questions=questions)):
            position = answer.position
            is_last = len(answers.get(position, ())) + 1 == plan.turns_of(position)
            if is_last and not passes(answer.response, plan.check_of(position, check)):
                continue
            answers.setdefault(position, []).append(answer)
            (whole.add if is_last else going_on.append)(position)
    return Reused(answers, frozenset(whole))


def _questions(
    plan: Plan,
    providers: Mapping[str, Provider],
    positions: Iterable[int],
    answers: Mapping[int, Sequence[StoredAnswer]],
    bodies: Questions,
) -> Iterator[bought.Question]:
    """The next request of each conversation, given its answers so far."""
    wires = {model.reference: wire_for(providers[model.provider], model) for model in plan.models}
    for position in positions:
        probe, earlier = plan.probe(position), answers.get(position, ())
        model = probe.model.reference
        # marks for a cache change no question: as in batches, which have none
        call = plan.call(probe, [answer.response for answer in earlier], in_batches=True)
        yield bought.Question(
            position=position,
            turn=len(earlier) + 1,
            request_hash=events.body_hash(bodies.json(wires[model], call, plan.alike(probe))),
            model=model,
            sample=probe.sample,
            source=earlier[-1].source if earlier else None,
        )
