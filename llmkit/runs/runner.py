"""Starting runs and taking them up again."""

from __future__ import annotations

import contextlib
import secrets
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from llmkit.errors import Code, ValidationError
from llmkit.limiter import Budget
from llmkit.runs import background
from llmkit.runs.attempt import Asker, Parts, Settings
from llmkit.runs.conversation import Conversation
from llmkit.runs.handle import RunHandle
from llmkit.runs.process_tuning import quiet
from llmkit.runs.progress import Tracker
from llmkit.runs.session import Session, set_limits
from llmkit.runs.spec import RunSpec, conversation_of, lost_outcome, model_row, scenario_row, settings_row
from llmkit.store import events, queries, totals

T = TypeVar("T")

AGAIN = tuple(code for code in Code if code.resumable)
"""Failures that ``resume`` asks again."""


class Runner(Generic[T]):
    """Starts runs of one kit. ``load`` makes the result of a run from its id, ``panel`` the widget of a handle,
    ``watching`` shows progress while somebody waits for it.
    """

    def __init__(
        self,
        parts: Parts,
        load: Callable[[str], T],
        panel: Callable[[RunHandle[T]], Any],
        watching: Callable[[RunHandle[T]], AbstractContextManager[None]],
    ) -> None:
        self._parts = parts
        self._load = load
        self._panel = panel
        self._watching = watching
        self.handles: dict[str, RunHandle[T]] = {}

    def start(self, order: RunSpec) -> RunHandle[T]:
        """Write the run down and start it; returns when it is on the disk.

        Raises:
            JournalError: the journal cannot be written.
        """
        run_id = new_run_id()
        with self._claimed(run_id):
            return self._begin(run_id, order)

    def _begin(self, run_id: str, order: RunSpec) -> RunHandle[T]:
        plan = order.plan
        line = events.run(
            run_id=run_id,
            name=order.name,
            kind=order.kind,
            simulated=order.simulated,
            settings=settings_row(order),
            scenarios=[scenario_row(scenario) for scenario in plan.scenarios],
            models=[model_row(model, order.providers[model.provider]) for model in plan.models],
            samples=plan.samples,
            estimate=order.estimate,
        )
        self._parts.store.append([line]).result()
        budget = None if order.budget is None else Budget(order.budget)
        return self._launch(run_id, order, plan.asking_order(), {}, budget)

    def resume(self, run_id: str, order: RunSpec, spent: Decimal) -> RunHandle[T]:
        """Take a run up again: ask what has no answer yet, conversations at the turn that they had reached.

        ``spent`` is what the run has, or may have, cost so far; it counts against its budget.

        Raises:
            ValidationError: the run is running, here or in another process.
        """
        with self._claimed(run_id):
            return self._continue(run_id, order, spent)

    def _continue(self, run_id: str, order: RunSpec, spent: Decimal) -> RunHandle[T]:
        store = self._parts.store
        state = store.read(lambda c: queries.attempts_without_outcome(c, run_id))
        lost = [lost_outcome(row) for row in state]
        if lost:
            warnings.warn(
                f"The process of run {run_id} ended while requests were on their way ({len(lost)}). They may have been "
                "billed, and are asked again; run.costs() shows what they may have cost as maybe_billed_cost.",
                stacklevel=4,
            )
        store.append([*lost, events.run_state(run_id=run_id, status="running", again=AGAIN)]).result()
        rows = store.read(lambda c: queries.open_probes(c, run_id))
        resumed = {row["position"]: conversation_of(order, run_id, row) for row in rows}
        asking = (position for position in order.plan.asking_order() if position in resumed)
        budget = None if order.budget is None else Budget(max(order.budget - spent, Decimal(0)))
        unsettled = store.read(lambda c: totals.undeducted(c, run_id))
        return self._launch(run_id, order, asking, resumed, budget, unsettled)

    def close(self, grace: float) -> None:
        """Cancel what is running and wait until what arrives within ``grace`` seconds is saved."""
        running = [handle for handle in self.handles.values() if not handle.done()]
        for handle in running:
            handle.cancel(grace)
        for handle in running:
            handle.wait()

    @contextlib.contextmanager
    def _claimed(self, run_id: str) -> Iterator[None]:
        """Mark the run as this process's; it stays so unless it cannot be started."""
        if not self._parts.store.claim_run(run_id):
            raise ValidationError(
                f"Run {run_id} is running in another notebook or script: wait for it, or stop it there."
            )
        try:
            yield
        except BaseException:
            self._parts.store.release_run(run_id)
            raise

    def _launch(
        self,
        run_id: str,
        order: RunSpec,
        asking: Iterable[int],
        resumed: Mapping[int, Conversation],
        budget: Budget | None,
        unsettled: Mapping[str, Decimal] = MappingProxyType({}),
    ) -> RunHandle[T]:
        plan = order.plan
        queues: dict[str, deque[int]] = {}
        totals: Counter[str] = Counter({model.reference: 0 for model in plan.models})
        for position in asking:
            model = plan.models[position // plan.samples % len(plan.models)]
            queues.setdefault(model.provider, deque()).append(position)
            totals[model.reference] += 1
        expected = (order.estimate or {}).get("total")
        tracker = Tracker(run_id, totals, None if expected is None else Decimal(expected))
        if order.on_event is not None:
            tracker.listen(order.on_event)
        asker = Asker(
            run_id=run_id,
            plan=plan,
            providers=order.providers,
            parts=self._parts,
            settings=Settings(
                policy=order.policy,
                retry_unknown=order.retry_unknown,
                adaptive=order.adaptive,
                simulated=order.simulated,
                check_answer=order.check_answer,
            ),
            budget=budget,
            tracker=tracker,
        )
        session = Session(asker=asker, queues=queues, resumed=resumed, unsettled=unsettled)
        background.call(set_limits, self._parts.gate, order.providers, {m.reference: m for m in plan.models})

        async def run() -> T:
            with quiet():
                await session.main()
            return self._load(run_id)

        handle = RunHandle(session, background.start(run), self._panel, self._watching, lambda: self._load(run_id))
        self.handles[run_id] = handle
        return handle


def new_run_id() -> str:
    """Ordered by time and readable: ``20261124-150203-1f3a``, in UTC."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
