"""Scenarios from a description: requested, checked, repaired once and topped up once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pandas as pd

from llmkit.analysis import Run
from llmkit.catalog.infra_models import choose
from llmkit.errors import Code, RequestFailed, ValidationError
from llmkit.money.pricing import total
from llmkit.records import Scenario
from llmkit.records.checks import numbers
from llmkit.records.checks.texts import counted, one_line
from llmkit.scenarios import scenarios_to_frame
from llmkit.tasks.documents import tokens
from llmkit.tasks.expansion_spec import Dimensions, ExpansionSpec, read_spec
from llmkit.tasks.infra_task import Answer, Infra, InfraHandle, Money, Rounds, Task, announce, carry_out

PURPOSE = "scenario_expansion"
MOST = 10_000
MOST_AT_ONCE = 40
"""The most scenarios per request: longer answers are cut off and repeat themselves."""
_TOKENS_EACH = 150

Slots = Sequence[int]

_SYSTEM = (
    "You write scenarios for a study that asks language models questions. Each scenario is one prompt, complete in "
    "itself, that will be sent word for word: no placeholders, no numbering, no remarks. All are different from each "
    'other in substance. Answer with one JSON object and nothing else: {"scenarios": [...]}, each entry with the keys '
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """How many scenarios were requested, usable and dropped. ``problems``: sentences on why answers were unusable."""

    asked_for: int
    usable: int
    duplicates: int = 0
    invalid: int = 0
    requests: int = 0
    problems: tuple[str, ...] = ()

    def __str__(self) -> str:
        counts = {"repeated": self.duplicates, "invalid": self.invalid}
        dropped = [f"{number} {word}" for word, number in counts.items() if number]
        summary = f"{self.usable} of {self.asked_for} scenarios are usable, after {counted(self.requests, 'request')}"
        summary += f"; dropped: {', '.join(dropped)}." if dropped else "."
        return " ".join((summary, *dict.fromkeys(self.problems)))


class Expansion(list[Scenario]):
    """A list of scenarios written by a model, with the runs that produced it.

    ``run`` is the first infra run (``runs``: all of them), ``account`` says what was dropped. Pass it to ``kit.run``,
    or keep, edit and drop scenarios in ``table()`` first.
    """

    def __init__(self, scenarios: Iterable[Scenario], *, runs: Sequence[Run], account: Account) -> None:
        super().__init__(scenarios)
        self.runs = tuple(runs)
        self.account = account

    @property
    def run(self) -> Run:
        """The first of the infra runs that produced it."""
        return self.runs[0]

    @property
    def total_cost(self) -> Decimal:
        """The cost of all requests for it, in US dollars."""
        return total(run.total_cost for run in self.runs)

    @property
    def df(self) -> pd.DataFrame:
        """One row per scenario, with a column for each dimension; ``kit.run`` accepts it too."""
        return scenarios_to_frame(self)

    def table(self) -> Any:
        """A widget to keep, edit and drop scenarios; then ``kit.run(table.scenarios)``."""
        from llmkit.widgets.scenario_table import ScenarioTable  # ipywidgets is slow to import

        return ScenarioTable(self)


def expand(
    infra: Infra, description: str, n: int, dimensions: Dimensions, *, strict: bool, budget: Money | None
) -> InfraHandle[Expansion]:
    """Start an expansion; see ``Kit.expand``."""
    if not isinstance(description, str) or not description.strip():
        raise ValidationError("Describe what the scenarios are about.", field="description")
    n = numbers.whole(n, "n", 1, MOST)
    spec = read_spec(description.strip(), n, dimensions)
    context = tokens(description) + 2 * min(n, MOST_AT_ONCE) * _TOKENS_EACH
    choice = choose(infra.catalog.access(), PURPOSE, context=context, strict=strict)
    task = Task(
        infra=infra,
        choice=announce(choice),
        name=f"expand: {one_line(description, 60)}",
        system=_SYSTEM + spec.keys,
        schema=spec.schema,
        budget=budget,
        carries={"task": "expand"},
    )
    return carry_out([(task, _rounds(task, spec, n))])


def _rounds(task: Task, spec: ExpansionSpec, n: int) -> Rounds[Expansion]:
    """Request all scenarios, repeat requests whose answer was unusable, then request the missing ones once."""
    writing = _Writing(spec)
    parts = _parts(range(n))
    unusable = writing.take(parts, (yield [spec.prompt(part, i, len(parts)) for i, part in enumerate(parts)]))
    if unusable:
        repairs = [spec.repair(part, answer.text, problem) for part, answer, problem in unusable]
        writing.take([part for part, *_ in unusable], (yield repairs))
    if parts := _parts([slot for slot in range(n) if slot not in writing.scenarios]) if writing.scenarios else []:
        existing = [scenario.prompt for scenario in writing.scenarios.values()]
        writing.take(parts, (yield [spec.prompt(part, i, len(parts), existing) for i, part in enumerate(parts)]))
    account = writing.account(n)
    if not writing.scenarios:
        raise RequestFailed(
            f"{task.choice.model.reference} wrote no usable scenario: {account} "
            f"Its answers are in kit.load({task.runs[0].run_id!r}).",
            code=writing.code,
        )
    if account.usable < n:
        task.warnings.append(str(account))
    in_order = (writing.scenarios[slot] for slot in sorted(writing.scenarios))
    numbered = [replace(scenario, scenario_id=f"s{place:04d}") for place, scenario in enumerate(in_order, 1)]
    return Expansion(numbered, runs=[handle.run for handle in task.runs], account=account)


@dataclass(slots=True)
class _Writing:
    """The usable scenarios so far, by slot, and ``counts`` of the others, by their field of the ``Account``."""

    spec: ExpansionSpec
    scenarios: dict[int, Scenario] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    code: Code = Code.INVALID_RESPONSE
    _seen: set[str] = field(default_factory=set)

    def account(self, n: int) -> Account:
        """The account of ``n`` requested scenarios."""
        return Account(asked_for=n, usable=len(self.scenarios), problems=tuple(self.problems), **self.counts)

    def take(self, parts: Sequence[Slots], answers: Sequence[Answer]) -> list[tuple[Slots, Answer, str]]:
        """Record usable scenarios; return the parts without any, each with its answer and the problem."""
        problems = [self._take(part, answer) for part, answer in zip(parts, answers, strict=True)]
        return [each for each in zip(parts, answers, problems, strict=True) if each[2]]

    def _take(self, slots: Slots, answer: Answer) -> str:
        self.counts["requests"] += answer.run_id is not None
        try:
            entries = answer.entries("scenarios")
        except ValueError as error:
            self.code = answer.code if answer.text is None else Code.INVALID_RESPONSE
            self.problems.append(str(error))
            return str(error)
        before = len(self.scenarios)
        for entry in entries:
            self._take_entry(slots, {"prompt": entry} if isinstance(entry, str) else entry)
        return "" if len(self.scenarios) > before else "It holds no scenario that is new and complete."

    def _take_entry(self, slots: Slots, entry: Any) -> None:
        prompt = entry.get("prompt") if isinstance(entry, Mapping) else None
        if not isinstance(prompt, str) or not (key := _compared(prompt)):
            self.counts["invalid"] += 1
            return
        if key in self._seen:
            self.counts["duplicates"] += 1
            return
        slot = self._slot(slots, entry.get("id") if self.spec.conditions else None)
        if slot is None:
            return  # more than requested
        dimensions = self.spec.dimensions(slot, entry)
        if dimensions is None:
            self.counts["invalid"] += 1
            return
        self._seen.add(key)
        self.scenarios[slot] = Scenario(prompt.strip(), dimensions=dimensions)

    def _slot(self, slots: Slots, number: Any) -> int | None:
        """The slot of an entry: the one it numbers, or the next open one."""
        place = int(number) - 1 if str(number).strip().isdecimal() else None
        if place is not None and 0 <= place < len(slots) and slots[place] not in self.scenarios:
            return slots[place]
        return next((slot for slot in slots if slot not in self.scenarios), None) if place is None else None


def _parts(slots: Slots) -> list[Slots]:
    return [slots[start : start + MOST_AT_ONCE] for start in range(0, len(slots), MOST_AT_ONCE)]


def _compared(text: str) -> str:
    """The key by which prompts count as equal: their words, without case, spaces and punctuation."""
    return " ".join(re.findall(r"\w+", text.casefold()))
