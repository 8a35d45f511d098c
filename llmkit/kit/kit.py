"""The kit: one catalog, and everything that can be done with it. Wires the parts together, decides nothing itself."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import pandas as pd
import platformdirs

from llmkit import infra
from llmkit.catalog import Catalog
from llmkit.credentials import Credentials
from llmkit.errors import LlmkitError, MissingApiKey, RunNotFound, ValidationError
from llmkit.estimates import Estimate
from llmkit.gate import Gate
from llmkit.infra import Codebook, Dimensions, Expansion, InfraHandle
from llmkit.kit.estimating import PastAnswers, estimate_plan
from llmkit.kit.ordering import (
    check_budget,
    choose_models,
    first_requests,
    make_scenarios,
    refuse,
    warn_of_balances,
    warn_of_left_out,
)
from llmkit.kit.watching import watching
from llmkit.plan import Order as AskingOrder
from llmkit.plan import Plan, check_counts, make_params
from llmkit.records import Failure, Model, Provider, RemoteModel, Request, Scenario
from llmkit.results import Run, effective_status
from llmkit.results.calibration import calibration
from llmkit.results.costs import cost_table
from llmkit.runner import Handle, Order, Parts, RunEvent, RunHandle, Runner, background, stored_order
from llmkit.scenarios import Prompts
from llmkit.seed import load_seed, seed_catalog
from llmkit.store import Store, money, queries
from llmkit.structured import Schema, answer_check, json_schema
from llmkit.transport import RetryPolicy, Transport
from llmkit.wires import wire_for

if TYPE_CHECKING:
    import duckdb

    from llmkit.simulator import Simulator

DEFAULT_NAME = "llmkit.duckdb"
CLOSE_GRACE = 2.0
"""Seconds that ``close`` lets answers on their way arrive."""


class Kit:
    """An open catalog with its runs. Made by :func:`llmkit.open`; use it as a context manager or call :meth:`close`.

    Nothing is held open between calls: other notebooks may have the same file open.
    """

    def __init__(self, path: Path, *, simulate: bool = False) -> None:
        self.path = path
        self._simulating = simulate
        self._simulator: Simulator | None = None
        self._own_simulator = False
        self._store = Store(path)
        seed = load_seed()
        seed_catalog(self._store, seed)
        self._credentials = Credentials(shipped=seed.origins)
        self._gate = Gate(path.with_name(path.name + ".gate"))
        self._transport = Transport(self._credentials, reroute=self._reroute)
        self.catalog = Catalog(
            self._store,
            has_key=self._has_key,
            approve_origin=self._credentials.approve_origin,
            origin_allowed=self._credentials.origin_allowed,
            list_models=self._list_models,
        )
        self.catalog.apply_due_prices()
        self._past = PastAnswers(self._store)
        parts = Parts(
            store=self._store,
            gate=self._gate,
            transport=self._transport,
            learn_rejected=self.catalog.learn_rejected,
        )
        self._runner: Runner[Run] = Runner(parts, self._run, self._run_panel, watching)
        self._infra = infra.Infra(self.catalog, self._start_infra)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<llmkit.Kit {self.path}{' (simulated)' if self._simulating else ''}>"

    def close(self) -> None:
        """Stop what is running, save what arrives within two seconds, and stop this kit's simulator."""
        self._infra.stop()
        self._runner.close(CLOSE_GRACE)
        self._infra.wait()
        background.start(self._transport.aclose).result()
        self._gate.close()
        self._store.close()
        if self._own_simulator and self._simulator is not None:
            self._simulator.close()
            self._simulator = None

    @property
    def simulated(self) -> bool:
        """Whether requests go to a simulator, so that nothing is billed."""
        return self._simulating

    # --- reading ---

    def sql(self, sql: str, params: Sequence[Any] | None = None) -> pd.DataFrame:
        """Answer a SELECT over the catalog and all runs; read-only, and without access to other files.

        Raises:
            ValidationError: the statement fails, or would write.
        """
        return self._store.query(sql, params)

    def snapshot(self) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection of your own, in memory, with a copy of every table."""
        return self._store.snapshot()

    def runs(self) -> pd.DataFrame:
        """All runs, newest first, with their probes counted by state, and what they cost in US dollars.

        A run whose process died is ``interrupted``; ``unknown`` counts requests that it left without an answer, which
        may have been billed. ``kit.resume(run_id)`` takes it up again.
        """
        frame = self._store.read(queries.runs)
        live = {run_id: self._store.is_live(run_id) for run_id in frame.loc[frame["status"] == "running", "run_id"]}
        frame["status"] = [
            effective_status(status, live.get(run_id, False))
            for status, run_id in zip(frame["status"], frame["run_id"], strict=True)
        ]
        return frame

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

        ``since`` is a date or a time, or its text (``"2026-11-01"``), in UTC: only what was asked from then on counts.
        ``simulated`` chooses rehearsals (True) or real runs (False); left out, a kit shows the kind that it makes.

        Raises:
            ValidationError: an unknown column, or a time that cannot be read.
        """
        return cost_table(self._store, by, since=since, simulated=self._own_kind(simulated))

    def calibration(self, by: Literal["model", "run"] = "model", *, simulated: bool | None = None) -> pd.DataFrame:
        """Estimates held against what came: one row for each completed run and model, or for each run.

        Columns: run_id, name, started_at, model, probes, ok, then in US dollars ``estimate``, ``low`` and ``high``
        (the 80 % interval) and ``actual``; ``ratio`` is actual / estimate, ``inside`` whether the interval held it;
        ``basis`` and ``observations`` say what the estimate rested on. Costs are missing where a price is unknown.
        ``simulated`` as in :meth:`costs`.

        Raises:
            ValidationError: ``by`` is something else.
        """
        only = self._own_kind(simulated)
        return calibration(self._store.read(lambda c: money.estimates(c, simulated=only)), by)

    def _own_kind(self, simulated: bool | None) -> bool:
        return self._simulating if simulated is None else simulated

    # --- asking ---

    def estimate(
        self,
        prompts: Prompts,
        models: str | Model | Sequence[str | Model] | None = None,
        samples: int = 1,
        *,
        system: str | None = None,
        followups: str | Sequence[str] | None = None,
        max_tokens: int | None = None,
        schema: Schema | None = None,
        **options: Any,
    ) -> Estimate:
        """What :meth:`run` would probably cost with the same arguments. Nothing is sent.

        Raises:
            LlmkitError: as :meth:`run` does for prompts and models.
        """
        check_counts(samples, "interleaved")
        params = make_params(max_tokens=max_tokens, schema=json_schema(schema), options=_without_run_options(options))
        state = self.catalog.state()
        plan = Plan(
            scenarios=make_scenarios(prompts, system, followups),
            models=choose_models(models, state, self._has_key),
            samples=samples,
            params=params,
        )
        return self._estimate(plan, first_requests(plan, state.providers), state.providers)

    def run(
        self,
        prompts: Prompts,
        models: str | Model | Sequence[str | Model] | None = None,
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
    ) -> RunHandle[Run]:
        """Ask every prompt of every model, ``samples`` times; returns at once.

        ``run = await kit.run(...)`` in a notebook, ``kit.run(...).result()`` in a script.

        Args:
            prompts: a string, a list of strings or :class:`Scenario`, or a DataFrame with a column ``prompt``.
            models: references (``provider:model_id``); by default the default model of every provider with a key.
            samples: how often each model answers each prompt.
            name: a label for the run.
            system: the system prompt of scenarios that have none.
            followups: prompts that continue the conversation, for scenarios that have none.
            temperature: 0 to 2.
            max_tokens: the most tokens of one answer, reasoning included.
            seed: sample n is asked with seed + n − 1, where the API takes a seed.
            budget: US dollars that the run cannot exceed.
            order: ``interleaved`` (shuffled by a seed kept in the run) or ``sequential``.
            on_event: called with every :class:`RunEvent`, on a background thread.
            retry: a :class:`RetryPolicy`.
            options: ``top_p``, ``stop``, ``reasoning_effort``, ``extra_body``, ``strict`` (refuse parameters that a
                model does not take), ``adaptive`` (find the best concurrency below the limit), ``order_seed``.
            schema: a JSON schema or pydantic model that answers must match; fields become columns ``answer.<field>``.

        Raises:
            LlmkitError: whatever can be known before anything is sent; :class:`RunRefused` lists several problems.
        """
        return self._start(
            self._order(
                prompts,
                models,
                samples,
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
                options=options,
                schema=schema,
            )
        )

    def resume(self, run_id: str, *, on_event: Callable[[RunEvent], None] | None = None) -> RunHandle[Run]:
        """Take a run up again: ask what has no answer yet, at the prices noted when it was started.

        Probes that were cancelled, skipped, interrupted, or failed in a way that may pass are asked; a request that was
        on its way when the process died may be billed twice, and is counted in ``costs()`` as maybe billed.

        Raises:
            RunNotFound: no such run.
            ValidationError: it is running, or was a rehearsal and this kit is not (or the other way round).
            MissingApiKey: a provider's key is not set.
        """
        row = self._store.run(run_id)
        if bool(row["simulated"]) is not self._simulating:
            raise ValidationError(
                f"Run {run_id} was {'simulated' if row['simulated'] else 'real'}: open the catalog with "
                f"llmkit.open(..., simulate={bool(row['simulated'])}) to resume it."
            )
        providers = self._store.catalog().providers
        order = stored_order(row, providers, answer_check)
        asked = [providers[name] for name in dict.fromkeys(model.provider for model in order.plan.models)]
        missing = [provider for provider in asked if not self._has_key(provider)]
        if missing:
            variables = ", ".join(str(provider.api_key_env) for provider in missing)
            names = ", ".join(provider.name for provider in missing)
            raise MissingApiKey(f"Set the environment variables {variables} first: the run asks {names}.")
        self._check_reachable(asked)
        spent = self._store.read(lambda c: money.total_cost(c, run_id))
        return self._runner.resume(run_id, _listening(order, on_event), spent)

    def _order(
        self,
        prompts: Prompts,
        models: str | Model | Sequence[str | Model] | None,
        samples: int,
        *,
        kind: str = "probe",
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
    ) -> Order:
        check_counts(samples, order)
        given = dict(options or {})
        adaptive, order_seed = bool(given.pop("adaptive", False)), given.pop("order_seed", None)
        params = make_params(
            temperature=temperature,
            max_tokens=max_tokens,
            seed=seed,
            schema=json_schema(schema),
            options=given,
        )
        state = self.catalog.state()
        plan = Plan(
            scenarios=make_scenarios(prompts, system, followups),
            models=choose_models(models, state, self._has_key),
            samples=samples,
            params=params,
            order=order,
            order_seed=random.randrange(2**32) if order_seed is None else int(order_seed),
        )
        providers = state.providers
        self._check_reachable([providers[name] for name in dict.fromkeys(model.provider for model in plan.models)])
        requests = first_requests(plan, providers)
        warn_of_left_out(requests)
        limit = check_budget(plan, providers, requests, budget)
        estimate = self._estimate(plan, requests, providers, kind)
        asked = {model.provider: providers[model.provider] for model in plan.models}
        if not self._simulating:
            warn_of_balances(estimate, asked)
        policy = retry or RetryPolicy()
        return Order(
            plan=plan,
            providers=asked,
            policy=policy,
            retry_unknown=(limit is None) if policy.retry_unknown is None else policy.retry_unknown,
            adaptive=adaptive,
            name=name,
            kind=kind,
            budget=limit,
            estimate=estimate.to_row(),
            simulated=self._simulating,
            check_answer=answer_check(params.schema) if params.schema else None,
            on_event=on_event,
        )

    def _start(self, order: Order) -> RunHandle[Run]:
        return self._runner.start(order)

    def _check_reachable(self, providers: Sequence[Provider]) -> None:
        """Refuse keys that cannot be sent and addresses that nobody approved; start the simulator if that is asked."""
        if self._simulating:
            self._running_simulator()
            return
        problems: list[LlmkitError] = []
        for provider in providers:
            try:
                self._credentials.check(provider)
                self._credentials.key(provider)
            except LlmkitError as problem:
                problems.append(problem)
        refuse(problems)

    def _estimate(
        self, plan: Plan, requests: Mapping[str, Request], providers: Mapping[str, Provider], kind: str = "probe"
    ) -> Estimate:
        history = self._past.history(kind, self._simulating)
        return estimate_plan(plan, requests, history, providers, datetime.now(UTC))

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
        it is recorded as a run of kind ``infra``, with its cost. Answers that are not as asked are asked for once more,
        repeated scenarios are dropped, and missing ones asked for once; a warning says when there are fewer than ``n``.

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
        return infra.expand(self._infra, description, n, dimensions, strict=strict, budget=budget)

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
        return infra.summarize(self._infra, self._given(run), question, by, strict=strict, budget=budget)

    def code(
        self,
        run: Run | str,
        codebook: Codebook,
        *,
        strict: bool = False,
        budget: Decimal | int | str | float | None = None,
    ) -> InfraHandle[pd.DataFrame]:
        """Have the ``summarization`` model put every answer of a run into one category; returns at once.

        ``codebook`` is ``{category: definition}``, or a list of categories; add one such as ``other`` for answers that
        fit none. ``strict`` and ``budget`` are as in :meth:`summarize`.

        The result has a row for every answer that is ok, to be merged with ``run.probes`` on ``probe_id``:
        ``category``, the ``quote`` that it rests on, ``quote_found`` (whether the answer holds that quote), ``error``
        (why there is no category), ``cost`` (its share, in US dollars), ``infra_model`` and ``infra_run_id``.

        Raises:
            LlmkitError: nothing was sent.
        """
        return infra.code(self._infra, self._given(run), codebook, strict=strict, budget=budget)

    def _given(self, run: Run | str) -> Run:
        return self.load(run) if isinstance(run, str) else run

    def _start_infra(
        self,
        scenarios: Sequence[Scenario],
        model: Model,
        *,
        name: str,
        schema: Mapping[str, Any] | None,
        budget: Decimal | int | str | float | None,
    ) -> RunHandle[Run]:
        order = self._order(list(scenarios), [model], 1, kind="infra", name=name, schema=schema, budget=budget)
        return self._start(order)

    # --- keys, connections, the simulator ---

    def ask_key(self, provider: str) -> None:
        """Ask for a provider's key with a hidden prompt, for this session only; it is stored nowhere.

        Raises:
            UnsupportedProvider: no such provider.
        """
        self._credentials.ask(self.catalog.provider(provider))

    def test_connection(self, provider: str) -> Handle[list[RemoteModel]]:
        """Ask a provider for its list of models; awaitable, or ``.result()``.

        Raises (from the handle):
            RequestFailed: it does not answer, or refuses the key.
        """
        from llmkit.errors import RequestFailed

        record = self.catalog.provider(provider)
        wire = wire_for(record, Model(provider=provider, model_id="*", display_name="*"))

        async def ask() -> list[RemoteModel]:
            response = await self._transport.send(record, wire, wire.list_models(), timeout=30)
            found = response if isinstance(response, Failure) else wire.parse_models(response)
            if isinstance(found, Failure):
                raise RequestFailed(f"{record.display_name}: {found.message}", code=found.code)
            return found

        return Handle(background.start(ask), lambda: None)

    def _list_models(self, names: Sequence[str]) -> dict[str, list[RemoteModel] | LlmkitError]:
        """The lists of all these providers, asked for at once; of none in a rehearsal, which knows no real list."""
        handles = {} if self._simulating else {name: self.test_connection(name) for name in names}
        return {name: _result_or_error(handle) for name, handle in handles.items()}

    def use_simulator(self, simulator: Simulator) -> None:
        """Send all requests to a simulator from now on; every row is marked as simulated."""
        self._simulator, self._own_simulator, self._simulating = simulator, False, True

    def _has_key(self, provider: Provider) -> bool:
        return self._simulating or self._credentials.has_key(provider)

    def _reroute(self, provider: Provider) -> str | None:
        return self._running_simulator().url_for(provider.name) if self._simulating else None

    def _running_simulator(self) -> Simulator:
        if self._simulator is None:
            from llmkit import simulator  # aiohttp's server is only loaded by those who rehearse

            self._simulator, self._own_simulator = simulator.serve(), True
            self._simulator.start()
        return self._simulator

    # --- widgets ---

    def models_panel(self) -> Any:
        """The form for models: prices, lifecycle, defaults."""
        from llmkit.widgets.models_panel import ModelsPanel  # ipywidgets is slow to import

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
        """Models, providers and infrastructure as tabs."""
        from llmkit.widgets.settings_panel import SettingsPanel

        return SettingsPanel(self)

    def run_form(self, prompts: Prompts | None = None) -> Any:
        """The form that starts a run: models, samples, budget, a live estimate, then progress."""
        from llmkit.widgets.run_form import RunForm

        return RunForm(self, prompts)

    def _run(self, run_id: str) -> Run:
        return Run(run_id, self._store, self._run_view)

    def _run_panel(self, handle: RunHandle[Run]) -> Any:
        from llmkit.widgets.run_panel import RunPanel

        return RunPanel(handle, self.resume)

    def _run_view(self, run: Run) -> Any:
        from llmkit.widgets.run_view import RunView

        return RunView(run, self.resume)


def open_kit(path: str | os.PathLike[str] | None = None, *, simulate: bool = False) -> Kit:
    """Open a catalog, made and seeded on first use.

    Args:
        path: a DuckDB file; by default ``$LLMKIT_DB``, else ``llmkit.duckdb`` in the user's data folder.
        simulate: rehearse: every provider counts as available and all requests go to a simulator on this machine.

    Raises:
        CatalogTooNew: the file was written by a newer llmkit.
        ValidationError: the path is a folder.
    """
    chosen = path or os.environ.get("LLMKIT_DB") or platformdirs.user_data_path("llmkit") / DEFAULT_NAME
    file = Path(chosen).expanduser().absolute()
    if file.is_dir():
        raise ValidationError(f"{file} is a folder: name a file in it, such as {file / DEFAULT_NAME}.", field="path")
    return Kit(file, simulate=simulate)


def _result_or_error(handle: Handle[list[RemoteModel]]) -> list[RemoteModel] | LlmkitError:
    try:
        return handle.result()
    except LlmkitError as error:
        return error


def _listening(order: Order, on_event: Callable[[RunEvent], None] | None) -> Order:
    from dataclasses import replace

    return replace(order, on_event=on_event)


def _without_run_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of an estimate: those of a run that do not change its cost may be given too."""
    given = dict(options.get("options") or {}) | {k: v for k, v in options.items() if k != "options"}
    unpriced = ("name", "temperature", "seed", "budget", "order", "on_event", "retry", "adaptive", "order_seed")
    return {name: value for name, value in given.items() if name not in unpriced}
