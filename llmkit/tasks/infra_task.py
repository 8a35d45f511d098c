"""How internal tasks go on: rounds of prompts to one model, each round an infra run, and the handle to wait for them.

A task is a generator without I/O: it yields the prompts of a round, is sent their answers, and returns its result.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from operator import itemgetter
from typing import Any, Protocol, TypeVar

import anyio.to_thread

from llmkit.analysis import Run
from llmkit.catalog.infra_models import Choice
from llmkit.catalog.lookup import CatalogReader
from llmkit.errors import Code, LlmkitError
from llmkit.providers.wires.schemas import asks_for_json
from llmkit.records import Model, Scenario
from llmkit.records.checks.json_text import parse_json
from llmkit.runs import Handle, Progress, RunHandle, background

log = logging.getLogger("llmkit.tasks")

T = TypeVar("T")

Money = Decimal | int | str | float


class Start(Protocol):
    """Starts a run of kind ``infra``; raises as ``kit.run`` does."""

    def __call__(
        self,
        scenarios: Sequence[Scenario],
        model: Model,
        *,
        name: str,
        schema: Mapping[str, Any] | None,
        budget: Money | None,
    ) -> RunHandle[Run]:
        """Start it; returns at once."""


@dataclass(frozen=True, slots=True)
class Infra:
    """What internal tasks need of a kit, and those that it has begun."""

    catalog: CatalogReader
    start: Start
    handles: list[InfraHandle[Any]] = field(default_factory=list)

    def stop(self) -> None:
        """Let no task ask anything more."""
        for handle in self.handles:
            if not handle.done():
                handle.cancel()

    def wait(self) -> None:
        """Return when every task has ended, well or not; each has, soon after its runs have."""
        for handle in self.handles:
            handle.wait(background.PATIENCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one prompt: a text (perhaps one that is not as asked), or a sentence on why there is none.

    ``cost`` is US dollars, ``None`` when unknown.
    """

    run_id: str | None = None
    text: str | None = None
    problem: str = ""
    code: Code = Code.UNKNOWN
    cost: float | None = 0.0

    def entries(self, name: str) -> list[Any]:
        """The list of that name in its JSON, or the list that it is.

        Raises:
            ValueError: there is none; with a sentence.
        """
        if self.text is None:
            raise ValueError(self.problem)
        value = parse_json(self.text)
        entries = value.get(name) if isinstance(value, Mapping) else value
        if not isinstance(entries, list):
            raise ValueError(f"The answer has no list of {name}.")
        return entries


Rounds = Generator[list[str], list[Answer], T]
"""A task: yields the prompts of a round, is sent their answers in the same order, and returns its result."""


@dataclass(slots=True, kw_only=True)
class Task:
    """The runs of one internal task. ``carries`` are columns for every row of them; ``budget`` is for all together."""

    infra: Infra
    choice: Choice
    name: str
    system: str
    schema: Mapping[str, Any] | None = None
    budget: Money | None = None
    carries: Mapping[str, Any] = field(default_factory=dict)
    runs: list[RunHandle[Run]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    stopped: bool = False

    def begin(self, rounds: Rounds[T]) -> Callable[[], Awaitable[T]]:
        """Start the first round; what is returned carries out the others.

        Raises:
            LlmkitError: nothing was sent, for the reasons of ``kit.run``.
        """
        handle = self._begin(next(rounds))
        return lambda: self._go_on(rounds, handle)

    async def _go_on(self, rounds: Rounds[T], handle: RunHandle[Run]) -> T:
        answers = await self._answers(handle)
        while True:
            try:
                prompts = rounds.send(answers)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            answers = await self._ask(prompts)

    def _begin(self, prompts: Sequence[str]) -> RunHandle[Run]:
        """Start a run that asks these prompts; returns at once. Not for the background loop."""
        left = self.budget
        if left is not None and self.runs:
            left = Decimal(str(left)) - sum((handle.run.total_cost for handle in self.runs), Decimal(0))
        handle = self.infra.start(
            [self._scenario(prompt) for prompt in prompts],
            self.choice.model,
            name=self.name,
            schema=self.schema if self.choice.takes_schema else None,
            budget=left,
        )
        self.runs.append(handle)
        return handle

    async def _ask(self, prompts: Sequence[str]) -> list[Answer]:
        """Ask in a further run; why it could not be started is the answer to each prompt."""
        if self.stopped:
            return [Answer(problem="It was cancelled.", code=Code.CANCELLED)] * len(prompts)
        try:
            handle = await anyio.to_thread.run_sync(self._begin, prompts)
        except LlmkitError as error:
            return [Answer(problem=str(error), code=error.code)] * len(prompts)
        return await self._answers(handle)

    async def _answers(self, handle: RunHandle[Run]) -> list[Answer]:
        """What came of a run that was begun, in the order of its prompts."""
        run = await handle
        return await anyio.to_thread.run_sync(_read_answers, run)

    def stop(self) -> None:
        """Ask nothing more."""
        self.stopped = True
        for handle in self.runs:
            handle.cancel()

    def _scenario(self, prompt: str) -> Scenario:
        promises = self.schema is None or self.choice.takes_schema
        system = self.system if promises else f"{self.system}\n\n{asks_for_json(self.schema or {})}"
        dimensions = {
            "purpose": self.choice.purpose,
            "configured_model": self.choice.configured,
            "note": self.choice.note,
            **self.carries,
        }
        return Scenario(prompt, system=system, dimensions=dimensions)


class InfraHandle(Handle[T]):
    """An internal task, or several with one result, in the background: awaitable, or ``.result()``.

    ``runs`` are the handles of its runs so far.
    """

    def __init__(self, tasks: Sequence[Task], work: Callable[[], Awaitable[T]]) -> None:
        self._tasks = tasks
        super().__init__(background.start(work), self.cancel)
        tasks[0].infra.handles.append(self)

    @property
    def runs(self) -> list[RunHandle[Run]]:
        """The runs of kind ``infra`` that have been started for it, oldest first."""
        return [run for task in self._tasks for run in task.runs]

    @property
    def progress(self) -> Progress:
        """How far its latest run is."""
        return self._tasks[-1].runs[-1].progress

    def cancel(self) -> None:
        """Ask nothing more; the result is made of what has come."""
        for task in self._tasks:
            task.stop()

    def result(self, timeout: float | None = None) -> T:
        """Wait at most ``timeout`` seconds and return the result; what is amiss with it is said in a warning.

        Raises:
            TimeoutError: it has not ended yet; it goes on.
            LlmkitError: nothing usable came.
        """
        value = super().result(timeout)
        self._warn()
        return value

    def __repr__(self) -> str:
        state = "done" if self.done() else "running"
        models = ", ".join(task.choice.model.reference for task in self._tasks)
        return f"<InfraHandle {self._tasks[0].name!r} {state}, {models}>"

    async def _wait(self) -> T:
        value = await super()._wait()
        self._warn()
        return value

    def _warn(self) -> None:
        """Said to whoever takes the result, once: a warning of the background thread would get lost in a notebook."""
        for task in self._tasks:
            said, task.warnings = task.warnings, []
            for text in said:
                warnings.warn(text, UserWarning, stacklevel=3)


def carry_out(jobs: Sequence[tuple[Task, Rounds[T]]], merge: Callable[[list[T]], T] = itemgetter(0)) -> InfraHandle[T]:
    """Start the first round of each task and return at once; the others follow in the background. ``merge`` makes one
    result of those of several tasks.

    Raises:
        LlmkitError: one could not be started, for the reasons of ``kit.run``; the others are stopped.
    """
    works: list[Callable[[], Awaitable[T]]] = []
    try:
        works.extend(task.begin(rounds) for task, rounds in jobs)
    except LlmkitError:
        for task, _ in jobs:
            task.stop()
        raise

    async def together() -> T:
        return merge([await work() for work in works])

    return InfraHandle([task for task, _ in jobs], together)


def announce(choice: Choice) -> Choice:
    """Warn when another model than the configured one is going to be asked."""
    if choice.note:
        names = {"provider": choice.model.provider, "model": choice.model.reference}
        log.info("fallback", extra={**names, "purpose": choice.purpose, "configured": choice.configured})
        warnings.warn(choice.note, UserWarning, stacklevel=4)
    return choice


def added(costs: Sequence[float | None]) -> float | None:
    """The sum of costs; unknown when one of them is."""
    return None if None in costs else sum(cost for cost in costs if cost is not None)


def _read_answers(run: Run) -> list[Answer]:
    answers = []
    for row in run.probes.to_dict("records"):
        text, code = row["response"], row["error_code"]
        failed = row["error_message"] if isinstance(row["error_message"], str) else f"It was {row['status']}."
        cost = row["estimated_cost"]
        answers.append(
            Answer(
                run_id=run.id,
                text=text if isinstance(text, str) and text.strip() else None,
                problem="" if row["status"] == "ok" else failed,
                code=Code(code) if isinstance(code, str) else Code.CANCELLED,
                cost=None if cost is None or cost != cost else float(cost),
            )
        )
    return answers
