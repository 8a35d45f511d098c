"""Starting runs and taking them up again."""

from __future__ import annotations

import contextlib
import secrets
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from llmkit import pricing
from llmkit.errors import Code, ValidationError
from llmkit.gate import Budget
from llmkit.plan import Plan
from llmkit.records import Model, Params, Price, Provider, Scenario
from llmkit.runner import background
from llmkit.runner.asker import Asker, Parts, Settings
from llmkit.runner.conversation import TOKENS, Conversation
from llmkit.runner.handle import RunHandle
from llmkit.runner.progress import RunEvent, Tracker
from llmkit.runner.quiet import quiet
from llmkit.runner.session import Session, set_limits
from llmkit.store import Event, events, money, queries
from llmkit.transport import RetryPolicy

T = TypeVar("T")

AGAIN = tuple(code for code in Code if code.resumable)
"""Failures that ``resume`` asks again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to run: the plan and all that goes with it. ``check_answer`` is as in ``Settings.check_answer``."""

    plan: Plan
    providers: Mapping[str, Provider]
    policy: RetryPolicy
    retry_unknown: bool
    adaptive: bool = False
    name: str | None = None
    kind: str = "probe"
    budget: Decimal | None = None
    estimate: Mapping[str, Any] | None = None
    simulated: bool = False
    check_answer: Callable[[str], Any] | None = None
    on_event: Callable[[RunEvent], None] | None = None


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

    def start(self, order: Order) -> RunHandle[T]:
        """Write the run down and start it; returns when it is on the disk.

        Raises:
            JournalError: the journal cannot be written.
        """
        run_id = new_run_id()
        with self._claimed(run_id):
            return self._begin(run_id, order)

    def _begin(self, run_id: str, order: Order) -> RunHandle[T]:
        plan = order.plan
        line = events.run(
            run_id=run_id,
            name=order.name,
            kind=order.kind,
            simulated=order.simulated,
            settings=_settings(order),
            scenarios=[_scenario_row(scenario) for scenario in plan.scenarios],
            models=[_model_row(model, order.providers[model.provider]) for model in plan.models],
            samples=plan.samples,
            estimate=order.estimate,
        )
        self._parts.store.append([line]).result()
        budget = None if order.budget is None else Budget(order.budget)
        return self._launch(run_id, order, plan.asking_order(), {}, budget)

    def resume(self, run_id: str, order: Order, spent: Decimal) -> RunHandle[T]:
        """Take a run up again: ask what has no answer yet, conversations at the turn that they had reached.

        ``spent`` is what the run has, or may have, cost so far; it counts against its budget.

        Raises:
            ValidationError: the run is running, here or in another process.
        """
        with self._claimed(run_id):
            return self._continue(run_id, order, spent)

    def _continue(self, run_id: str, order: Order, spent: Decimal) -> RunHandle[T]:
        store = self._parts.store
        state = store.read(lambda c: queries.attempts_without_outcome(c, run_id))
        lost = [_lost(row) for row in state]
        if lost:
            warnings.warn(
                f"The process of run {run_id} ended while requests were on their way ({len(lost)}). They may have been "
                "billed, and are asked again; run.costs() shows what they may have cost as maybe_billed_cost.",
                stacklevel=4,
            )
        store.append([*lost, events.run_state(run_id=run_id, status="running", again=AGAIN)]).result()
        rows = store.read(lambda c: queries.open_probes(c, run_id))
        resumed = {row["position"]: _conversation(order, run_id, row) for row in rows}
        asking = (position for position in order.plan.asking_order() if position in resumed)
        budget = None if order.budget is None else Budget(max(order.budget - spent, Decimal(0)))
        unsettled = store.read(lambda c: money.undeducted(c, run_id))
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
        order: Order,
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


def stored_order(
    row: Mapping[str, Any],
    providers: Mapping[str, Provider],
    check: Callable[[Mapping[str, Any]], Callable[[str], Any]],
) -> Order:
    """The order of a stored run, from its row in ``runs``; ``check`` makes ``check_answer`` from a JSON schema."""
    settings = row["settings"]
    params = Params(**{**settings["params"], "stop": tuple(settings["params"]["stop"])})
    plan = Plan(
        scenarios=tuple(_scenario(scenario) for scenario in row["scenarios"]),
        models=tuple(Model.from_row(model) for model in row["models"]),
        samples=settings["samples"],
        params=params,
        order=settings["order"],
        order_seed=settings["order_seed"],
    )
    budget = settings["budget"]
    return Order(
        plan=plan,
        providers=_at_stored_costs(providers, row["models"]),
        policy=RetryPolicy(**settings["policy"]),
        retry_unknown=settings["retry_unknown"],
        adaptive=settings["adaptive"],
        name=row["name"],
        kind=row["kind"],
        budget=None if budget is None else Decimal(budget),
        estimate=row["estimate"],
        simulated=row["simulated"],
        check_answer=check(params.schema) if params.schema else None,
    )


def _settings(order: Order) -> dict[str, Any]:
    plan = order.plan
    policy = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(order.policy).items()}
    return {
        "samples": plan.samples,
        "params": {**asdict(plan.params), "stop": list(plan.params.stop)},
        "order": plan.order,
        "order_seed": plan.order_seed,
        "budget": None if order.budget is None else format(order.budget, "f"),
        "policy": policy,
        "retry_unknown": order.retry_unknown,
        "adaptive": order.adaptive,
    }


def _scenario_row(scenario: Scenario) -> dict[str, Any]:
    return {
        "scenario_id": scenario.scenario_id,
        "prompt": scenario.prompt,
        "system": scenario.system,
        "followups": list(scenario.followups),
        "dimensions": dict(scenario.dimensions),
        "template": scenario.template,
    }


def _model_row(model: Model, provider: Provider) -> dict[str, Any]:
    """The model with everything that its answers are billed at, the provider's default costs included."""
    fallback = pricing.default_rates(provider)
    return {**model.to_row(), "default_costs": fallback.to_row() if fallback else None}


def _at_stored_costs(providers: Mapping[str, Provider], models: Sequence[Mapping[str, Any]]) -> dict[str, Provider]:
    """The providers of a stored run, with the default costs that were in force when it was started."""
    result: dict[str, Provider] = {}
    for row in models:
        rates = Price.from_row(row.get("default_costs") or {})
        result[row["provider"]] = replace(
            providers[row["provider"]],
            default_cost_input_per_million=rates.cost_input_per_million,
            default_cost_output_per_million=rates.cost_output_per_million,
        )
    return result


def _scenario(row: Mapping[str, Any]) -> Scenario:
    return Scenario(**{**row, "followups": tuple(row["followups"])})


def _conversation(order: Order, run_id: str, row: Mapping[str, Any]) -> Conversation:
    """A probe as far as it had come. An answer that is not as the schema asks does not count, but for what it cost."""
    turns, failures, probe = row["turns"], row["failures"], order.plan.probe(row["position"])
    kept = turns[:-1] if len(turns) == len(probe.scenario.prompts) and not _is_right(order, turns[-1]) else turns
    wasted = [billed["cost"] for billed in (*failures, *turns[len(kept) :])]
    costs = [billed["cost"] for billed in (*turns, *failures)]
    counted = [*turns, *(failure["usage"] for failure in failures)]
    return Conversation(
        probe=probe,
        probe_id=events.probe_id(run_id, row["position"]),
        answers=[turn["response"] for turn in kept],
        turn_attempts={int(turn): int(count) for turn, count in row["attempts"].items()},
        maybe_billed=row["maybe_billed"],
        tokens={name: sum(tokens[name] or 0 for tokens in counted) for name in TOKENS} if counted else {},
        cost=None if None in costs else pricing.total(costs),
        wasted=pricing.total(wasted),
        sources={billed["cost_source"] for billed in (*turns, *failures)},
        latency_s=sum(turn["latency_s"] or 0.0 for turn in turns),
        queued_s=row["queued_s"] or 0.0,
        started_at=row["started_at"],
        finish_reason=turns[-1]["finish_reason"] if turns else None,
        model_version=turns[-1]["model_version"] if turns else None,
    )


def _is_right(order: Order, turn: Mapping[str, Any]) -> bool:
    if order.check_answer is not None:
        try:
            order.check_answer(turn["response"])
        except ValueError:
            return False
    return True


def _lost(row: Mapping[str, Any]) -> Event:
    """The outcome of an attempt whose process died before it could write one."""
    return events.outcome(
        **{**row, "turn_answered": None},
        error_code=Code.UNKNOWN,
        error_message="The process ended while this was on its way; it may have been billed.",
        maybe_billed=True,
    )
