"""Start and resume runs."""

from __future__ import annotations

import contextlib
import itertools
import logging
import secrets
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from statistics import fmean
from typing import Any, Generic, TypeVar

from llmkit.errors import Code, LlmkitError, ValidationError
from llmkit.limiter import Budget
from llmkit.money.tariffs import recorded
from llmkit.records.user_warnings import warn
from llmkit.runs import background
from llmkit.runs.context import RunContext, Services, is_undeducted
from llmkit.runs.desks import desks_of
from llmkit.runs.following import set_limits
from llmkit.runs.handle import RunHandle
from llmkit.runs.journal_rows import reused_lines
from llmkit.runs.process_tuning import tuned_process
from llmkit.runs.progress import Tracker
from llmkit.runs.remote import Place, RemoteSender
from llmkit.runs.replay import conversations, late_answers, lost_outcome, reused_conversations
from llmkit.runs.session import Session
from llmkit.runs.spec import RunSpec, config_row, scenario_row, settings_row
from llmkit.runs.stop_rules import stop_check
from llmkit.store import CatalogState, events, queries, run_rows, totals
from llmkit.store.apply_runs import prepare

log = logging.getLogger("llmkit.runs")

T = TypeVar("T")

AGAIN = tuple(code for code in Code if code.resumable)
"""The codes of failures that ``resume`` asks again."""
_AT_ONCE = 100
"""Lines of a new run in memory at once: all of them would take twice as much as its prompts."""


@dataclass(frozen=True, slots=True)
class Runner(Generic[T]):
    """Starts the runs of one kit. ``load`` makes the result of a run from its id, ``panel`` the widget of a handle;
    ``watching`` shows progress while somebody waits for it.
    """

    services: Services
    load: Callable[[str], T]
    panel: Callable[[RunHandle[T]], Any]
    watching: Callable[[RunHandle[T]], AbstractContextManager[None]]
    handles: dict[str, RunHandle[T]] = field(default_factory=dict)

    def start(self, spec: RunSpec, remote: RemoteSender | None = None) -> RunHandle[T]:
        """Write the run to disk, then start it. ``remote`` sends its requests, if given."""
        _refuse_remote_batches(spec, remote)
        run_id, plan = new_run_id(), spec.plan
        with self._claimed(run_id):
            lines = events.run(
                run_id=run_id,
                name=spec.name,
                kind=spec.kind,
                simulated=spec.simulated,
                settings={**settings_row(spec), "actor": self.services.actor},
                scenarios=map(scenario_row, plan.scenarios),
                models=[config_row(each, spec.providers[each.model.provider], plan.params) for each in plan.configs],
                samples=plan.samples,
                estimate=spec.estimate,
            )
            begun = list(reused_conversations(run_id, plan, spec.reused, spec.check_answer))
            # before the line that begins the run: no crash may leave a run that would buy its reused answers again
            lines = itertools.chain(reused_lines(run_id, spec.reused, begun), lines)
            while some := list(itertools.islice(lines, _AT_ONCE)):
                self.services.store.append(some).result()
            positions = [p for p in plan.asking_order() if p not in spec.reused.whole] if spec.asks else []
            context = self._context(run_id, spec, positions)
            unfinished = {each.probe.position: each for each in begun if not each.finished}
            if positions and context.stop_check is not None and any(map(context.stop_check.is_over, begun)):
                positions, unfinished = [], {}
            return self._launch(context, positions, remote, conversations=unfinished)

    def resume(
        self,
        run_id: str,
        spec: RunSpec,
        spent: Decimal,
        catalog: CatalogState,
        changes: Mapping[str, Any],
        remote: RemoteSender | None = None,
    ) -> RunHandle[T]:
        """Ask whatever has no answer yet; conversations continue at the turn that they had reached.

        ``changes`` holds the settings that differ from now on, as :func:`llmkit.store.events.run_state` stores them.
        Replies that ``remote`` has kept are processed before anything is sent.

        ``spent`` is what the run has or may have cost so far; it counts against its budget. What ``catalog`` has
        disabled or deprecated since is skipped.
        """
        _refuse_remote_batches(spec, remote)
        store = self.services.store
        who = None if store.is_live(run_id) else store.peers.left_elsewhere(run_id)  # a live run has its own error
        if who is not None and store.run(run_id)["status"] == "running":
            raise ValidationError(
                f"Run {run_id} was asked by {who} when its process died, and that journal may have answers that are "
                f"nowhere else: resume it there with kit.resume({run_id!r}). If that machine is lost, start a new run "
                "with reuse=True, which takes the answers that are here."
            )
        with self._claimed(run_id):
            rows = store.read(lambda c: run_rows.without_outcome(c, run_id))
            earlier = [row for row in rows if row["batch"] is not None]
            sent = {Place.of(run_id, row): row for row in rows if row["batch"] is None}
            kept = {} if remote is None else {place: r for place, r in remote.kept(run_id).items() if place in sent}
            lost = [event for place, row in sent.items() if place not in kept for event in lost_outcome(run_id, row)]
            number = store.read(lambda c: queries.next_state(c, run_id))
            if lost:
                told = "They are asked again."
                if any(event["maybe_billed"] for event in lost):
                    told = (
                        "They may have been billed, and are asked again; run.costs() shows what they may have cost as "
                        "maybe_billed_cost."
                    )
                warn(f"The process of run {run_id} ended while requests were in flight ({len(lost)}). {told}")
            since = max(datetime.now(UTC), store.read(lambda c: run_rows.latest(c, run_id)) + timedelta.resolution)
            changed = changes or None
            state = events.run_state(run_id=run_id, number=number, status="running", again=AGAIN, changes=changed)
            store.append([*lost, {**state, "at": since.isoformat()}]).result()
            rows = store.read(lambda c: queries.open_attempts(c, run_id))
            late = late_answers(run_id, rows, kept)
            left = store.read(lambda c: queries.open_positions(c, run_id))
            log.info("resume", extra={"run": run_id, "probes": len(left)})
            positions = [position for position in spec.plan.asking_order() if position in left]
            context = self._context(run_id, spec, positions, number, spent)
            context.spent, context.deducted = store.read(lambda c: totals.spent(c, run_id))
            context.batched = store.read(run_rows.in_batches).get(run_id, context.batched)
            row = store.run(run_id)
            if any("models" in each["changes"] for each in row["changes"]):  # its prices have changed
                context.tariff, context.since = recorded(row["models"], row["changes"]), since
            begun = conversations(spec, run_id, rows, late)
            return self._launch(context, positions, remote, earlier, conversations=begun, late=late, catalog=catalog)

    def deduct_interrupted(self) -> None:
        """Deduct from the balances what runs had spent but not deducted when their processes died."""
        store = self.services.store
        for run_id in store.unfinished:
            if store.is_live(run_id) or store.peers.left_elsewhere(run_id) or not store.claim_run(run_id):
                continue
            try:
                spent, deducted = store.read(partial(totals.spent, run_id=run_id))
                if is_undeducted(spent, deducted):
                    number = store.read(partial(queries.next_state, run_id=run_id)) - 1
                    how: dict[str, Any] = {"status": "running", "spent": spent, "deducted": deducted}
                    store.append([events.run_state(run_id=run_id, number=number, **how)]).result()
            finally:
                store.release_run(run_id, is_over=False)

    def close(self, grace: float) -> None:
        """Stop all runs as :meth:`RunHandle.leave` does, and wait until replies within ``grace`` seconds are saved."""
        running = [handle for handle in self.handles.values() if not handle.done()]
        for handle in running:
            handle.leave(grace)
        for handle in running:
            handle.wait(grace + background.PATIENCE)

    @contextlib.contextmanager
    def _claimed(self, run_id: str) -> Iterator[None]:
        """Claim the run for this process; the claim is released if the run cannot be started."""
        if not self.services.store.claim_run(run_id):
            raise ValidationError(
                f"Run {run_id} is running in another notebook or script: wait for it, or stop it there."
            )
        try:
            yield
        except BaseException as error:
            self.services.store.release_run(run_id)
            if isinstance(error, OSError):  # the files that processes share about limits
                raise LlmkitError(f"The run cannot be started: {error.strerror or error}.") from error
            raise

    def _context(
        self, run_id: str, spec: RunSpec, positions: Iterable[int], session: int = 0, spent: Decimal = Decimal(0)
    ) -> RunContext:
        """The context that a run's requests share; ``positions`` are the probes to ask."""
        counts = Counter(spec.plan.model_of(position).reference for position in positions)
        expected = (spec.estimate or {}).get("total")
        tracker = Tracker(
            run_id=run_id,
            totals={model.reference: counts[model.reference] for model in spec.plan.models},
            estimate=None if expected is None else Decimal(expected),
            limits=lambda provider: self.services.gate.queue(provider).limits,
            turns=fmean(len(scenario.prompts) for scenario in spec.plan.scenarios),
            budget=spec.budget,
            tokens=_tokens(spec),
        )
        if spec.on_event is not None:
            tracker.listen(spec.on_event)
        context = RunContext(
            run_id=run_id,
            spec=spec,
            services=self.services,
            budget=Budget(spec.budget, spent=spent),
            tracker=tracker,
            session=session,
            reused_versions=spec.reused.versions(spec.plan),
        )
        context.stop_check = stop_check(spec.stop_when, spec.plan, context.note)
        portions = self.services.gate.portions
        how: dict[str, Any] = {"simulated": spec.simulated, "on_alert": context.note, "portions": portions}
        context.budget.shared = self.services.spending.money(spec.shared_budgets, run_id, spec.project, **how)
        return context

    def _launch(
        self,
        context: RunContext,
        positions: Iterable[int],
        remote: RemoteSender | None,
        earlier: Iterable[Mapping[str, Any]] = (),
        **begun: Any,
    ) -> RunHandle[T]:
        """Start the session; ``earlier`` are the requests left in open batches, ``begun`` is what else a
        :class:`Session` continues.
        """
        run_id, spec = context.run_id, context.spec
        queues: defaultdict[str, deque[int]] = defaultdict(deque)
        for position in positions:  # in the order of asking
            queues[spec.plan.model_of(position).provider].append(position)
        context.desks = desks_of(context, queues, earlier)
        session = Session(context=context, queues=dict(queues), **begun)
        if remote is not None:
            context.services = replace(self.services, transport=remote)
        models = {model.reference: model for model in spec.plan.models}
        set_limits(self.services.gate, spec.providers, models)
        prepare()

        async def run() -> T:
            with tuned_process():
                async with remote.sending(run_id) if remote else contextlib.nullcontext():
                    await session.main()
            return self.load(run_id)

        handle = RunHandle(session, background.start(run), self.panel, self.watching, lambda: self.load(run_id))
        self.handles[run_id] = handle
        return handle


def _refuse_remote_batches(spec: RunSpec, remote: RemoteSender | None) -> None:
    if remote is not None and spec.batched:
        raise ValidationError("Batches are submitted from here and need no cluster: leave out on=.", field="on")


def _tokens(spec: RunSpec) -> dict[str, float]:
    """The expected tokens of a request by model, averaged over its configurations."""
    expected, tokens = (spec.estimate or {}).get("models", {}), defaultdict(list)
    for config in spec.plan.configs:
        tokens[config.model.reference].append(expected.get(config.label, {}).get("tokens", 0.0))
    return {reference: fmean(each) for reference, each in tokens.items()}


def new_run_id() -> str:
    """A readable id that sorts by time, in UTC: ``20261124-150203-1f3a``."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
