"""Asking a part of a run again: what has changed since, which part, and how the answers compare."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from math import ceil
from typing import Any

import pandas as pd

from llmkit.analysis import intervals
from llmkit.analysis.run import Run
from llmkit.catalog import ObstacleKind, obstacles, rules
from llmkit.errors import ModelNotFound, UnsupportedProvider, ValidationError
from llmkit.money.estimate_table import Estimate
from llmkit.money.price_comparison import shown
from llmkit.records import PRICE_COLUMNS, Model, Provider
from llmkit.records.checks.shapes import is_number
from llmkit.records.checks.texts import counted
from llmkit.runs import RunHandle, RunRequest, stored_plan
from llmkit.runs.chosen_models import check_configs
from llmkit.runs.plan import Plan
from llmkit.store import CatalogState, totals

Budget = Decimal | int | str | float | None

CHANGES = ("model", "change", "what", "before", "now")


@dataclass(frozen=True, slots=True)
class Replication:
    """A part of a run that can be asked again. Made by ``kit.replicate``; nothing is sent before :meth:`start`."""

    original: Run
    plan: Plan
    """What is asked: as many probes as it is long. Models that are gone are not in it."""
    changes: pd.DataFrame
    """One row a thing that is otherwise than when the run was asked: model, change (``retired``, ``out of reach``,
    ``repriced``, ``renamed`` or ``another version``), what (the field of the catalog), before, now. Prices are in US
    dollars per million tokens; of versions, the last that a run in this catalog was served."""
    cost: Estimate
    """What it will probably cost."""
    _start: Callable[[Budget], RunHandle[Run]]

    def start(self, budget: Budget = None) -> RunHandle[Run]:
        """Ask it, as a run of its own; returns at once, as ``kit.run`` does.

        Raises:
            LlmkitError: nothing was sent; every model is gone, or for the reasons of ``kit.run``.
        """
        if not self.plan.configs:
            raise ValidationError("None of the models can be asked any more: see the column change of .changes.")
        return self._start(budget)

    def compare(self, replica: Run) -> pd.DataFrame:
        """The answers of the run and of its replica, compared within scenarios. One row a configuration.

        Columns: config, scenarios (with answers in both), missing (probes of the replica without one); ``agree``, the
        chance that an answer of each are equal (fields of structured answers; else the text), ``agree_low`` and
        ``agree_high``, and ``agree_before``, the same of two samples in the run itself (missing without a second one):
        what chance alone leaves. ``length_…`` in characters and ``cost_…`` in US dollars: ``before``, ``now``, and
        ``low`` and ``high`` of the difference (now less before). ``version_before`` and ``version_now``. Intervals are
        of 95 %, clustered by scenario.
        """
        before, now = _answers(self.original.probes), _answers(replica.probes)
        rows = [
            _compared(config, before[before["config"] == config], own)
            for config, own in now.groupby("config", sort=False)
        ]
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        told = f"{counted(len(self.changes), 'change')} since"
        size = f"{len(self.plan):,} of {len(self.original.probes):,} probes again"
        return f"<Replication of {self.original.id}: {size}, {repr(self.cost).strip('<>')}; {told}>"


def prepare(
    run: Run,
    state: CatalogState,
    has_key: Callable[[Provider], bool],
    latest: Mapping[str, str],
    *,
    simulating: bool,
    share: float,
    seed: int,
) -> tuple[RunRequest, Plan, pd.DataFrame]:
    """How a run is asked again, what of it, and what has changed; ``latest`` is each model's last version.

    Raises:
        ValidationError: as :func:`replica_of` does, or it was a rehearsal and this is none, or the other way round.
    """
    row = run._store.run(run.id, with_scenarios=True)
    if bool(row["simulated"]) is not simulating:
        raise ValidationError(
            f"Run {run.id} was {'a rehearsal' if row['simulated'] else 'no rehearsal'}: open the catalog with "
            f"llmkit.open(..., simulate={bool(row['simulated'])}).",
            field="run",
        )
    whole = stored_plan(row)
    models, changes = models_now(whole, state, has_key, datetime.now(UTC).date())
    changes += new_versions(run._store.read(lambda c: totals.versions(c, run.id)), latest)
    plan = replica_of(whole, models, share, seed)
    name, project = f"replication of {row['name'] or run.id}", row["settings"].get("project")
    request = RunRequest(prompts=plan.scenarios, kind=row["kind"], name=name, project=project)
    return request, plan, pd.DataFrame(changes, columns=list(CHANGES))


def replica_of(plan: Plan, models: Mapping[str, Model], share: float, seed: int) -> Plan:
    """The part of a plan that is asked again, of these models as they are now (by reference).

    Every configuration is asked the same scenarios, drawn by the seed: one sample each, as many scenarios as make the
    share; when there are too few, all of them and as many samples as it takes.

    Raises:
        ValidationError: a share that is not above 0 and at most 1, or a service tier that is gone.
    """
    if not is_number(share) or not 0 < share <= 1:
        raise ValidationError(f"share is a part of the run, above 0 and at most 1, not {share!r}.", field="share")
    wanted = ceil(share * len(plan.scenarios) * plan.samples)
    places = random.Random(seed).sample(range(len(plan.scenarios)), min(wanted, len(plan.scenarios)))
    configs = tuple(
        replace(config, model=models[config.model.reference])
        for config in plan.configs
        if config.model.reference in models
    )
    check_configs(configs)
    scenarios = tuple(plan.scenarios[place] for place in sorted(places))
    return replace(plan, scenarios=scenarios, configs=configs, samples=ceil(wanted / len(scenarios)))


def models_now(
    plan: Plan, state: CatalogState, has_key: Callable[[Provider], bool], today: date
) -> tuple[dict[str, Model], list[dict[str, Any]]]:
    """The models of a plan that can be asked now, by reference, and rows of what has changed about all of them."""
    models, rows = {}, []
    for before in plan.models:
        try:
            now = rules.askable_model(state, before.reference)
        except (ModelNotFound, UnsupportedProvider):
            rows.append(_row(before.reference, "retired", "status", before.status, "not in the catalog"))
            continue
        gone = list(_gone(now, state.providers[now.provider], has_key, today))
        rows += [*gone, *_changed(before, now)]
        if not gone:
            models[before.reference] = now
    return models, rows


def new_versions(before: Iterable[Mapping[str, Any]], latest: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows for the models that were served in another version since; ``before`` as of ``totals.versions``."""
    served: dict[str, list[str]] = {}
    for each in before:
        served.setdefault(each["model"], []).append(each["version"])
    return [
        _row(model, "another version", "model_version", ", ".join(versions), latest[model])
        for model, versions in served.items()
        if latest.get(model, versions[-1]) not in versions
    ]


def _gone(
    model: Model, provider: Provider, has_key: Callable[[Provider], bool], today: date
) -> Iterator[dict[str, Any]]:
    for each in obstacles(model, provider, has_key(provider), today):
        if each.kind in (ObstacleKind.DEPRECATED, ObstacleKind.RETIRED):
            yield _row(model.reference, "retired", "status", "ACTIVE", each.label)
        elif each.blocks:
            yield _row(model.reference, "out of reach", "provider", provider.name, each.label)


def _changed(before: Model, now: Model) -> Iterator[dict[str, Any]]:
    if before.display_name != now.display_name:
        yield _row(before.reference, "renamed", "display_name", before.display_name, now.display_name)
    pairs = {name: (getattr(before.price, name), getattr(now.price, name)) for name in PRICE_COLUMNS}
    pairs["batch_discount"] = before.batch_discount, now.batch_discount
    for name, (old, new) in pairs.items():
        if old != new:
            yield _row(before.reference, "repriced", name, shown(old), shown(new))


def _row(*values: Any) -> dict[str, Any]:
    return dict(zip(CHANGES, values, strict=True))


# --- the answers -----------------------------------------------------------------------------------------------------


def _answers(probes: pd.DataFrame) -> pd.DataFrame:
    """What is compared of each probe; ``said`` is missing where there is no answer."""
    fields = [name for name in probes if name == "answer" or str(name).startswith("answer.")]
    if "answer" in fields:  # where the options stood is no part of the answer
        fields = [name for name in fields if name not in ("answer.position", "answer.score")]
    said = [
        tuple(map(_plain, row)) if any(row.notna()) else str(text).strip()
        for text, (_, row) in zip(probes["response"], probes[fields].astype(object).iterrows(), strict=True)
    ]
    is_ok = probes["status"].astype(object) == "ok"
    texts = probes["response"].astype(object)
    return probes[["config", "scenario_id", "sample", "model_version"]].assign(
        said=pd.Series(said, index=probes.index, dtype=object).where(is_ok),
        length=pd.Series([len(text) if isinstance(text, str) else 0 for text in texts], dtype=float).where(is_ok),
        cost=probes["estimated_cost"].astype(float).where(is_ok),
    )


def _plain(value: Any) -> str:
    """A value as text, whole numbers the same in a column with gaps and in one without."""
    return str(float(value)) if is_number(value) else str(value)


def _compared(config: Any, before: pd.DataFrame, now: pd.DataFrame) -> dict[str, Any]:
    missing = int(now["said"].isna().sum())
    before, now = before[before["said"].notna()], now[now["said"].notna()]
    shared = set(before["scenario_id"]) & set(now["scenario_id"])
    before, now = (rows[rows["scenario_id"].isin(shared)] for rows in (before, now))
    pairs = before.merge(now, on="scenario_id")
    agreement = intervals.mean((pairs["said_x"] == pairs["said_y"]).astype(float), pairs["scenario_id"], share=True)
    twice = before.merge(before, on="scenario_id")
    twice = twice[twice["sample_x"] < twice["sample_y"]]
    row = {
        "config": config,
        "scenarios": len(shared),
        "missing": missing,
        "agree": agreement.estimate,
        "agree_low": agreement.low,
        "agree_high": agreement.high,
        "agree_before": (twice["said_x"] == twice["said_y"]).mean() if len(twice) else float("nan"),
    }
    for name in ("length", "cost"):
        a, b = now[now[name].notna()], before[before[name].notna()]
        difference = intervals.difference(a[name], b[name], (a["scenario_id"], b["scenario_id"]), share=False)
        row |= {f"{name}_before": b[name].mean(), f"{name}_now": a[name].mean()}
        row |= {f"{name}_low": difference.low, f"{name}_high": difference.high}
    for name, rows in (("version_before", before), ("version_now", now)):
        row[name] = ", ".join(rows["model_version"].dropna().astype(str).unique()) or None
    return row
