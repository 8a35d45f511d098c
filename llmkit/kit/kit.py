"""The kit: one catalog, and everything that can be done with it. Wires the parts together, decides nothing itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import platformdirs

from llmkit import tasks
from llmkit.analysis import Run
from llmkit.catalog import Catalog, load_seed, seed_catalog
from llmkit.errors import LlmkitError, MissingApiKey, ValidationError
from llmkit.kit import kit_tasks, panels
from llmkit.kit.affordability import check_budget, warn_of_balances
from llmkit.kit.connections import Connections
from llmkit.kit.estimating import PastAnswers, estimate_plan
from llmkit.kit.kit_reading import Reading
from llmkit.kit.ordering import (
    ON_EVENT,
    OPTIONS_EXAMPLE,
    RUN_OPTIONS,
    Asked,
    first_requests,
    make_plan,
    warn_of_left_out,
)
from llmkit.kit.watching import watching
from llmkit.limiter import Gate
from llmkit.money.estimate_table import Estimate
from llmkit.providers.transport import RetryPolicy
from llmkit.records import Model, Provider, RemoteModel, Request, Scenario
from llmkit.records.checks import shapes
from llmkit.runs import Handle, Parts, RunEvent, RunHandle, Runner, RunSpec, stored_spec
from llmkit.runs.plan import AskingOrder, Plan
from llmkit.scenarios import Prompts
from llmkit.store import Store, totals
from llmkit.tasks.structured import Schema, answer_check

if TYPE_CHECKING:
    from llmkit.simulator import Simulator

DEFAULT_NAME = "llmkit.duckdb"
CLOSE_GRACE = 2.0
"""Seconds that ``close`` lets answers on their way arrive."""


class Kit(Reading):
    """An open catalog with its runs. Made by :func:`llmkit.open`; use it as a context manager or call :meth:`close`.

    Nothing is held open between calls: other notebooks may have the same file open.
    """

    def __init__(self, path: Path, *, simulate: bool = False) -> None:
        seed, store = load_seed(), Store(path)
        seed_catalog(store, seed)
        super().__init__(store, Connections(seed.origins, simulating=simulate), partial(panels.run_view, self))
        self.path = path
        self.catalog = Catalog(
            store,
            has_key=self._connections.has_key,
            approve_origin=self._connections.credentials.approve_origin,
            origin_allowed=self._connections.credentials.origin_allowed,
            list_models=self._list_models,
        )
        self.catalog.apply_due_prices()
        self._past = PastAnswers(store)
        self._gate = Gate(path.with_name(path.name + ".gate"))
        parts = Parts(
            store=store,
            gate=self._gate,
            transport=self._connections.transport,
            learn_rejected=self.catalog.learn_rejected,
        )
        self._runner: Runner[Run] = Runner(parts, self._run, partial(panels.run_panel, self), watching)
        self._infra = tasks.Infra(self.catalog, self._start_infra)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<llmkit.Kit {self.path}{' (simulated)' if self._connections.simulating else ''}>"

    def close(self) -> None:
        """Stop what is running, save what arrives within two seconds, and stop this kit's simulator."""
        self._infra.stop()
        self._runner.close(CLOSE_GRACE)
        self._infra.wait()
        self._connections.close()
        self._gate.close()
        self._store.close()

    @property
    def simulated(self) -> bool:
        """Whether requests go to a simulator, so that nothing is billed."""
        return self._connections.simulating

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
        asked = Asked(
            prompts=prompts,
            models=models,
            samples=samples,
            system=system,
            followups=followups,
            max_tokens=max_tokens,
            schema=schema,
            options=_without_run_options(options),
        )
        state = self.catalog.state()
        plan = make_plan(asked, state, self._connections.has_key)
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
        asked = Asked(
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
            schema=schema,
        )
        return self._runner.start(self._order(asked))

    def resume(self, run_id: str, *, on_event: Callable[[RunEvent], None] | None = None) -> RunHandle[Run]:
        """Take a run up again: ask what has no answer yet, at the prices noted when it was started.

        Probes that were cancelled, skipped, interrupted, or failed in a way that may pass are asked; a request that was
        on its way when the process died may be billed twice, and is counted in ``costs()`` as maybe billed.

        Raises:
            RunNotFound: no such run.
            ValidationError: it is running, or was a rehearsal and this kit is not (or the other way round), or
                ``on_event`` is no function.
            MissingApiKey: a provider's key is not set.
        """
        shapes.function(on_event, "on_event", ON_EVENT)
        row = self._store.run(run_id)
        if bool(row["simulated"]) is not self._connections.simulating:
            raise ValidationError(
                f"Run {run_id} was {'simulated' if row['simulated'] else 'real'}: open the catalog with "
                f"llmkit.open(..., simulate={bool(row['simulated'])}) to resume it."
            )
        providers = self._store.catalog().providers
        order = stored_spec(row, providers, answer_check)
        asked = [providers[name] for name in dict.fromkeys(model.provider for model in order.plan.models)]
        missing = [provider for provider in asked if not self._connections.has_key(provider)]
        if missing:
            variables = ", ".join(str(provider.api_key_env) for provider in missing)
            names = ", ".join(provider.name for provider in missing)
            raise MissingApiKey(f"Set the environment variables {variables} first: the run asks {names}.")
        self._connections.check(asked)
        spent = self._store.read(lambda c: totals.total_cost(c, run_id) + totals.worst_unknown(c, run_id))
        return self._runner.resume(run_id, _listening(order, on_event), spent)

    def _order(self, asked: Asked) -> RunSpec:
        """Check everything that can be checked."""
        state, simulating = self.catalog.state(), self._connections.simulating
        plan = make_plan(asked, state, self._connections.has_key)
        providers = {model.provider: state.providers[model.provider] for model in plan.models}
        self._connections.check(list(providers.values()))
        requests = first_requests(plan, providers)
        warn_of_left_out(requests)
        budget = check_budget(plan, providers, requests, asked.budget)
        estimate = self._estimate(plan, requests, providers, asked.kind)
        if not simulating:
            warn_of_balances(estimate, providers)
        policy = asked.retry or RetryPolicy()
        return RunSpec(
            plan=plan,
            providers=providers,
            policy=policy,
            retry_unknown=(budget is None) if policy.retry_unknown is None else policy.retry_unknown,
            adaptive=asked.adaptive,
            name=asked.name,
            kind=asked.kind,
            budget=budget,
            estimate=estimate.to_row(),
            simulated=simulating,
            check_answer=answer_check(plan.params.schema) if plan.params.schema else None,
            on_event=asked.on_event,
        )

    def _estimate(
        self, plan: Plan, requests: Mapping[str, Request], providers: Mapping[str, Provider], kind: str = "probe"
    ) -> Estimate:
        history = self._past.history(kind, self._connections.simulating)
        return estimate_plan(plan, requests, history, providers, datetime.now(UTC))

    # --- internal tasks ---

    expand = kit_tasks.expand
    summarize = kit_tasks.summarize
    code = kit_tasks.code

    def _given(self, run: Run | str) -> Run:
        return run if isinstance(run, Run) else self.load(run)

    def _start_infra(
        self,
        scenarios: Sequence[Scenario],
        model: Model,
        *,
        name: str,
        schema: Mapping[str, Any] | None,
        budget: Decimal | int | str | float | None,
    ) -> RunHandle[Run]:
        asked = Asked(prompts=list(scenarios), models=[model], kind="infra", name=name, schema=schema, budget=budget)
        return self._runner.start(self._order(asked))

    # --- widgets ---

    models_panel = panels.models_panel
    providers_panel = panels.providers_panel
    infra_panel = panels.infra_panel
    settings_panel = panels.settings_panel
    run_form = panels.run_form

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

    def _list_models(self, names: Sequence[str]) -> dict[str, list[RemoteModel] | LlmkitError]:
        """The lists of all these providers, asked for at once; of none in a rehearsal, which knows no real list."""
        handles = {} if self.simulated else {name: self.test_connection(name) for name in names}
        return {name: _result_or_error(handle) for name, handle in handles.items()}


def open_kit(path: str | os.PathLike[str] | None = None, *, simulate: bool = False) -> Kit:
    """Open a catalog, made and seeded on first use.

    Args:
        path: a DuckDB file; by default ``$LLMKIT_DB``, else ``llmkit.duckdb`` in the user's data folder.
        simulate: rehearse: every provider counts as available and all requests go to a simulator on this machine.

    Raises:
        CatalogTooNew: the file was written by a newer llmkit.
        ValidationError: the path is a folder, or no file can be made there.
    """
    chosen = path or os.environ.get("LLMKIT_DB") or platformdirs.user_data_path("llmkit") / DEFAULT_NAME
    file = shapes.path(chosen).absolute()
    with shapes.reaching(file, "opened"):
        is_folder = file.is_dir()
    if is_folder:
        raise ValidationError(f"{file} is a folder: name a file in it, such as {file / DEFAULT_NAME}.", field="path")
    return Kit(file, simulate=simulate)


def _result_or_error(handle: Handle[list[RemoteModel]]) -> list[RemoteModel] | LlmkitError:
    try:
        return handle.result()
    except LlmkitError as error:
        return error


def _listening(order: RunSpec, on_event: Callable[[RunEvent], None] | None) -> RunSpec:
    return replace(order, on_event=on_event)


def _without_run_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of an estimate: those of a run that do not change its cost may be given too."""
    given = shapes.mapping(options.get("options"), "options", OPTIONS_EXAMPLE)
    given |= {name: value for name, value in options.items() if name != "options"}
    unpriced = ("name", "temperature", "seed", "budget", "order", "on_event", "retry", *RUN_OPTIONS)
    return {name: value for name, value in given.items() if name not in unpriced}
