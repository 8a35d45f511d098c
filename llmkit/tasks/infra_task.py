"""Internal tasks: rounds of prompts to one model, each round an infra run, and the handle to wait for them.

A task is a generator without I/O: it yields the prompts of a round, is sent their answers, and returns its result.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from math import nan
from operator import itemgetter
from typing import Any, TypeVar

import anyio.to_thread

from llmkit.analysis import Run
from llmkit.catalog import Catalog
from llmkit.catalog.infra_models import Choice
from llmkit.errors import Code, LlmkitError
from llmkit.money.pricing import total
from llmkit.providers.wires.schemas import asks_for_json
from llmkit.records import EXACT, Scenario, columns
from llmkit.records.checks.json_text import parse_json
from llmkit.records.checks.texts import one_line
from llmkit.records.user_warnings import warn
from llmkit.runs import Handle, Progress, RunHandle, RunRequest, background
from llmkit.tasks.structured import json_schema

log = logging.getLogger("llmkit.tasks")

T = TypeVar("T")

Money = Decimal | int | str | float


@dataclass(frozen=True, slots=True)
class Infra:
    """The parts of a kit used by internal tasks, and the handles of those that were started. ``start`` raises like
    ``kit.run``.
    """

    catalog: Catalog
    start: Callable[[RunRequest], RunHandle[Run]]
    handles: list[InfraHandle[Any]] = field(default_factory=list)

    def stop(self) -> None:
        """Cancel all tasks."""
        for handle in self.handles:
            if not handle.done():
                handle.cancel()

    def wait(self) -> None:
        """Wait until every task has ended, which it does soon after its runs."""
        for handle in self.handles:
            handle.wait(background.PATIENCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The outcome of one prompt: a text (which may not match the schema), or a sentence on why there is none.
    ``cost`` is in US dollars, NaN when unknown.
    """

    run_id: str | None = None
    text: str | None = None
    problem: str = ""
    code: Code = Code.UNKNOWN
    cost: float = 0.0

    def entries(self, name: str) -> list[Any]:
        """The list ``name`` in the answer's JSON, or the JSON itself if it is a list; else raises ``ValueError`` with a
        sentence.
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
    """One internal task with its runs. ``carries`` are extra columns of their probes; ``budget`` is for all of them."""

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
        """Start the first round; return a function that carries out the others."""
        handle = self._begin(next(rounds))
        return lambda: self._continue(rounds, handle)

    async def _continue(self, rounds: Rounds[T], handle: RunHandle[Run]) -> T:
        answers = await self._answers(handle)
        while True:
            try:
                prompts = rounds.send(answers)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            answers = await self._ask(prompts)

    def _begin(self, prompts: Sequence[str]) -> RunHandle[Run]:
        """Start a run of these prompts and return at once. Must not be called on the background loop."""
        left = self.budget
        if left is not None and self.runs:
            left = EXACT.subtract(Decimal(str(left)), total(handle.run.total_cost for handle in self.runs))
        request = RunRequest(
            prompts=[self._scenario(prompt) for prompt in prompts],
            models=[self.choice.model],
            kind="infra",
            name=one_line(self.name),
            schema=json_schema(self.schema if self.choice.takes_schema else None),
            budget=left,
        )
        handle = self.infra.start(request)
        self.runs.append(handle)
        return handle

    async def _ask(self, prompts: Sequence[str]) -> list[Answer]:
        """Run another round; if it cannot be started, every prompt gets the reason as its answer."""
        if self.stopped:
            return [Answer(problem="It was cancelled.", code=Code.CANCELLED)] * len(prompts)
        try:
            handle = await anyio.to_thread.run_sync(self._begin, prompts)
        except LlmkitError as error:
            return [Answer(problem=str(error), code=error.code)] * len(prompts)
        return await self._answers(handle)

    async def _answers(self, handle: RunHandle[Run]) -> list[Answer]:
        """The answers of a started run, in the order of its prompts."""
        run = await handle
        return await anyio.to_thread.run_sync(_read_answers, run)

    def stop(self) -> None:
        """Send nothing more."""
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
    """An internal task, or several with a joint result, in the background: ``await`` it, or call ``.result()``;
    either warns of problems with the result. ``runs`` are the handles of its runs so far.
    """

    def __init__(self, tasks: Sequence[Task], work: Callable[[], Awaitable[T]]) -> None:
        self._tasks = tasks
        super().__init__(background.start(work), self.cancel)
        tasks[0].infra.handles.append(self)

    @property
    def runs(self) -> list[RunHandle[Run]]:
        """The ``infra`` runs started for it, oldest first."""
        return [run for task in self._tasks for run in task.runs]

    @property
    def progress(self) -> Progress:
        """The progress of its latest run."""
        return self._tasks[-1].runs[-1].progress

    def cancel(self) -> None:
        """Send nothing more; the result is made from the answers so far."""
        for task in self._tasks:
            task.stop()

    def __repr__(self) -> str:
        state = "done" if self.done() else "running"
        models = ", ".join(task.choice.model.reference for task in self._tasks)
        return f"<InfraHandle {self._tasks[0].name!r} {state}, {models}>"

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        """Warn once, where the result is taken: a warning from the background thread would get lost in a notebook."""
        yield
        for task in self._tasks:
            sentences, task.warnings = task.warnings, []
            for text in sentences:
                warn(text)


def carry_out(jobs: Sequence[tuple[Task, Rounds[T]]], merge: Callable[[list[T]], T] = itemgetter(0)) -> InfraHandle[T]:
    """Start the first round of each task and return at once; the others follow in the background. ``merge`` combines
    the results of several tasks."""
    works: list[Callable[[], Awaitable[T]]] = []
    try:
        works.extend(task.begin(rounds) for task, rounds in jobs)
    except LlmkitError:
        for task, _ in jobs:
            task.stop()
        raise

    async def merged() -> T:
        return merge([await work() for work in works])

    return InfraHandle([task for task, _ in jobs], merged)


def announce(choice: Choice) -> Choice:
    """Warn when a model other than the configured one will be used."""
    if choice.note:
        names = {"provider": choice.model.provider, "model": choice.model.reference}
        log.info("fallback", extra={**names, "purpose": choice.purpose, "configured": choice.configured})
        warn(choice.note)
    return choice


def _read_answers(run: Run) -> list[Answer]:
    return [
        Answer(
            run_id=run.id,
            text=row["response"] if (row["response"] or "").strip() else None,
            problem="" if row["status"] == "ok" else row["error_message"] or f"It was {row['status']}.",
            code=Code(row["error_code"] or Code.CANCELLED),
            cost=nan if row["estimated_cost"] is None else float(row["estimated_cost"]),
        )
        for row in columns.rows(run.probes)
    ]
