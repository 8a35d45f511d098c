"""The kit: one catalog, and everything that can be done with it. Wires the parts together, decides nothing itself."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Literal, Never, Self, get_args

import pandas as pd
import platformdirs

from llmkit import tasks
from llmkit.analysis import Design, Replication, Run, capsule, effective_status, replication
from llmkit.analysis.bill_exports import read_bill
from llmkit.analysis.budget_table import budget_table
from llmkit.analysis.calibration import calibration
from llmkit.analysis.costs import cost_table
from llmkit.analysis.exports import to_parquet
from llmkit.analysis.mode_table import mode_table, refuse_chosen_mode
from llmkit.analysis.power import design, pilot_spread
from llmkit.analysis.reconciliation import reconcile
from llmkit.analysis.run import Table
from llmkit.analysis.run_list import RunList
from llmkit.catalog import OWN_ACTORS, Catalog, ShippedOrigins, seed_catalog
from llmkit.catalog.budget_settings import budgets_of
from llmkit.errors import Code, LlmkitError, RunNotFound, ValidationError
from llmkit.kit import doctor, process_end
from llmkit.kit.card import card
from llmkit.kit.connections import Connections
from llmkit.kit.watching import watching
from llmkit.limiter import Gate
from llmkit.money.estimate_table import Estimate
from llmkit.money.pricing import billed
from llmkit.providers.transport import RetryPolicy
from llmkit.records import Model, RemoteModel, Scenario
from llmkit.records.checks import numbers, shapes, texts
from llmkit.runs import Checker, Handle, PastAnswers, RunEvent, RunHandle, Runner, RunRequest, Services, Spending
from llmkit.runs.modes import Mode
from llmkit.runs.plan import AskingOrder
from llmkit.runs.process_tuning import tuned_process
from llmkit.runs.request import ON_EVENT, OPTIONS_EXAMPLE, RUN_OPTIONS, Models
from llmkit.runs.reuse import Reuse
from llmkit.runs.stop_rules import StopRule
from llmkit.runs.tickets import waiting_words
from llmkit.scenarios import Prompts, as_scenarios
from llmkit.store import Snapshot, Store, archive, past, queries, totals, waiting
from llmkit.tasks import Codebook, Dimensions, Expansion, InfraHandle
from llmkit.tasks.coding import read_codebook
from llmkit.tasks.structured import Schema, answer_check, json_schema

if TYPE_CHECKING:
    from llmkit.cluster import Crew
    from llmkit.simulator import Simulator

# Panels are imported only when one is opened: ipywidgets is slow to load.

DEFAULT_NAME = "llmkit.duckdb"
CLOSE_GRACE = 2.0
"""Seconds that ``close`` lets answers on their way arrive."""


class Kit:
    """An open catalog with its runs. Made by :func:`llmkit.open`; use it as a context manager or call :meth:`close`.

    Nothing is held open between calls: other notebooks may have the same file open.
    """

    catalog: Catalog
    """Providers, models, prices and settings."""

    def __init__(
        self,
        path: Path,
        *,
        simulate: bool = False,
        actor: str = "user",
        adopt: bool = False,
        team: str | None = None,
    ) -> None:
        store = Store(path, adopt=adopt)
        self._gate = Gate(path.with_name(path.name + ".gate"))
        self._team = None if team is None else teams().join(store, self._gate, team, actor)
        may_edit = not store.is_read_only and (self._team is None or self._team.is_reached)
        if may_edit:
            seed_catalog(store)
        self.path, self._actor = path, actor
        self._store = store
        self._connections = Connections(ShippedOrigins(), simulating=simulate)
        self.catalog = Catalog(
            store,
            has_key=self._connections.has_key,
            approve_origin=self._connections.credentials.approve_origin,
            origin_allowed=self._connections.credentials.origin_allowed,
            list_models=self._list_models,
            actor=actor,
            card=self._repr_mimebundle_,
        )
        if may_edit:
            self.catalog.apply_due_prices()
        services = Services(
            store=store,
            gate=self._gate,
            transport=self._connections.transport,
            spending=Spending(store, path.with_name(path.name + ".gate")),
            learn_rejected=self.catalog.learn_rejected,
            actor=actor,
        )
        self._spending = services.spending
        self._checker = Checker(self._connections, PastAnswers(store), services.spending, answer_check)
        self._runner: Runner[Run] = Runner(services, self._run, self._run_panel, watching)
        self._runner.deduct_interrupted()
        self._infra = tasks.Infra(self.catalog, self._start_infra)
        self._is_closed = False
        process_end.close_at_exit(self, self._connections, self._gate, store)

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
            return card(self.path, self._facts())
        except LlmkitError as error:  # the database is held by another program, say: a cell's end raises nothing
            return card(self.path, {"": error})

    def _facts(self) -> dict[str, str]:
        """Runs, spent this month and keys, in words."""
        kinds = self.costs(since=datetime.now(UTC).date().replace(day=1), by="kind")
        unknown = kinds[["unpriced", "maybe_billed"]].sum().sum()
        keys = self.catalog.providers()["key_status"]
        are_set = f"{keys.eq('set').sum()} of {keys.ne('not needed').sum()} set"
        return {
            "runs": f"{len(self.runs(archived=None)):,}",
            "spent this month": billed(Decimal(str(kinds["estimated_cost"].sum())), int(unknown)),
            "keys": "none is used: requests go to a simulator" if self.simulated else are_set,
        }

    def close(self) -> None:
        """Stop what is running, save what arrives within two seconds, and stop this kit's simulator.

        Results stay readable; every later call of the kit or its catalog raises :class:`LlmkitError`.
        """
        if self._is_closed:
            return
        self._infra.stop()
        self._runner.close(CLOSE_GRACE)
        self._infra.wait()
        self._connections.close()
        self._gate.close()
        self._store.close()
        self._is_closed = True
        process_end.closed(self)
        closed: Any = _Closed(self.path)
        self.catalog = self._store = self._connections = self._checker = self._runner = self._spending = closed
        self._team = self._team and closed

    @property
    def simulated(self) -> bool:
        """Whether requests go to a simulator, so that nothing is billed."""
        return self._connections.simulating

    @property
    def is_in_team(self) -> bool:
        """Whether the catalog is shared with colleagues: opened with ``team=``."""
        return self._team is not None

    # --- asking ---

    def estimate(
        self,
        prompts: Prompts,
        models: Models = None,
        samples: int = 1,
        *,
        system: str | None = None,
        followups: str | Sequence[str] | None = None,
        max_tokens: int | None = None,
        schema: Schema | None = None,
        service_tier: str | None = None,
        reuse: Reuse = False,
        reuse_within: float | None = None,
        mode: Mode = "live",
        **options: Any,
    ) -> Estimate:
        """What :meth:`run` would probably cost with the same arguments. Nothing is sent.

        With ``reuse`` only what has no answer yet is counted: ``.df`` has the requests of each model.

        Raises:
            LlmkitError: as :meth:`run` does for prompts and models.
        """
        request = RunRequest(
            prompts=prompts,
            models=models,
            samples=samples,
            system=system,
            followups=followups,
            max_tokens=max_tokens,
            schema=json_schema(schema),
            service_tier=service_tier,
            temperature=options.pop("temperature", None),
            seed=options.pop("seed", None),
            order=options.pop("order", "interleaved"),
            reuse=reuse,
            reuse_within=reuse_within,
            mode=mode,
            options=_without_run_options(options),
        )
        return self._checker.estimate(request, self.catalog.state())

    def plan_modes(self, prompts: Prompts, models: Models = None, samples: int = 1, **options: Any) -> pd.DataFrame:
        """What each way of asking would cost and take: one row a model and mode (``live``, ``batch``, ``flex``).

        Columns: model, config, mode, requests, cost, low and high in US dollars, hours (in batches the most that the
        provider promises, turn by turn). Ways that a model cannot be asked in are left out. ``options`` as in
        :meth:`estimate`.

        Raises:
            ValidationError: ``options`` choose the mode or the tier that are to be compared.
            LlmkitError: as :meth:`estimate` does.
        """
        refuse_chosen_mode(options)
        together = self.estimate(prompts, models, samples, **options)
        each = models if isinstance(models, list | tuple) else [models]
        if models is None:
            each = together.df["model"].tolist()
        return mode_table(each, lambda model, **how: self.estimate(prompts, model, samples, **options, **how).df)

    def run(
        self,
        prompts: Prompts,
        models: Models = None,
        samples: int = 1,
        *,
        name: str | None = None,
        system: str | None = None,
        followups: str | Sequence[str] | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        seed: int | None = None,
        budget: Decimal | int | str | float | None = None,
        order: AskingOrder = "interleaved",
        on_event: Callable[[RunEvent], None] | None = None,
        retry: RetryPolicy | None = None,
        options: Mapping[str, Any] | None = None,
        schema: Schema | None = None,
        project: str | None = None,
        service_tier: str | None = None,
        reuse: Reuse = False,
        reuse_within: float | None = None,
        on: Any = None,
        mode: Mode = "live",
        stop_when: StopRule | None = None,
    ) -> RunHandle[Run]:
        """Ask every prompt of every model, ``samples`` times; returns at once.

        ``run = await kit.run(...)`` in a notebook, ``kit.run(...).result()`` in a script.

        Args:
            prompts: a string, a list of strings or :class:`Scenario`, or a DataFrame with a column ``prompt``.
            models: references (``provider:model_id``) and :class:`llmkit.Config`, mixed; by default the default model
                of every provider with a key.
            samples: how often each model answers each prompt.
            name: a label for the run.
            system: the system prompt of scenarios that have none.
            followups: prompts that continue the conversation, for scenarios that have none.
            temperature: 0 to 2.
            max_tokens: the most tokens of one answer, reasoning included.
            seed: sample n is asked with seed + n − 1, where the API takes a seed.
            budget: US dollars that the run cannot exceed.
            order: ``interleaved`` (shuffled by a seed kept in the run), ``sequential``, or ``cache``: what begins alike
                is asked together, the first of it alone, so that providers read the beginning from their caches for
                less; shuffled within, and marked for the cache where that pays (Anthropic). What differs between such
                blocks is then asked one after the other.
            on_event: called with every :class:`RunEvent`, on a background thread.
            retry: a :class:`RetryPolicy`.
            options: ``top_p``, ``stop``, ``reasoning_effort``, ``extra_body``, ``strict`` (refuse parameters that a
                model does not take), ``adaptive`` (find the best concurrency below the limit), ``order_seed``,
                ``overdraw`` (ask providers whose balance is negative); with ``on``, ``worker_timeout`` (seconds; 30)
                and ``trust_network`` (send prompts over a network without TLS).
            service_tier: what to be served at, ``"standard"`` or one of the model's ``price_variants`` (``"flex"``); by
                default what the provider chooses. ``run.probes`` has what the answers were served at.
            project: what it belongs to, for :meth:`set_budget` and ``kit.costs(by="project")``.
            schema: a JSON schema or pydantic model that answers must match; fields become columns ``answer.<field>``.
            reuse: take answers that were bought before for the same request (byte for byte) and sample; they cost
                nothing, and ``reused_from`` and ``original_cost`` say where they are from. ``"only"`` asks nothing
                besides, and leaves the rest pending: :meth:`resume` asks it. Rehearsals reuse rehearsals only.
            reuse_within: how old such answers may be, in days.
            on: a ``distributed.Client``: the workers of its Dask cluster send the requests, with the keys of their own
                environment. Everything else stays as it is: limits, budget, progress, Stop. What a lost worker had on
                its way may have been billed, and is asked again.
            mode: ``"live"``; ``"batch"``, by the providers' batch APIs: for less and within a day or two, turn by turn;
                or ``"batch-or-live"``, where provider and catalog allow it. A kernel that ends meanwhile loses nothing:
                :meth:`resume` fetches what was handed in. ``options={"poll_s": 60}`` sets the seconds between looks.
            stop_when: stop asking early, by a rule such as ``llmkit.half_width("answer.score", 0.03)``. The run is then
                ``cancelled``, and :meth:`resume` asks the rest.

        Raises:
            LlmkitError: whatever can be known before anything is sent; :class:`RunRefused` lists several problems.
        """
        request = RunRequest(
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
            schema=json_schema(schema),
            project=project,
            service_tier=service_tier,
            reuse=reuse,
            reuse_within=reuse_within,
            mode=mode,
            stop_when=stop_when,
        )
        crew = self._crew(on, request.options)
        with tuned_process():  # while a hundred thousand scenarios are read, each garbage collection stops other runs
            return self._runner.start(self._checked_by(crew).spec(request, self.catalog.state()), crew)

    def design(
        self,
        scenarios: Prompts,
        models: Models = None,
        *,
        value: str,
        detect: float,
        power: float = 0.8,
        budget: Decimal | int | str | float | None = None,
        pilot: Run | pd.DataFrame,
        **options: Any,
    ) -> Design:
        """How many of these scenarios, asked how often, find a difference between two configurations, and at what cost.

        Args:
            scenarios: what can be asked, as the prompts of :meth:`run`.
            models: as in :meth:`run`.
            value: the column of numbers that is to be compared, such as ``"answer.score"``.
            detect: the difference of means to be found, at p < 0.05 in a paired comparison over scenarios.
            power: the chance to find it.
            budget: US dollars that the study may cost.
            pilot: a run of a few scenarios (two samples or more tell scenarios from chance), for the variances.
            options: as in :meth:`estimate`.

        The costs are those of :meth:`estimate`, which knows the pilot's answers.

        Raises:
            ValidationError: numbers that make no sense, or a pilot of too few answers.
            LlmkitError: as :meth:`estimate` does.
        """
        ready = as_scenarios(scenarios)
        spread, estimate = pilot_spread(pilot, value), self.estimate(ready, models, **options)
        priced = estimate.total is not None and not estimate.unpriced
        amounts = {"cost": estimate.total, "low": estimate.low, "high": estimate.high}
        return design(
            spread,
            detect=detect,
            power=power,
            available=len(ready),
            unit={name: amount / len(ready) if priced and amount else None for name, amount in amounts.items()},
            budget=None if budget is None else numbers.amount(budget, "budget"),
        )

    def replicate(self, run: Run | str, share: float = 0.02, *, seed: int = 0) -> Replication:
        """A part of a run to be asked again: what has changed since, and what it will cost. Nothing is sent.

        ``replica = await replication.start()`` asks it, and ``replication.compare(replica)`` has what came of it beside
        what the run had, scenario by scenario. Every configuration is asked the same scenarios, drawn by ``seed`` and
        so many that they are at least the ``share`` of its probes. Models that are retired are reported, not asked.
        The run may be one of this kit or of :func:`llmkit.open_capsule`.

        Raises:
            RunNotFound: there is no such run.
            ValidationError: a share that is not above 0 and at most 1; the run was a rehearsal and this kit is none, or
                the other way round.
        """
        original, state = self._as_run(run), self.catalog.state()
        simulating, has_key = self.simulated, self._connections.has_key
        latest = self._store.read(lambda c: totals.latest_versions(c, simulated=simulating))
        request, plan, changes = replication.prepare(
            original, state, has_key, latest, simulating=simulating, share=share, seed=seed
        )

        def start(budget: Decimal | int | str | float | None) -> RunHandle[Run]:
            spec = self._checker.spec(replace(request, budget=budget), self.catalog.state(), plan)
            return self._runner.start(spec)

        return Replication(original, plan, changes, self._checker.estimate(request, state, plan), start)

    def resume(
        self,
        run_id: str,
        *,
        budget: Decimal | int | str | float | None = None,
        on_event: Callable[[RunEvent], None] | None = None,
        on: Any = None,
        options: Mapping[str, Any] | None = None,
    ) -> RunHandle[Run]:
        """Resume a run: ask what has no answer yet, at today's prices; a warning says where they have changed.

        ``budget`` takes the place of the run's own: what it may have cost in all, in US dollars.

        Probes that were cancelled, skipped, interrupted, or failed in a way that may pass are asked; a request that was
        on its way when the process died may be billed twice, and is counted in ``costs()`` as maybe billed. Probes of
        models that were deprecated and providers that were disabled meanwhile are skipped.

        ``on`` is as in :meth:`run`, with its ``options``: answers that the workers of a cluster have kept while the
        process was dead are taken, and not asked again.

        Raises:
            RunNotFound: no such run.
            BudgetExceeded: ``budget`` is spent already.
            ValidationError: it is running, or was a rehearsal and this kit is not (or the other way round), or
                ``on_event`` is no function.
            MissingApiKey: a provider's key is not set.
        """
        shapes.function(on_event, "on_event", ON_EVENT)
        catalog = self.catalog.state()
        row = self._store.run(run_id, with_scenarios=True)
        spent = self._store.read(lambda c: totals.total_cost(c, run_id) + totals.worst_unknown(c, run_id))
        crew = self._crew(on, {} if options is None else options)
        spec, changes = self._checked_by(crew).resumed(row, catalog, budget, spent)
        return self._runner.resume(run_id, replace(spec, on_event=on_event), spent, catalog, changes, crew)

    # --- budgets above runs ---

    def set_budget(
        self,
        scope: str,
        amount: Decimal | int | str | float | None,
        *,
        provider: str | None = None,
        alert_at: Decimal | str | float = 0.8,
    ) -> None:
        """Limit what all runs together may spend, in all processes: in a month (``"2026-12"``, UTC) or on a project.

        ``amount`` is in US dollars, and ``None`` takes the budget away; with ``provider`` it is for that one alone.
        A warning says once that the share ``alert_at`` is spent. It holds for runs that are going on too, and before
        anything is sent: a request of which nobody knows what it may cost is refused. Rehearsals have accounts of
        their own. What colleagues of a team spend on other machines is counted some seconds later, so that together
        they can pass a budget by what they spend meanwhile.

        Raises:
            ValidationError: not a month or the name of a project, a negative amount, or a share above 1.
            UnsupportedProvider: no such provider.
        """
        self.catalog.set_budget(scope, amount, provider=provider, alert_at=alert_at)

    def budgets(self) -> pd.DataFrame:
        """The budgets of :meth:`set_budget`, in US dollars: scope, provider (missing: all of them), amount, spent,
        reserved (for requests under way), left (amount less spent), share (spent of amount), alert_at, is_alert.

        What may have been billed without anybody knowing is counted at the most that it can have cost.
        """
        return budget_table(self._spending.standings(budgets_of(self.catalog.state()), simulated=self.simulated))

    def reconcile(self, path_or_frame: str | os.PathLike[str] | pd.DataFrame, provider: str) -> pd.DataFrame:
        """Compare our costs with a provider's bill: one row a day and model, for the months (UTC) of the export.

        ``path_or_frame`` is an export as CSV, JSON or DataFrame: OpenAI's costs (or usage of completions, priced with
        our prices), Anthropic's cost report, or OpenRouter's activity. Nothing is changed.

        Columns: day, model (a reference; the name in the export where the catalog has no such model; missing where the
        export does not tell models apart), then in US dollars ``ours``, ``theirs`` and ``difference`` (theirs less
        ours); ``requests`` (ours), and ``likely_cause`` of a difference: ``missing day``, ``missing model``,
        ``duplicate``, ``not asked here``, ``other tier``, ``unknown`` (requests that may have been billed) or another
        price, each with a few words more.

        Raises:
            UnsupportedProvider: no such provider.
            ValidationError: the export cannot be read, or has none of these formats.
        """
        name, state = self.catalog.provider(provider).name, self.catalog.state()
        models = {reference: model for reference, model in state.models.items() if model.provider == name}
        requests = self._store.read(lambda c: totals.billable(c, name, simulated=self.simulated))
        return reconcile(read_bill(path_or_frame), requests, models)

    # --- reading ---

    def sql(self, sql: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> pd.DataFrame:
        """Answer a SELECT over the catalog and all runs; read-only, and without access to other files.

        ``params`` is a list for the ``?`` of the statement, or a dict for its ``$names``. Times come in UTC, DECIMAL as
        float64, columns of type JSON as lists and dicts; two columns of one name as ``name`` and ``name_1``.

        Raises:
            ValidationError: the statement fails, or would write.
        """
        return self._store.query(sql, params)

    def snapshot(self) -> Snapshot:
        """A DuckDB connection of your own, in memory, with a copy of every table."""
        return self._store.snapshot()

    def runs(self, *, archived: bool | None = False, tag: str | None = None) -> pd.DataFrame:
        """All runs, newest first, with their probes counted by state, and what they cost in US dollars (without those
        that are ``unpriced``; missing where nothing is known).

        Those that ``run.hide()`` has ``archived`` are left out; ``True`` lists them alone, ``None`` all. ``tag`` lists
        those that ``run.tag`` gave it; ``tags`` and ``note`` have what people noted.

        One with requests in batches is ``waiting for batch, 340 of 1,000 back``. One whose process died is
        ``interrupted``; ``unknown`` counts requests that it left without an answer, which may have been billed.
        ``kit.resume(run_id)`` goes on with either.
        """
        frame = RunList(self._store.read(queries.runs))
        live = {run_id: self._store.is_live(run_id) for run_id in frame.loc[frame["status"] == "running", "run_id"]}
        batches = self._store.read(waiting.in_batches)
        now = [
            waiting_words(*batches[run_id]) if run_id in batches else effective_status(status, live.get(run_id, False))
            for status, run_id in zip(frame["status"], frame["run_id"], strict=True)
        ]
        frame["status"] = pd.Series(now, index=frame.index, dtype=frame["status"].dtype)  # text, also of no runs
        if archived is not None:
            frame = frame[frame["archived"] == texts.flag(archived, "archived")]
        if tag is not None:
            frame = frame[[tag in tags for tags in frame["tags"]]]
        return frame.reset_index(drop=True)

    def load(self, run_id: str) -> Run:
        """A run by its id.

        Raises:
            RunNotFound: there is none of that id.
        """
        self._store.run(run_id)
        return self._run(run_id)

    def last_run(self) -> Run:
        """The run that was started last, in any notebook.

        Raises:
            RunNotFound: there is none yet.
        """
        runs = self._store.read(queries.runs)
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
        """Tokens and costs over all runs, internal tasks included, as in :meth:`llmkit.Run.costs`.

        ``by`` also takes ``run_name``, ``kind`` and ``actor``. Unlike there, these, ``month``, ``day`` and ``template``
        are always llmkit's own columns: rename a column of your prompts to group by it.

        ``since`` is a date or a time, or its text (``"2026-11-01"``), in UTC: only requests made from then on count.
        ``simulated`` chooses rehearsals (True) or real runs (False); left out, a kit shows the kind that it makes.

        Raises:
            ValidationError: an unknown column, or a time that cannot be read.
        """
        return cost_table(self._store, by, since=since, simulated=self._own_kind(simulated))

    def calibration(self, by: Literal["model", "run"] = "model", *, simulated: bool | None = None) -> pd.DataFrame:
        """Estimates compared with actual costs: one row for each completed run and model, or for each run.

        Columns: run_id, name, started_at, model, probes, ok, then in US dollars ``estimate``, ``low`` and ``high``
        (the 80 % interval) and ``actual``; ``ratio`` is actual / estimate, ``inside`` whether the interval contains it;
        ``basis`` and ``observations`` say what the estimate rested on. Costs are missing where a price is unknown.
        ``simulated`` as in :meth:`costs`.

        Raises:
            ValidationError: ``by`` is something else.
        """
        only = self._own_kind(simulated)
        return calibration(self._store.read(lambda c: past.estimates(c, simulated=only)), by)

    def team(self) -> pd.DataFrame:
        """Who is in the team: one row a person, those who are on first.

        Columns: actor, is_on (seen within 15 seconds), hosts, runs (ids of what they run now), asking (providers that
        they ask now), then of this month (UTC) probes, spent (US dollars) and unpriced as in :meth:`costs`, last_seen.
        Spending from before the team, and by people who have left, is included.

        Raises:
            ValidationError: this kit was opened without ``team=``.
        """
        if self._team is None:
            raise ValidationError("Nobody shares this catalog: llmkit.open(path, team='postgresql://…').", field="team")
        month = datetime.now(UTC).date().replace(day=1)
        table: pd.DataFrame = teams().team_table(self._team.members, self.costs(since=month, by="actor"))
        return table

    # --- internal tasks ---

    def expand(
        self,
        description: str,
        n: int = 10,
        dimensions: Dimensions = None,
        *,
        strict: bool = False,
        budget: Decimal | int | str | float | None = None,
    ) -> InfraHandle[Expansion]:
        """Have the ``scenario_expansion`` model write ``n`` different scenarios; returns at once, as :meth:`run` does.

        The result is a list of :class:`Scenario` with ``.table()`` (to keep, edit and drop), ``.account`` and ``.run``:
        it is recorded as a run of kind ``infra``, with its cost. Answers in another form are requested once more,
        repeated scenarios are dropped, and missing ones requested once; a warning says when there are fewer than ``n``.

        Args:
            description: what the scenarios are about, and how they should be.
            n: how many.
            dimensions: ``{name: levels}``, as in ``scenarios_from_template``: each scenario is written for one
                combination, and they come equally often. Or names alone, whose values the model chooses.
            strict: refuse another model than the one that is set, when that one cannot be used. Else the cheapest
                available model that can do it is asked, with a warning.
            budget: US dollars that it cannot exceed.

        Raises:
            LlmkitError: nothing was sent; from the handle: :class:`RequestFailed`, when nothing usable came.
        """
        return tasks.expand(self._infra, description, n, dimensions, strict=strict, budget=budget)

    def summarize(
        self,
        run: Run | str,
        question: str | None = None,
        by: str | Sequence[str] = "model",
        *,
        strict: bool = False,
        budget: Decimal | int | str | float | None = None,
    ) -> InfraHandle[pd.DataFrame]:
        """Have the ``summarization`` model summarize a run's answers, one summary for each group; returns at once.

        Answers that do not fit into the model's context are summarized in parts, and the summaries then together.
        ``by`` names columns of ``run.probes``; ``strict`` and ``budget`` are as in :meth:`expand`, and the models of
        the run are never taken in the place of the one that is set.

        The result has the columns of ``by``, ``summary``, ``n_answers``, ``error`` (missing when all went well),
        ``cost`` (US dollars), ``infra_model`` and ``infra_run_id``.

        Raises:
            LlmkitError: nothing was sent.
        """
        return tasks.summarize(self._infra, self._as_run(run), question, by, strict=strict, budget=budget)

    def code(
        self,
        run: Run | str,
        codebook: Codebook,
        coders: Sequence[str] | None = None,
        strict: bool = True,
        *,
        budget: Decimal | int | str | float | None = None,
    ) -> InfraHandle[pd.DataFrame]:
        """Have the ``judge`` model, or several ``coders``, put every answer of a run into one category.

        ``codebook`` is ``{category: definition}``, or a list of categories; add one such as ``other`` for answers that
        fit none. Coding is a measurement, so no other model than the one that is set takes its place, unless
        ``strict=False``; ``budget`` is as in :meth:`summarize`, for all coders together (an equal part for each).

        ``coders`` are references of models. Each codes every answer by itself, and ``infra_model`` says who;
        ``llmkit.agreement(codes)`` says how far they agree, and its ``table`` has what they disagree on.

        Returns at once. The result has a row for every answer that is ok, and of several coders one for each of them,
        to be merged with ``run.probes`` on ``probe_id``: ``category``, the ``quote`` that it rests on, ``quote_found``
        (whether the answer holds that quote), ``error`` (why there is no category), ``cost`` (its share, in US
        dollars), ``infra_model`` and ``infra_run_id``.

        Raises:
            LlmkitError: nothing was sent.
        """
        return tasks.code(self._infra, self._as_run(run), codebook, coders, strict=strict, budget=budget)

    # --- widgets ---

    def models_panel(self) -> Any:
        """The form for models: prices, lifecycle, defaults."""
        from llmkit.widgets.models_panel import ModelsPanel

        return ModelsPanel(self)

    def providers_panel(self) -> Any:
        """The form for providers: limits, keys, custom endpoints."""
        from llmkit.widgets.providers_panel import ProvidersPanel

        return ProvidersPanel(self)

    def infra_panel(self) -> Any:
        """The form for the models of internal tasks."""
        from llmkit.widgets.infra_panel import InfraPanel

        return InfraPanel(self)

    def settings_panel(self) -> Any:
        """Models, providers and infrastructure as tabs, and the team if there is one."""
        from llmkit.widgets.settings_panel import SettingsPanel

        return SettingsPanel(self)

    def run_form(self, prompts: Prompts | None = None) -> Any:
        """The form that starts a run: models, samples, budget, a live estimate, then progress."""
        from llmkit.widgets.run_form import RunForm

        return RunForm(self, prompts)

    def reader(self, runs: Run | str | Sequence[Run | str] | None = None) -> Any:
        """A panel to read answers in: filters, search, side by side. By default of the last run.

        ``runs`` is a run or its id, or several. What a run in progress is answered appears as it arrives.

        Raises:
            RunNotFound: there is no such run.
        """
        from llmkit.widgets.reader import Reader

        chosen = (self.last_run(),) if runs is None else (runs,) if isinstance(runs, Run | str) else None
        if chosen is None:
            chosen = shapes.several(runs, "runs", "a run or its id, or a list of them")
        return Reader([self._as_run(run) for run in chosen])

    def coding_form(
        self, run: Run | str, codebook: Codebook, n: int = 50, *, seed: int = 0, name: str = "category"
    ) -> Any:
        """A form to code ``n`` answers of a run by hand: blind, as many of each configuration, drawn by ``seed``.

        Digits code and go on, Backspace goes back; each code is kept as it is given, by :meth:`llmkit.Run.annotate` as
        ``codes={name: category}``, beside those of models and of other people. The same call goes on at the first
        answer that you have not coded. ``run.hand_codes(name)`` is what came of it.

        Raises:
            ValidationError: a codebook without categories, or no answers.
        """
        from llmkit.widgets.coding_form import CodingForm

        categories, who = read_codebook(codebook), self._actor
        return CodingForm(self._as_run(run), categories, numbers.whole(n, "n", 1), seed, texts.text(name, "name"), who)

    # --- looking after the catalog ---

    def doctor(self, *, online: bool = False) -> pd.DataFrame:
        """What may be wrong here and what to do: versions, folder, disk, database, runs, age of prices, keys.

        Keys are never shown. ``online`` also asks each provider that has a key for its list of models.

        Columns: about, health (``ok``, ``look`` or ``bad``), finding, remedy.
        """
        return doctor.to_frame(doctor.examine(self._store, self._connections, online=online))

    def backup(self, path: str | os.PathLike[str]) -> Path:
        """Write the catalog with all its runs to one file (``.tar.gz``), also while runs go on; no keys are in it.

        ``llmkit restore FILE`` makes a catalog of it again.

        Raises:
            ValidationError: the file is there already, or cannot be written.
        """
        file = shapes.path(path)
        archive.backup(self._store.journal, file)
        return file

    def export(self, folder: str | os.PathLike[str]) -> Path:
        """Write all runs as Parquet files: ``runs.parquet``, and ``probes``, ``turns`` and ``attempts`` by run.

        Raises:
            ValidationError: the folder cannot be written.
        """
        place = shapes.path(folder)
        with shapes.reaching(place, "written"):
            place.mkdir(parents=True, exist_ok=True)
        runs = self.runs(archived=None)
        to_parquet(runs, place / "runs.parquet")
        for run in map(self.load, runs["run_id"]):
            for table in get_args(Table):
                run.to_parquet(place / f"{table}-{run.id}.parquet", table)
        return place

    def export_capsule(
        self, run: Run | str, path: str | os.PathLike[str], notebook: str | os.PathLike[str] | None = None
    ) -> Path:
        """Write a run as one file that :func:`llmkit.open_capsule` opens anywhere: its journal, its prices, the same as
        Parquet, and the notebook if one is named. No keys, balances or other runs are in it.

        Raises:
            ValidationError: the run goes on; the file is there already or cannot be written; there is no such notebook.
        """
        file = shapes.path(path)
        capsule.export(self._store, self._as_run(run).id, file, None if notebook is None else shapes.path(notebook))
        return file

    # --- keys and connections ---

    def ask_key(self, provider: str) -> None:
        """Ask for a provider's key with a hidden prompt, for this session only; it is stored nowhere.

        Raises:
            UnsupportedProvider: no such provider.
        """
        self._connections.credentials.ask(self.catalog.provider(provider))

    def test_connection(self, provider: str) -> Handle[list[RemoteModel]]:
        """Ask a provider for its list of models; awaitable, or ``.result()``.

        Raises (from the handle):
            RequestFailed: it does not answer, or refuses the key.
        """
        return self._connections.list_models(self.catalog.provider(provider))

    def use_simulator(self, simulator: Simulator) -> None:
        """Send the requests of all runs started from now on to a simulator; every row is marked as simulated.

        A run that is under way goes on with the real providers.
        """
        self._connections.use(simulator)

    # --- what the parts are handed ---

    def _crew(self, on: Any, options: Mapping[str, Any]) -> Crew | None:
        """The workers that send a run's requests; ``None``: this process does."""
        if on is None:
            return None
        from llmkit.cluster import Crew, Link  # imported only with a cluster

        return Crew(Link.of(on, options), self._connections)

    def _checked_by(self, crew: Crew | None) -> Checker:
        return self._checker if crew is None else replace(self._checker, reach=crew)

    def _run(self, run_id: str) -> Run:
        return Run(run_id, self._store, self._run_view, self._actor)

    def _as_run(self, run: Run | str) -> Run:
        return run if isinstance(run, Run) else self.load(run)

    def _own_kind(self, simulated: bool | None) -> bool:
        return self.simulated if simulated is None else simulated

    def _run_panel(self, handle: RunHandle[Run]) -> Any:
        from llmkit.widgets.run_panel import RunPanel

        return RunPanel(handle, self.resume)

    def _run_view(self, run: Run) -> Any:
        from llmkit.widgets.run_view import RunView

        return RunView(run, self.resume)

    def _start_infra(
        self,
        scenarios: Sequence[Scenario],
        model: Model,
        *,
        name: str,
        schema: Mapping[str, Any] | None,
        budget: Decimal | int | str | float | None,
    ) -> RunHandle[Run]:
        request = RunRequest(
            prompts=list(scenarios), models=[model], kind="infra", name=name, schema=json_schema(schema), budget=budget
        )
        return self._runner.start(self._checker.spec(request, self.catalog.state()))

    def _list_models(self, names: Sequence[str]) -> dict[str, list[RemoteModel] | LlmkitError]:
        """The lists of all these providers, asked for at once; of none in a rehearsal, which knows no real list."""
        handles = {} if self.simulated else {name: self.test_connection(name) for name in names}
        return {name: _result_or_error(handle) for name, handle in handles.items()}


class _Closed:
    """Stands in the place of the parts of a kit that was closed."""

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
    """Open a catalog, made and seeded on first use.

    Args:
        path: a DuckDB file; by default ``$LLMKIT_DB``, else ``llmkit.duckdb`` in the user's data folder.
        simulate: rehearse: every provider counts as available and all requests go to a simulator on this machine.
        actor: whose name changes of the catalog carry in ``kit.catalog.history()``; by default your login name.
        adopt: make the database of a journal that is incomplete or that no database belongs to, and of what a damaged
            database still gives; take in the runs of other journals in the folder.
        team: ``postgresql://user@host/database``, prepared with ``llmkit team init URL``: share the catalog, runs,
            money and limits with all who open files of their own with it. Needs ``llmkit[team]``.

    Raises:
        CatalogBusy: the team's database does not answer, and nothing of it is here yet.
        CatalogTooNew: the file was written by a newer llmkit.
        ValidationError: the path is a folder, no file can be made there, the journal has to be adopted first, or the
            file has another catalog than the team.
    """
    file = catalog_path(path)
    texts.flag(simulate, "simulate")
    who = shapes.optional_string(actor, "actor") or _login_name()
    return Kit(file, simulate=simulate, actor=who, adopt=adopt, team=team)


def teams() -> ModuleType:
    """:mod:`llmkit.team`, which only those have who want one.

    Raises:
        ValidationError: it cannot be loaded.
    """
    try:
        from llmkit import team
    except ImportError:  # also of psycopg without the libpq that it is for
        raise ValidationError("A team needs psycopg: pip install 'llmkit[team]'.", field="team") from None
    return team


def open_capsule(path: str | os.PathLike[str]) -> Run:
    """The run of a capsule that ``kit.export_capsule`` wrote, with the same DataFrames and costs; needs no network.

    What it is unpacked into is removed when the run is no longer used.

    Raises:
        ValidationError: the file is no capsule, or a byte of it has changed.
    """
    folder = TemporaryDirectory(prefix="llmkit-capsule-")
    store, run_id = capsule.unpack(shapes.path(path), Path(folder.name))

    def view(run: Run) -> Any:
        from llmkit.widgets.run_view import RunView  # as in the kit

        return RunView(run, refuse)

    def refuse(_: str) -> RunHandle[Run]:
        raise ValidationError(f"The capsule in {folder.name} can be read only: resume the run where it was made.")

    return Run(run_id, store, view, _login_name())  # whose view keeps the folder


def catalog_path(path: str | os.PathLike[str] | None = None) -> Path:
    """The catalog's file: ``path``, else ``$LLMKIT_DB``, else one in the user's data folder.

    Raises:
        ValidationError: it is a folder, or has a question mark in it.
    """
    chosen = path or os.environ.get("LLMKIT_DB") or platformdirs.user_data_path("llmkit") / DEFAULT_NAME
    file = Path(os.path.realpath(shapes.path(chosen)))  # one file has one journal and one lock, by whatever link
    with shapes.reaching(file, "opened"):
        is_folder = file.is_dir()
    if "?" in str(file):  # DuckDB takes what follows for parameters
        raise ValidationError(f"{file} has a '?' in it: name the file or its folder otherwise.", field="path")
    if is_folder:
        raise ValidationError(f"{file} is a folder: name a file in it, such as {file / DEFAULT_NAME}.", field="path")
    return file


def _result_or_error(handle: Handle[list[RemoteModel]]) -> list[RemoteModel] | LlmkitError:
    try:
        return handle.result()
    except LlmkitError as error:
        return error


def _login_name() -> str:
    """Who uses this process; ``user`` where the system does not say, or says the name of one of llmkit's own actors."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user id in a container, no password database on Windows
        return "user"
    return "user" if name in OWN_ACTORS else name


def _without_run_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of an estimate: those of a run that do not change its cost may be given too."""
    merged = shapes.mapping(options.get("options"), "options", OPTIONS_EXAMPLE)
    merged |= {name: value for name, value in options.items() if name != "options"}
    unpriced = ("name", "budget", "on_event", "stop_when", "retry", "project", *RUN_OPTIONS)
    return {name: value for name, value in merged.items() if name not in unpriced}
