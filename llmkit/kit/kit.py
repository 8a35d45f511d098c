"""The kit: one catalog, and everything that can be done with it. Wires the parts together, decides nothing itself."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import pandas as pd
import platformdirs

from llmkit import pricing
from llmkit.catalog import Catalog
from llmkit.credentials import Credentials
from llmkit.errors import RunNotFound, ValidationError
from llmkit.estimates import Estimate, History, Workload, estimate_model
from llmkit.gate import Gate
from llmkit.kit.ordering import check_budget, check_calls, choose_models, make_scenarios
from llmkit.plan import Order as AskingOrder
from llmkit.plan import Plan, check_counts, make_params
from llmkit.records import Failure, Model, Provider, RemoteModel
from llmkit.results import Run, effective_status
from llmkit.runner import Handle, Order, Parts, RunEvent, RunHandle, Runner, background, stored_order
from llmkit.scenarios import Prompts
from llmkit.seed import load_seed, seed_catalog
from llmkit.store import Store, queries
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
        )
        self.catalog.apply_due_prices()
        parts = Parts(self._store, self._gate, self._transport, self.catalog.learn_rejected)
        self._runner: Runner[Run] = Runner(parts, self._run, _run_panel)

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
        self._runner.close(CLOSE_GRACE)
        background.start(self._transport.aclose).result()
        self._gate.close()
        self._store.close()
        if self._own_simulator and self._simulator is not None:
            self._simulator.close()
            self._simulator = None

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
        self, since: datetime | str | None = None, by: str | Sequence[str] = "model", *, simulated: bool | None = None
    ) -> pd.DataFrame:
        """Tokens and costs over all runs, as in :meth:`llmkit.Run.costs`; real runs only, unless none is real.

        ``since`` is a time, or its text (``"2026-11-01"``), in UTC; ``simulated`` chooses rehearsals or real runs.

        Raises:
            ValidationError: an unknown column, or a time that cannot be read.
        """
        chosen = [by] if isinstance(by, str) else list(by)
        moment = _moment(since)
        only = self._simulating if simulated is None else simulated
        return self._store.read(lambda c: queries.costs(c, chosen, since=moment, simulated=only))

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
        plan = Plan(
            scenarios=make_scenarios(prompts, system, followups),
            models=self._choose(models),
            samples=samples,
            params=params,
        )
        return self._estimate(plan)

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
        missing = sorted({m.provider for m in order.plan.models if not self._has_key(providers[m.provider])})
        if missing:
            variables = ", ".join(str(providers[name].api_key_env) for name in missing)
            raise ValidationError(
                f"Set the environment variables {variables} first: the run asks {', '.join(missing)}."
            )
        spent = self._store.read(lambda c: queries.total_cost(c, run_id))
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
        plan = Plan(
            scenarios=make_scenarios(prompts, system, followups),
            models=self._choose(models),
            samples=samples,
            params=params,
            order=order,
            order_seed=random.randrange(2**32) if order_seed is None else int(order_seed),
        )
        providers = self._store.catalog().providers
        check_calls(plan, providers)
        limit = check_budget(plan, providers, budget)
        estimate = self._estimate(plan)
        policy = retry or RetryPolicy()
        return Order(
            plan=plan,
            providers={model.provider: providers[model.provider] for model in plan.models},
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
        self._warn_of_balances(order)
        return self._runner.start(order)

    def _warn_of_balances(self, order: Order) -> None:
        if order.simulated or not order.estimate:
            return
        for name, provider in order.providers.items():
            costs = [
                Decimal(entry["cost"])
                for reference, entry in order.estimate["models"].items()
                if entry["cost"] is not None and reference.partition(":")[0] == name
            ]
            if provider.balance is not None and sum(costs) > provider.balance:
                warnings.warn(
                    f"This run will probably cost ${sum(costs):.2f} at {provider.display_name}, whose balance is "
                    f"${provider.balance:.2f}. It was started; handle.cancel() stops it.",
                    UserWarning,
                    stacklevel=4,
                )

    def _choose(self, models: str | Model | Sequence[str | Model] | None) -> tuple[Model, ...]:
        return choose_models(models, self._store.catalog(), self.catalog.model, self._has_key)

    def _estimate(self, plan: Plan) -> Estimate:
        providers, history, now = self._store.catalog().providers, History(), datetime.now(UTC)
        workload = Workload.of(plan.scenarios, samples=plan.samples)
        return Estimate.of(
            [
                estimate_model(
                    model,
                    workload,
                    history,
                    at=now,
                    effort=plan.params.reasoning_effort or model.api_config.get("default_reasoning_effort"),
                    max_tokens=plan.params.max_tokens,
                    fallback=pricing.default_rates(providers[model.provider]),
                )
                for model in plan.models
            ]
        )

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

    def use_simulator(self, simulator: Simulator) -> None:
        """Send all requests to a simulator from now on; every row is marked as simulated."""
        self._simulator, self._own_simulator, self._simulating = simulator, False, True

    def _has_key(self, provider: Provider) -> bool:
        return self._simulating or self._credentials.has_key(provider)

    def _reroute(self, provider: Provider) -> str | None:
        if not self._simulating:
            return None
        if self._simulator is None:
            from llmkit import simulator  # aiohttp's server is only loaded by those who rehearse

            self._simulator, self._own_simulator = simulator.serve(), True
            self._simulator.start()
        return self._simulator.url_for(provider.name)

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
        return Run(run_id, self._store, _run_view)


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


def _moment(since: datetime | str | None) -> datetime | None:
    if not isinstance(since, str):
        return since
    try:
        return datetime.fromisoformat(since)
    except ValueError:
        raise ValidationError(f"{since!r} is no time: write it like 2026-11-01.", field="since") from None


def _listening(order: Order, on_event: Callable[[RunEvent], None] | None) -> Order:
    from dataclasses import replace

    return replace(order, on_event=on_event)


def _without_run_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of an estimate: those of a run that do not change its cost may be given too."""
    given = dict(options.get("options") or {}) | {k: v for k, v in options.items() if k != "options"}
    unpriced = ("name", "temperature", "seed", "budget", "order", "on_event", "retry", "adaptive", "order_seed")
    return {name: value for name, value in given.items() if name not in unpriced}


def _run_panel(handle: RunHandle[Run]) -> Any:
    from llmkit.widgets.run_panel import RunPanel  # ipywidgets is slow to import

    return RunPanel(handle)


def _run_view(run: Run) -> Any:
    from llmkit.widgets.run_view import RunView

    return RunView(run)
