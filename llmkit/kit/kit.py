"""The kit: one catalog and everything that can be done with it. Connects the parts, decides nothing itself."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Never, Self, get_args

import pandas as pd
import platformdirs

from llmkit.catalog import OWN_ACTORS, Catalog, seed_catalog, shipped_origins
from llmkit.catalog.budget_settings import budgets_of
from llmkit.errors import Code, LlmkitError, RunNotFound, ValidationError
from llmkit.kit import process_end
from llmkit.money.amounts import billed
from llmkit.providers.credentials import Credentials
from llmkit.records import RemoteModel
from llmkit.records.checks import numbers, shapes, texts
from llmkit.records.later import Later
from llmkit.records.user_warnings import warn
from llmkit.store import Snapshot, Store, archive, past, queries, run_rows, totals
from llmkit.widgets import html

if TYPE_CHECKING:
    from llmkit import analysis, cluster, runs, simulator, tasks
    from llmkit.kit import doctor, engine
    from llmkit.limiter import Gate
    from llmkit.money import estimate_table
    from llmkit.providers import transport
    from llmkit.runs import Checker
    from llmkit.runs import handle as handles
    from llmkit.scenarios import inputs
    from llmkit.tasks import coding, expansion, summaries
    from llmkit.widgets import (
        coding_form,
        infra_panel,
        models_panel,
        providers_panel,
        reader,
        run_form,
        run_panel,
        run_view,
        settings_panel,
    )
else:  # imported when they are first used, be it for a type: opening a catalog needs none of them
    analysis, runs, tasks = Later("llmkit.analysis"), Later("llmkit.runs"), Later("llmkit.tasks")
    inputs, simulator = Later("llmkit.scenarios.inputs"), Later("llmkit.simulator")
    coding, expansion = Later("llmkit.tasks.coding"), Later("llmkit.tasks.expansion")
    summaries = Later("llmkit.tasks.summaries")
    doctor, engine, handles = Later("llmkit.kit.doctor"), Later("llmkit.kit.engine"), Later("llmkit.runs.handle")
    estimate_table, transport = Later("llmkit.money.estimate_table"), Later("llmkit.providers.transport")
    models_panel, providers_panel = Later("llmkit.widgets.models_panel"), Later("llmkit.widgets.providers_panel")
    infra_panel, settings_panel = Later("llmkit.widgets.infra_panel"), Later("llmkit.widgets.settings_panel")
    run_form, run_panel = Later("llmkit.widgets.run_form"), Later("llmkit.widgets.run_panel")
    run_view, reader = Later("llmkit.widgets.run_view"), Later("llmkit.widgets.reader")
    cluster, coding_form = Later("llmkit.cluster"), Later("llmkit.widgets.coding_form")

DEFAULT_NAME = "llmkit.duckdb"
CLOSE_GRACE = 2.0
"""Seconds that ``close`` waits for answers in flight."""


class Kit:
    """An open catalog with its runs. Created by :func:`llmkit.open`; use it as a context manager or call :meth:`close`.

    Nothing is held open between calls: other notebooks may use the same file.
    """

    catalog: Catalog
    """Providers, models, prices and settings."""
    _made: engine.Engine

    def __init__(self, path: Path, *, simulate: bool, actor: str, adopt: bool, team: str | None) -> None:
        self._store = store = Store(path, adopt=adopt)
        self.path, self._actor, self._simulate = path, actor, simulate
        self._is_closed = False
        self._credentials = Credentials(shipped=shipped_origins)
        self._parts: list[process_end.Closes] = [store]
        self._gate: Gate | None = None if team is None else engine.gate_of(path)
        self._team: Any = None if team is None else teams().join(store, self._gate, team, actor)
        may_edit = not store.is_read_only and (self._team is None or self._team.is_reached)
        if may_edit:
            seed_catalog(store)
        self.catalog = Catalog(
            store,
            self._credentials,
            has_key=lambda provider: self._engine.connections.has_key(provider),
            list_models=self._list_models,
            actor=actor,
            card=self._repr_mimebundle_,
        )
        if may_edit:
            self.catalog.apply_due_prices()
        if store.unfinished:
            self._engine.runner.deduct_interrupted()
        process_end.close_at_exit(self, self._parts)

    @property
    def _engine(self) -> engine.Engine:
        if "_made" not in vars(self):
            gate = self._gate or engine.gate_of(self.path)
            made = engine.Engine(
                self.path,
                self._store,
                self.catalog,
                gate,
                self._credentials,
                simulate=self._simulate,
                actor=self._actor,
                load=self._run,
                panel=lambda handle: run_panel.RunPanel(handle, self.resume),
            )
            if vars(self).setdefault("_made", made) is made:  # else another thread was first: this one has done nothing
                self._parts[:0] = [made.connections, gate]
        return self._made

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = " (closed)" if self._is_closed else " (simulated)" if self.simulated else ""
        return f"<llmkit.Kit {self.path}{state}>"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        if self._is_closed:
            return {"text/plain": repr(self)}
        try:
            facts: Mapping[str, object] = self._facts()
        except LlmkitError as error:  # such as a database held by another program: displaying a kit never raises
            facts = {"": error}
        rows = {"path": self.path, **facts}
        width = max(map(len, rows))
        return {
            "text/html": html.card("llmkit", rows),
            "text/plain": "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items()),
        }

    def _facts(self) -> dict[str, str]:
        """Runs, this month's spending and keys, in words."""
        kinds = self.costs(since=datetime.now(UTC).date().replace(day=1), by="kind")
        unknown = kinds[["unpriced", "maybe_billed"]].sum().sum()
        keys = self.catalog.providers()["key_status"]
        are_set = f"{keys.eq('set').sum()} of {keys.ne('not needed').sum()} set"
        return {
            "runs": f"{len(self.runs(archived=None)):,}",
            "spent this month": billed(Decimal(str(kinds["estimated_cost"].sum())), int(unknown)),
            "keys": "not used: requests go to a simulator" if self.simulated else are_set,
        }

    def close(self) -> None:
        """Stop all runs, save what arrives within two seconds, and stop this kit's simulator.

        Results stay readable; any later call on the kit or its catalog raises :class:`LlmkitError`.
        """
        if self._is_closed:
            return
        if "_made" in vars(self):
            self._made.close(CLOSE_GRACE)
        self._store.close()
        self._is_closed = True
        process_end.closed(self)
        closed: Any = _Closed(self.path)
        self.catalog._store = closed  # also for whoever kept a reference, such as c = kit.catalog
        self.catalog = self._store = self._made = closed

    @property
    def simulated(self) -> bool:
        """Whether requests go to a simulator and nothing is billed."""
        return self._engine.connections.simulating

    @property
    def is_in_team(self) -> bool:
        """Whether the catalog is shared with colleagues (opened with ``team=``)."""
        return self._store.peers.are_elsewhere

    # --- asking ---

    def estimate(
        self,
        prompts: inputs.Prompts,
        models: runs.Models = None,
        samples: int = 1,
        *,
        system: str | None = None,
        followups: str | Sequence[str] | None = None,
        max_tokens: int | None = None,
        schema: tasks.Schema | None = None,
        service_tier: str | None = None,
        reuse: runs.Reuse = False,
        reuse_within: float | None = None,
        mode: runs.Mode = "live",
        **options: Any,
    ) -> estimate_table.Estimate:
        """Predict what :meth:`run` would cost with the same arguments. Nothing is sent, and named models need no key.

        With ``reuse``, only requests without an answer are counted, with ``"only"`` none; ``.df`` has their number.

        Raises:
            LlmkitError: as :meth:`run` does for prompts and models.
        """
        named = {name: options.pop(name) for name in ("temperature", "seed", "order") if name in options}
        request = runs.RunRequest(
            prompts=prompts,
            models=models,
            samples=samples,
            system=system,
            followups=followups,
            max_tokens=max_tokens,
            schema=tasks.json_schema(schema),
            service_tier=service_tier,
            **named,
            reuse=reuse,
            reuse_within=reuse_within,
            mode=mode,
            options=_without_run_options(options),
        )
        with runs.tuned_process():
            return self._engine.checker.estimate(request, self.catalog.state())

    def plan_modes(
        self, prompts: inputs.Prompts, models: runs.Models = None, samples: int = 1, **options: Any
    ) -> pd.DataFrame:
        """Compare the cost and duration of each mode (``live``, ``batch``, ``flex``): one row per model and mode.

        Columns: model, config, mode, requests, cost, low and high in US dollars, hours (for batches the longest that
        the provider may take, times the turns). Modes that a model does not support are left out. ``options`` are those
        of :meth:`estimate`.

        Raises:
            ValidationError: ``options`` already choose a mode or service tier.
            LlmkitError: as :meth:`estimate` does.
        """
        ready = inputs.as_scenarios(prompts)
        return analysis.mode_table(
            lambda some, **how: self.estimate(ready, some, samples, **options, **how).df,
            None if models is None else runs.each_model(models),
            options,
        )

    def run(
        self,
        prompts: inputs.Prompts,
        models: runs.Models = None,
        samples: int = 1,
        *,
        name: str | None = None,
        system: str | None = None,
        followups: str | Sequence[str] | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        seed: int | None = None,
        budget: Decimal | int | str | float | None = None,
        order: runs.AskingOrder = "interleaved",
        on_event: Callable[[runs.RunEvent], None] | None = None,
        retry: transport.RetryPolicy | None = None,
        options: Mapping[str, Any] | None = None,
        schema: tasks.Schema | None = None,
        project: str | None = None,
        service_tier: str | None = None,
        reuse: runs.Reuse = False,
        reuse_within: float | None = None,
        on: Any = None,
        mode: runs.Mode = "live",
        stop_when: runs.StopRule | None = None,
    ) -> runs.RunHandle[analysis.Run]:
        """Ask every model every prompt, ``samples`` times. Returns at once.

        ``run = await kit.run(...)`` in a notebook, ``kit.run(...).result()`` in a script.

        Args:
            prompts: a string, a list of strings or :class:`Scenario`, or a DataFrame with a column ``prompt``.
            models: references (``provider:model_id``) and :class:`llmkit.Config`, in any mix; by default the default
                model of every provider with a key.
            samples: how often each model answers each prompt.
            name: a label for the run.
            system: the system prompt of scenarios that have none.
            followups: prompts that continue the conversation, for scenarios that have none.
            temperature: 0 to 2.
            max_tokens: the maximum number of tokens per answer, reasoning included.
            seed: sample n is asked with seed + n − 1, where the API accepts a seed.
            budget: the most that the run may spend, in US dollars.
            order: ``interleaved`` (shuffled with a seed that is stored with the run), ``sequential``, or ``cache``:
                prompts with a common beginning are asked together, the first of them alone, so that providers serve
                the beginning from their caches at a discount (marked for the cache where that pays, on Anthropic).
                Order within such a block is shuffled; the blocks themselves follow each other.
            on_event: called with every :class:`RunEvent`, on a background thread.
            retry: a :class:`RetryPolicy`.
            options: ``top_p``, ``stop``, ``reasoning_effort``, ``extra_body``, ``strict`` (refuse parameters that a
                model does not accept), ``adaptive`` (find the best concurrency below the limit), ``order_seed``,
                ``overdraw`` (ask providers whose balance is negative), ``poll_s`` (seconds between looks at a batch;
                60); with ``on``, ``worker_timeout`` (seconds; 30) and ``trust_network`` (send prompts over a network
                without TLS).
            service_tier: the tier to ask for: ``"standard"`` or one of the model's ``price_variants`` (``"flex"``); by
                default the provider chooses. ``run.probes`` says which tier served each answer.
            project: the project to charge, for :meth:`set_budget` and ``kit.costs(by="project")``.
            schema: a JSON schema or pydantic model that answers must match; its fields become columns
                ``answer.<field>``. Questions of ``llmkit.question`` are answered by their type instead.
            reuse: take the latest answers bought for the same request (byte for byte) and sample; those of a
                :meth:`replicate` only where there are no others. They cost nothing;
                ``reused_from`` and ``original_cost`` say where they come from. ``"only"`` asks nothing new and leaves
                the rest pending for :meth:`resume`. Rehearsals only reuse rehearsals; of
                colleagues' runs, only those opened here (:meth:`load`) are looked through.
            reuse_within: the maximum age of reused answers, in days.
            on: a ``distributed.Client``: the workers of its Dask cluster send the requests, with the keys in their own
                environment. Limits, budget, progress and Stop work as usual. A request that was in flight on a lost
                worker is asked again, and may have been billed twice. Without any worker the run waits for one, and
                ends with an error if none comes in time; :meth:`resume` with ``on`` asks the rest.
            mode: ``"live"``; ``"batch"``, through the providers' batch APIs: cheaper, within a day or two per turn; or
                ``"batch-or-live"``, batches where provider and catalog allow them. If the kernel ends in the meantime,
                nothing is lost: :meth:`resume` fetches what was submitted.
            stop_when: a rule that ends the run early, such as ``llmkit.half_width("answer.score", 0.03)``. The run is
                then ``cancelled``, and :meth:`resume` asks the rest.

        Raises:
            LlmkitError: anything that can be known before sending; :class:`RunRefused` lists several problems.
        """
        request = runs.RunRequest(
            prompts=prompts,
            models=models,
            samples=samples,
            name=name,
            system=system,
            followups=followups,
            temperature=temperature,
            max_tokens=max_tokens,
            seed=seed,
            budget=budget,
            order=order,
            on_event=on_event,
            retry=retry,
            options={} if options is None else options,
            schema=tasks.json_schema(schema),
            project=project,
            service_tier=service_tier,
            reuse=reuse,
            reuse_within=reuse_within,
            mode=mode,
            stop_when=stop_when,
        )
        checker, crew = self._sent_by(on, request.options)
        with runs.tuned_process():  # garbage collections while 100,000 scenarios are read would stall other runs
            return self._engine.runner.start(checker.spec(request, self._engine.settled_catalog()), crew)

    def design(
        self,
        scenarios: inputs.Prompts,
        models: runs.Models = None,
        *,
        value: str,
        detect: float,
        power: float = 0.8,
        budget: Decimal | int | str | float | None = None,
        pilot: analysis.Run | pd.DataFrame,
        **options: Any,
    ) -> analysis.Design:
        """Find how many scenarios and samples are needed to detect a difference between two configurations.

        Args:
            scenarios: the scenarios available, as the prompts of :meth:`run`.
            models: as in :meth:`run`.
            value: the numeric column to compare, such as ``"answer.score"``.
            detect: the difference of means to detect, at p < 0.05 in a comparison paired by scenario.
            power: the probability of detecting it.
            budget: the most that the study may cost, in US dollars.
            pilot: a run of a few scenarios, to estimate variances (with at least two samples, to separate the variance
                between scenarios from that between samples).
            options: as in :meth:`estimate`, without ``samples``.

        Costs come from :meth:`estimate`, which learns from the pilot's answers.

        Raises:
            ValidationError: an argument out of range, or a pilot with too few answers.
            LlmkitError: as :meth:`estimate` does.
        """
        if "samples" in options:
            raise ValidationError("design finds the number of samples: leave samples out.", field="samples")
        ready = inputs.as_scenarios(scenarios)
        spread, estimate = analysis.pilot_spread(pilot, value), self.estimate(ready, models, **options)
        priced = estimate.total is not None and not estimate.unpriced
        amounts = {"cost": estimate.total, "low": estimate.low, "high": estimate.high}
        return analysis.design(
            spread,
            detect=detect,
            power=power,
            available=len(ready),
            unit={name: amount / len(ready) if priced and amount else None for name, amount in amounts.items()},
            budget=None if budget is None else numbers.amount(budget, "budget"),
        )

    def replicate(self, run: analysis.Run | str, share: float = 0.02, *, seed: int = 0) -> analysis.Replication:
        """Prepare to ask part of a run again: what has changed since, and what it will cost. Nothing is sent.

        ``replica = await replication.start()`` asks it, and ``replication.compare(replica)`` compares its answers with
        those of the run, paired by scenario. Every configuration is asked the same scenarios, drawn with ``seed``: the
        fewest that make up ``share`` of the probes, in batches if the run was. Retired models are reported, not asked.
        The run may come from this kit or from :func:`llmkit.open_capsule`.

        Raises:
            RunNotFound: there is no such run.
            ValidationError: ``share`` is not above 0 and at most 1, or only one of run and kit is a rehearsal.
        """
        original, access, simulating = self._as_run(run), self.catalog.access(), self.simulated
        latest = self._store.read(lambda c: totals.latest_versions(c, simulated=simulating))
        request, plan, changes = analysis.replication.prepare(
            original, access, latest, simulating=simulating, share=share, seed=seed
        )
        estimate = self._engine.checker.estimate(request, access.state, plan)
        return analysis.Replication(
            original, plan, changes, estimate, lambda budget: self._engine.start(replace(request, budget=budget), plan)
        )

    def resume(
        self,
        run_id: str,
        *,
        budget: Decimal | int | str | float | None = None,
        on_event: Callable[[runs.RunEvent], None] | None = None,
        on: Any = None,
        options: Mapping[str, Any] | None = None,
    ) -> runs.RunHandle[analysis.Run]:
        """Ask whatever has no answer yet, at today's prices; a warning says which prices have changed.

        ``budget`` replaces the run's own: the most that the run may cost altogether, in US dollars.

        Probes that were cancelled, skipped or interrupted, or that failed with a retryable error, are asked. A request
        that was in flight when the process died may be billed twice; ``costs()`` counts it as maybe billed. Probes of
        models that have been deprecated, or providers disabled, since then are skipped.

        ``on`` and ``options`` are as in :meth:`run`: answers that the workers of a cluster kept while the process was
        dead are collected, not asked again.

        Raises:
            RunNotFound: there is no such run.
            BudgetExceeded: ``budget`` is already spent.
            ValidationError: the run is still running, only one of run and kit is a rehearsal, or ``on_event`` is not a
                function.
            MissingApiKey: a provider's key is not set.
        """
        shapes.function(on_event, "on_event", runs.ON_EVENT)
        catalog = self._engine.settled_catalog()
        stored = self._store.run(run_id, with_scenarios=True)
        spent = self._store.read(lambda c: totals.total_cost(c, run_id) + totals.worst_unknown(c, run_id))
        checker, crew = self._sent_by(on, shapes.mapping(options, "options", runs.OPTIONS_EXAMPLE))
        spec, changes = checker.resumed(stored, catalog, budget, spent)
        del stored  # a million scenarios need not be there twice
        return self._engine.runner.resume(run_id, replace(spec, on_event=on_event), spent, catalog, changes, crew)

    # --- budgets above runs ---

    def set_budget(
        self,
        scope: str,
        amount: Decimal | int | str | float | None,
        *,
        provider: str | None = None,
        alert_at: Decimal | str | float = 0.8,
    ) -> None:
        """Limit what all runs and processes together may spend: in a month (``"2026-12"``, UTC) or on a project.

        ``amount`` is in US dollars; ``None`` removes the budget. With ``provider`` it applies to that provider alone.
        A warning is given once when the share ``alert_at`` is spent. The budget also applies to runs in progress, and
        it holds before anything is sent: a request whose cost cannot be bounded is refused. Rehearsals are accounted
        for separately. A month that is over limits nothing, and a warning says so.

        Raises:
            ValidationError: not a month or project name, a negative amount, or a share above 1.
            UnsupportedProvider: there is no such provider.
        """
        self.catalog.set_budget(scope, amount, provider=provider, alert_at=alert_at)

    def budgets(self) -> pd.DataFrame:
        """The budgets of :meth:`set_budget`, in US dollars: scope, provider (missing: all of them), amount, spent,
        reserved (for requests in flight), left (amount − spent), share (spent / amount), alert_at, is_alert.

        A request that may have been billed counts as spent at its worst case.
        """
        return analysis.budget_table(
            self._engine.spending.standings(budgets_of(self.catalog.state()), simulated=self.simulated)
        )

    def reconcile(self, path_or_frame: str | os.PathLike[str] | pd.DataFrame, provider: str) -> pd.DataFrame:
        """Compare our costs with a provider's bill: one row per day and model, for the months (UTC) of the export.

        ``path_or_frame`` is an export as CSV, JSON or DataFrame: OpenAI's costs (or its usage of completions, priced at
        our prices), Anthropic's cost report, or OpenRouter's activity. Nothing is changed.

        Columns: day; model (a reference; the export's own name if the catalog has no such model; missing if the export
        does not tell models apart); ``ours``, ``theirs`` and ``difference`` (theirs − ours) in US dollars; ``requests``
        (ours); and ``likely_cause`` of a difference: ``missing day``, ``missing model``, ``duplicate``, ``credit``,
        ``not asked here``, ``other tier``, ``unknown`` (requests that may have been billed) or another price, with
        details.

        Raises:
            UnsupportedProvider: there is no such provider.
            ValidationError: the export cannot be read or has an unknown format.
        """
        name, state = self.catalog.provider(provider).name, self.catalog.state()
        models = {reference: model for reference, model in state.models.items() if model.provider == name}
        requests = self._store.read(lambda c: totals.billable(c, name, simulated=self.simulated))
        return analysis.reconcile(analysis.read_bill(path_or_frame), requests, models)

    # --- reading ---

    def sql(self, sql: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Run a SELECT over the catalog and all runs; read-only, with no access to other files.

        ``params`` is a list for ``?`` placeholders, or a dict for ``$name`` placeholders. Times are in UTC; DECIMAL
        becomes float64, JSON becomes lists and dicts; a second column called ``name`` becomes ``name_1``.

        Raises:
            ValidationError: the statement fails, or is not read-only.
        """
        return self._store.query(sql, params)

    def snapshot(self) -> Snapshot:
        """A DuckDB connection of your own, in memory, with a copy of every table."""
        return self._store.snapshot()

    def runs(self, *, archived: bool | None = False, tag: str | None = None) -> pd.DataFrame:
        """All runs, newest first, with counts of their probes by status and their costs in US dollars (``unpriced``
        probes not included; missing if nothing is known).

        Runs hidden with ``run.hide()`` are left out; ``archived=True`` lists only those, ``None`` all. ``tag`` selects
        runs by a tag of ``run.tag``; ``tags`` and ``note`` hold what people noted.

        The status of a run with open batches is ``waiting for batch, 340 of 1,000 back``; a run whose process died is
        ``interrupted``, and ``unknown`` counts its unanswered requests, which may have been billed.
        ``kit.resume(run_id)`` continues either.
        """
        listed, batches = self._store.look(lambda c: (queries.runs(c), run_rows.in_batches(c)))
        frame = analysis.RunList(listed)
        live = {run_id: self._store.is_live(run_id) for run_id in frame.loc[frame["status"] == "running", "run_id"]}
        now = [
            analysis.effective_status(status, live.get(run_id, False), batches.get(run_id))
            for status, run_id in zip(frame["status"], frame["run_id"], strict=True)
        ]
        frame["status"] = pd.Series(now, index=frame.index, dtype=frame["status"].dtype)  # text, also of no runs
        if archived is not None:
            frame = frame[frame["archived"] == texts.flag(archived, "archived")]
        if tag is not None:
            wanted = texts.text(tag, "tag")
            frame = frame.loc[[wanted in tags for tags in frame["tags"]]]
        return frame.reset_index(drop=True)

    def load(self, run_id: str) -> analysis.Run:
        """Load a run by its id. If a colleague asked it, its texts are fetched; a table that would lack them raises
        :class:`ValidationError`.

        Raises:
            RunNotFound: there is no such run.
        """
        self._store.run(run_id)
        return self._run(run_id)

    def last_run(self) -> analysis.Run:
        """The run started most recently, in any notebook.

        Raises:
            RunNotFound: there is none yet.
        """
        runs = self._store.look(queries.runs)
        probes = runs[runs["kind"] == "probe"]
        if probes.empty:
            raise RunNotFound("There are no runs yet: start one with kit.run(...).")
        return self._run(str(probes.iloc[0]["run_id"]))

    def costs(
        self,
        since: datetime | date | str | None = None,
        by: str | Sequence[str] = "model",
        *,
        simulated: bool | None = None,
    ) -> pd.DataFrame:
        """Tokens and costs over all runs, internal tasks included; columns as in :meth:`llmkit.Run.costs`.

        ``by`` also accepts ``run_name``, ``kind`` and ``actor``. These, ``month``, ``day`` and ``template`` always mean
        llmkit's own columns here: rename a column of your prompts to group by it.

        ``since`` is a date, a time, or its text (``"2026-11-01"``), in UTC: earlier requests are left out.
        ``simulated`` selects rehearsals (True) or real runs (False); by default the kind that this kit makes.

        Raises:
            ValidationError: an unknown column, or a time that cannot be read.
        """
        return analysis.cost_table(self._store, by, since=since, simulated=self._own_kind(simulated))

    def calibration(self, *, simulated: bool | None = None) -> pd.DataFrame:
        """Estimates compared with actual costs: one row per completed run and model.

        Columns: run_id, name, started_at, model, probes, ok; ``estimate``, ``low`` and ``high`` (the 80% interval) and
        ``actual`` in US dollars; ``ratio`` (actual / estimate); ``inside`` (whether the interval contains the actual
        cost); ``basis`` and ``observations`` (what the estimate was based on). Costs are missing where a price is
        unknown. ``simulated`` as in :meth:`costs`.
        """
        only = self._own_kind(simulated)
        return analysis.calibration(self._store.look(lambda c: past.estimates(c, simulated=only)))

    def team(self) -> pd.DataFrame:
        """The members of the team: one row per person, those online first.

        Columns: actor, is_on (seen within the last 15 seconds; nobody while the team's database does not answer),
        hosts, runs (ids of their current runs), asking (providers they are asking now); probes, spent (US dollars) and
        unpriced of this month (UTC), as in :meth:`costs`; last_seen. Spending from before the team, and by people who
        have left, is included.

        Raises:
            ValidationError: this kit was opened without ``team=``.
        """
        if not self.is_in_team:
            raise ValidationError("Nobody shares this catalog: llmkit.open(path, team='postgresql://…').", field="team")
        month = datetime.now(UTC).date().replace(day=1)
        table: pd.DataFrame = teams().team_table(self._team.seen, self.costs(since=month, by="actor"))
        return table

    # --- internal tasks ---

    def expand(
        self,
        description: str,
        n: int = 10,
        dimensions: tasks.Dimensions = None,
        *,
        strict: bool = False,
        budget: Decimal | int | str | float | None = None,
    ) -> tasks.InfraHandle[tasks.Expansion]:
        """Have the ``scenario_expansion`` model write ``n`` different scenarios. Returns at once, like :meth:`run`.

        The result is a list of :class:`Scenario` with ``.table()`` (to review, edit and drop), ``.account`` and
        ``.run``: the task is recorded as a run of kind ``infra``, with its cost. Malformed answers are requested once
        more, duplicates are dropped, and missing scenarios requested once; a warning says when fewer than ``n`` remain.

        Args:
            description: what the scenarios should be about, and what they should be like.
            n: how many.
            dimensions: ``{name: levels}``, as in ``scenarios_from_template``: each scenario is written for one
                combination, in equal numbers. Or names alone: the model chooses their values.
            strict: fail if the model chosen for this task cannot be used. Otherwise the cheapest available model that
                is capable takes over, with a warning.
            budget: the most that the task may spend, in US dollars.

        Raises:
            LlmkitError: nothing was sent; from the handle, :class:`RequestFailed` if nothing usable came back.
        """
        return expansion.expand(self._engine.infra, description, n, dimensions, strict=strict, budget=budget)

    def summarize(
        self,
        run: analysis.Run | str,
        question: str | None = None,
        by: str | Sequence[str] = "model",
        *,
        strict: bool = False,
        budget: Decimal | int | str | float | None = None,
    ) -> tasks.InfraHandle[pd.DataFrame]:
        """Have the ``summarization`` model summarize a run's answers, one summary per group. Returns at once.

        Answers that exceed the model's context are summarized in parts, and the summaries are then merged. ``by`` names
        columns of ``run.probes``; ``strict`` and ``budget`` are as in :meth:`expand`, but a model that took part in the
        run never takes over.

        The result has the columns of ``by``, ``summary``, ``n_answers``, ``error`` (missing on success), ``cost`` (US
        dollars), ``infra_model`` and ``infra_run_id``.

        Raises:
            LlmkitError: nothing was sent.
        """
        return summaries.summarize(self._engine.infra, self._as_run(run), question, by, strict=strict, budget=budget)

    def code(
        self,
        run: analysis.Run | str,
        codebook: tasks.Codebook,
        coders: Sequence[str] | None = None,
        strict: bool = True,
        *,
        budget: Decimal | int | str | float | None = None,
    ) -> tasks.InfraHandle[pd.DataFrame]:
        """Have the ``judge`` model, or several ``coders``, assign every answer of a run to one category.

        ``codebook`` is ``{category: definition}`` or a list of categories; add one such as ``other`` for answers that
        fit none. Coding is a measurement: no other model takes over unless ``strict=False``. ``budget`` is as in
        :meth:`summarize`, shared equally by all coders.

        ``coders`` are references of models. Each codes every answer independently, and ``infra_model`` says who did;
        ``llmkit.agreement(codes)`` measures their agreement, and its ``table`` lists the disagreements.

        Returns at once. The result has one row per ok answer (and coder), to merge with ``run.probes`` on ``probe_id``:
        ``category``, the ``quote`` it is based on, ``quote_found`` (whether the answer contains the quote), ``error``
        (why there is no category), ``cost`` (this row's share, in US dollars), ``infra_model`` and ``infra_run_id``.

        Raises:
            LlmkitError: nothing was sent.
        """
        return coding.code(self._engine.infra, self._as_run(run), codebook, coders, strict=strict, budget=budget)

    # --- widgets ---

    def models_panel(self) -> Any:
        """The form for models: prices, lifecycle, defaults."""
        return models_panel.ModelsPanel(self)

    def providers_panel(self) -> Any:
        """The form for providers: limits, keys, custom endpoints."""
        return providers_panel.ProvidersPanel(self)

    def infra_panel(self) -> Any:
        """The form for the models of internal tasks."""
        return infra_panel.InfraPanel(self)

    def settings_panel(self) -> Any:
        """Models, providers, infrastructure and, if there is one, the team, as tabs."""
        return settings_panel.SettingsPanel(self)

    def run_form(self, prompts: inputs.Prompts | None = None) -> Any:
        """The form that starts a run: models, samples, budget and a live estimate, then progress."""
        return run_form.RunForm(self, prompts)

    def reader(self, runs: analysis.Run | str | Sequence[analysis.Run | str] | None = None) -> Any:
        """A panel for reading answers, with filters, search and side-by-side views.

        ``runs`` is a run or its id, or a list of them; by default the last run. Answers of a run in progress appear as
        they arrive.

        Raises:
            RunNotFound: there is no such run.
        """
        chosen = (self.last_run(),) if runs is None else (runs,) if isinstance(runs, analysis.Run | str) else None
        if chosen is None:
            chosen = shapes.several(runs, "runs", "a run or its id, or a list of them")
        return reader.Reader([self._as_run(run) for run in chosen])

    def coding_form(
        self, run: analysis.Run | str, codebook: tasks.Codebook, n: int = 50, *, seed: int = 0, name: str = "category"
    ) -> Any:
        """A form for coding ``n`` answers of a run by hand: blind, drawn with ``seed``, equally many per configuration.

        Digits assign a category and move on; Backspace moves back. Each code is saved at once with
        :meth:`llmkit.Run.annotate`, as ``codes={name: category}``, next to those of models and other people. Calling it
        again continues at the first answer that you have not coded. ``run.hand_codes(name)`` returns the codes.

        Raises:
            ValidationError: a codebook without categories, or no answers.
        """
        categories, who = tasks.read_codebook(codebook), self._actor
        count, seed = numbers.whole(n, "n", 1), numbers.whole(seed, "seed")
        return coding_form.CodingForm(self._as_run(run), categories, count, seed, texts.text(name, "name"), who)

    # --- looking after the catalog ---

    def doctor(self, *, online: bool = False) -> pd.DataFrame:
        """Check versions, folder, disk, database, runs, age of prices and keys: what may be wrong, and what to do.

        Keys are never shown. ``online`` also requests the list of models from each provider with a key.

        Columns: about, health (``ok``, ``look`` or ``bad``), finding, remedy.
        """
        texts.flag(online, "online")
        return doctor.to_frame(doctor.examine(self._store, self._engine.connections, online=online))

    def backup(self, path: str | os.PathLike[str]) -> Path:
        """Write the catalog and all its runs to one file (``.tar.gz``), even while runs are active; no keys are in it.
        The texts of colleagues' runs are fetched first, as far as they can be.

        ``llmkit restore FILE`` turns it back into a catalog.

        Raises:
            ValidationError: the file exists already or cannot be written, or the journal is incomplete.
        """
        file = shapes.path(path)
        self._store.peers.fetch()
        archive.backup(self._store, file)
        return file

    def export(self, folder: str | os.PathLike[str]) -> Path:
        """Write all runs as Parquet files: ``runs.parquet``, and ``probes``, ``turns`` and ``attempts`` of each run. A
        warning names each run whose texts are elsewhere, such as in its archive; only ``runs.parquet`` has it.

        Raises:
            ValidationError: the folder cannot be written.
        """
        place = shapes.path(folder)
        with shapes.reaching(place, "written"):
            place.mkdir(parents=True, exist_ok=True)
        runs = self.runs(archived=None)
        analysis.to_parquet(runs, place / "runs.parquet")
        for run_id in runs["run_id"]:
            try:
                run_rows.check_texts(self._store.run(run_id))
            except ValidationError as elsewhere:
                warn(str(elsewhere))
                continue
            run = self._run(run_id)
            for table in get_args(analysis.Table):
                run.to_parquet(place / f"{table}-{run_id}.parquet", table)
        return place

    def export_capsule(
        self, run: analysis.Run | str, path: str | os.PathLike[str], notebook: str | os.PathLike[str] | None = None
    ) -> Path:
        """Write a run to one file that :func:`llmkit.open_capsule` opens anywhere: its journal, its prices, its tables
        as Parquet, and optionally a notebook. It contains no keys, balances or other runs.

        Raises:
            ValidationError: the run is active, the file exists already or cannot be written, or there is no such
                notebook.
        """
        file = shapes.path(path)
        analysis.capsule.export(
            self._store, self._as_run(run).id, file, None if notebook is None else shapes.path(notebook)
        )
        return file

    # --- keys and connections ---

    def ask_key(self, provider: str) -> None:
        """Prompt for a provider's key without echoing it. It is kept for this session only and stored nowhere.

        Raises:
            UnsupportedProvider: there is no such provider.
        """
        self._credentials.ask(self.catalog.provider(provider))

    def test_connection(self, provider: str) -> handles.Handle[list[RemoteModel]]:
        """Request a provider's list of models; await the handle, or call ``.result()``.

        Raises (from the handle):
            RequestFailed: the provider does not answer, or rejects the key.
        """
        return self._engine.connections.list_models(self.catalog.provider(provider))

    def use_simulator(self, simulator: simulator.Simulator) -> None:
        """Send the requests of all runs started from now on to a simulator; their rows are marked as simulated.

        A run in progress continues with the real providers.
        """
        self._engine.connections.use(simulator)

    # --- what the parts need ---

    def _sent_by(self, on: Any, options: Mapping[str, Any]) -> tuple[Checker, cluster.Crew | None]:
        """What checks a run, and the workers that send its requests; ``None`` if this process does."""
        if on is None:
            return self._engine.checker, None
        reach, providers = self._engine.connections, self.catalog.state().providers.values()
        crew = cluster.Crew(cluster.Link(on, options), reach, reach.simulator_for, providers)
        return replace(self._engine.checker, reach=crew), crew

    def _run(self, run_id: str) -> analysis.Run:
        return analysis.Run(run_id, self._store, lambda run: run_view.RunView(run, self.resume), self._actor)

    def _as_run(self, run: analysis.Run | str) -> analysis.Run:
        if isinstance(run, analysis.Run):
            return self.load(run.id) if self._is_closed else run  # a closed kit says so
        return self.load(run)

    def _own_kind(self, simulated: bool | None) -> bool:
        return self.simulated if simulated is None else texts.flag(simulated, "simulated")

    def _list_models(self, names: Sequence[str]) -> Mapping[str, Callable[[], list[RemoteModel]]]:
        """Request the model lists of these providers; of none in a rehearsal, which has no real lists."""
        return {} if self.simulated else {name: self.test_connection(name).result for name in names}


class _Closed:
    """Replaces the parts of a kit that was closed."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __getattr__(self, name: str) -> Never:
        raise LlmkitError(
            f"This kit is closed: open the catalog again with llmkit.open({str(self._path)!r}).",
            code=Code.VALIDATION_ERROR,
        )


def open_kit(
    path: str | os.PathLike[str] | None = None,
    *,
    simulate: bool = False,
    actor: str | None = None,
    adopt: bool = False,
    team: str | None = None,
) -> Kit:
    """Open a catalog, creating and seeding it on first use.

    Args:
        path: a DuckDB file; by default ``$LLMKIT_DB``, otherwise ``llmkit.duckdb`` in the user's data folder.
        simulate: rehearse: every provider counts as available, and all requests go to a simulator on this machine.
        actor: the name recorded with changes of the catalog in ``kit.catalog.history()``; by default your login name.
        adopt: recover: build the database from a journal that is incomplete or has no database, plus whatever a damaged
            database still yields, and import the runs of other journals in the folder.
        team: ``postgresql://user@host/database``, prepared with ``llmkit team init URL``: share catalog, runs, money
            and limits with everyone who opens a file of their own with it. Needs ``llmkit[team]``.

    Raises:
        CatalogBusy: the team's database does not answer, and none of its data is here yet.
        CatalogTooNew: the file was written by a newer llmkit.
        ValidationError: the path is a folder, no file can be created there, the journal has to be adopted first, or the
            file has a different catalog from the team's.
    """
    file = catalog_path(path)
    for flag, field in ((simulate, "simulate"), (adopt, "adopt")):
        texts.flag(flag, field)
    who = _login_name() if actor is None or actor == "" else texts.text(actor, "actor")
    if who in OWN_ACTORS:
        raise ValidationError(f"actor={who!r} is what llmkit calls its own changes: take another.", field="actor")
    return Kit(file, simulate=simulate, actor=who, adopt=adopt, team=team)


def teams() -> ModuleType:
    """Import :mod:`llmkit.team`, an optional extra.

    Raises:
        ValidationError: the extra is not installed.
    """
    try:
        from llmkit import team
    except ImportError:  # also raised by psycopg when it finds no libpq
        raise ValidationError("A team needs psycopg: pip install 'llmkit[team]'.", field="team") from None
    return team


def open_capsule(path: str | os.PathLike[str]) -> analysis.Run:
    """Open a run from a capsule written by ``kit.export_capsule``, with the same DataFrames and costs, offline.

    It is read-only, and unpacked to a temporary folder, which is removed when the run is no longer used.

    Raises:
        ValidationError: the file is not a capsule, or a byte of it has changed.
    """
    folder = TemporaryDirectory(prefix="llmkit-capsule-")
    store, run_id = analysis.capsule.unpack(shapes.path(path), Path(folder.name))

    def view(run: analysis.Run) -> Any:
        return run_view.RunView(run, refuse)

    def refuse(_: str) -> runs.RunHandle[analysis.Run]:
        raise ValidationError(
            f"The capsule in {folder.name} is read-only: resume the run in the project that it comes from."
        )

    return analysis.Run(run_id, store, view, _login_name())  # its view keeps the folder alive


def catalog_path(path: str | os.PathLike[str] | None = None) -> Path:
    """The catalog's file: ``path``, otherwise ``$LLMKIT_DB``, otherwise a file in the user's data folder."""
    usual = os.environ.get("LLMKIT_DB") or platformdirs.user_data_path("llmkit") / DEFAULT_NAME
    chosen = shapes.path(usual if path is None or path == "" else path)
    if re.match(r":memory:$|[\w+.-]{2,}:/", str(chosen)):
        raise ValidationError(f"{path} is not a file on this machine: name one, such as 'study.duckdb'.", field="path")
    file = Path(os.path.realpath(chosen))  # one journal and one lock per file, whatever link leads to it
    with shapes.reaching(file, "opened"):
        is_folder = file.is_dir()
    if "?" in str(file):  # DuckDB parses what follows as parameters
        raise ValidationError(f"{file} contains a '?': rename the file or its folder.", field="path")
    if is_folder:
        raise ValidationError(f"{file} is a folder: name a file in it, such as {file / DEFAULT_NAME}.", field="path")
    return file


def _login_name() -> str:
    """The user of this process; ``user`` if the system does not know, or if it is a name that llmkit itself uses."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user id in a container, no password database on Windows
        return "user"
    return "user" if name in OWN_ACTORS else name


def _without_run_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of an estimate, without arguments of a run that do not affect its cost."""
    merged = shapes.mapping(options.get("options"), "options", runs.OPTIONS_EXAMPLE)
    merged |= {name: value for name, value in options.items() if name != "options"}
    unpriced = ("name", "budget", "on", "on_event", "stop_when", "retry", "project")
    return {name: value for name, value in merged.items() if name not in unpriced}
