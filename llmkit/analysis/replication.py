"""Replicate part of a run: what has changed since, which part to repeat, and how the answers compare."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from math import ceil
from typing import Any

import pandas as pd

from llmkit.analysis import intervals
from llmkit.analysis.run import Run
from llmkit.catalog import Access, Obstacle, ObstacleKind, rules
from llmkit.errors import ModelNotFound, UnsupportedProvider, ValidationError
from llmkit.money.estimate_table import Estimate
from llmkit.money.price_comparison import shown
from llmkit.records import PRICE_COLUMNS, Model
from llmkit.records.checks import numbers
from llmkit.records.checks.shapes import is_number
from llmkit.records.checks.texts import counted, one_line
from llmkit.runs import RunHandle, RunRequest, stored_plan
from llmkit.runs.chosen_models import check_configs
from llmkit.runs.plan import Plan
from llmkit.store import totals

Budget = Decimal | int | str | float | None

CHANGES = ("model", "change", "what", "before", "now")
Change = tuple[str, str, str, Any, Any]


@dataclass(frozen=True, slots=True)
class Replication:
    """A part of a run, ready to be repeated. Made by ``kit.replicate``; nothing is sent before :meth:`start`."""

    original: Run
    plan: Plan
    """What is asked; its length is the number of probes. Models that are gone are left out."""
    changes: pd.DataFrame
    """One row per change since the run: model, change (``retired``, ``out of reach``, ``repriced``, ``renamed`` or
    ``another version``), what (the field of the catalog), before, now. Prices are in US dollars per million tokens;
    ``now`` of a version is the last one served to any run in this catalog."""
    cost: Estimate
    """The estimated cost."""
    _start: Callable[[Budget], RunHandle[Run]]

    def start(self, budget: Budget = None) -> RunHandle[Run]:
        """Start it as a separate run; returns at once, like ``kit.run``.

        Raises:
            LlmkitError: nothing was sent: every model is gone, or for the reasons of ``kit.run``.
        """
        if not self.plan.configs:
            raise ValidationError("None of the models is still available: see the column change of .changes.")
        return self._start(budget)

    def compare(self, replica: Run) -> pd.DataFrame:
        """Compare the answers of the run and of its replica within scenarios. One row per configuration.

        Columns: config, scenarios (with answers in both), missing (probes of the replica without an answer); ``agree``,
        the probability that an answer of the run and one of the replica are equal (the fields of structured answers,
        else the text), ``agree_low``, ``agree_high``, and as a baseline ``agree_before``, the same for two samples of
        the run itself (missing with one sample). ``length_…`` in characters and ``cost_…`` in US dollars: ``before``,
        ``now``, and ``low`` and ``high`` of the difference (now minus before). ``version_before`` and ``version_now``.
        Intervals are 95% intervals, clustered by scenario.
        """
        before, now = _answers(self.original.probes), _answers(replica.probes)
        rows = [
            _compared(config, before[before["config"] == config], own)
            for config, own in now.groupby("config", sort=False)
        ]
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        changes = f"{counted(len(self.changes), 'change')} since"
        size = f"{len(self.plan):,} of {len(self.original.probes):,} probes again"
        return f"<Replication of {self.original.id}: {size}, {repr(self.cost).strip('<>')}; {changes}>"


def prepare(
    run: Run,
    access: Access,
    latest: Mapping[str, str],
    *,
    simulating: bool,
    share: float,
    seed: int,
) -> tuple[RunRequest, Plan, pd.DataFrame]:
    """Return the request and plan that repeat a run, and what has changed; ``latest`` is each model's last version."""
    row = run._store.run(run.id, with_scenarios=True)
    if bool(row["simulated"]) is not simulating:
        raise ValidationError(
            f"Run {run.id} was {'a rehearsal' if row['simulated'] else 'not a rehearsal'}: open the catalog with "
            f"llmkit.open(..., simulate={bool(row['simulated'])}).",
            field="run",
        )
    whole = stored_plan(row)
    models, changes = models_now(whole, access)
    changes += new_versions(run._store.read(lambda c: totals.versions(c, run.id)), latest)
    plan = replica_of(whole, models, share, seed)
    name, project = one_line(f"replication of {row['name'] or run.id}"), row["settings"].get("project")
    request = RunRequest(
        prompts=plan.scenarios,
        kind=row["kind"],
        name=name,
        project=project,
        replicates=run.id,
        mode="batch-or-live" if row["settings"].get("batched") else "live",
    )
    return request, plan, pd.DataFrame(changes, columns=list(CHANGES))


def replica_of(plan: Plan, models: Mapping[str, Model], share: float, seed: int) -> Plan:
    """The part of a plan to repeat, with the current ``models`` (by reference).

    Every configuration gets the same scenarios, drawn with the seed: one sample of as many scenarios as make up the
    share, or if there are too few, as many samples of all of them.
    """
    if not is_number(share) or not 0 < share <= 1:
        raise ValidationError(f"share is a part of the run, above 0 and at most 1, not {share!r}.", field="share")
    wanted = ceil(share * len(plan.scenarios) * plan.samples)
    drawn = random.Random(numbers.whole(seed, "seed"))
    places = drawn.sample(range(len(plan.scenarios)), min(wanted, len(plan.scenarios)))
    configs = tuple(
        replace(config, model=models[config.model.reference])
        for config in plan.configs
        if config.model.reference in models
    )
    check_configs(configs)
    scenarios = tuple(plan.scenarios[place] for place in sorted(places))
    return replace(plan, scenarios=scenarios, configs=configs, samples=ceil(wanted / len(scenarios)))


def models_now(plan: Plan, access: Access) -> tuple[dict[str, Model], list[Change]]:
    """The models of a plan that are still available, by reference, and rows of changes to any of them."""
    models, rows = {}, []
    for before in plan.models:
        try:
            now = rules.askable_model(access.state, before.reference)
        except (ModelNotFound, UnsupportedProvider):
            rows.append((before.reference, "retired", "status", before.status, "not in the catalog"))
            continue
        gone = list(_gone(now, access.obstacles(now)))
        rows += [*gone, *_changed(before, now)]
        if not gone:
            models[before.reference] = now
    return models, rows


def new_versions(before: Iterable[Mapping[str, Any]], latest: Mapping[str, str]) -> list[Change]:
    """Rows for models that have since been served in another version; ``before`` comes from ``totals.versions``."""
    served: dict[str, list[str]] = {}
    for row in before:
        served.setdefault(row["model"], []).append(row["version"])
    return [
        (model, "another version", "model_version", ", ".join(versions), latest[model])
        for model, versions in served.items()
        if latest.get(model, versions[-1]) not in versions
    ]


def _gone(model: Model, against: Iterable[Obstacle]) -> Iterator[Change]:
    for obstacle in against:
        if obstacle.kind in (ObstacleKind.DEPRECATED, ObstacleKind.RETIRED):
            yield (model.reference, "retired", "status", "ACTIVE", obstacle.label)
        elif obstacle.blocks:
            yield (model.reference, "out of reach", "provider", model.provider, obstacle.label)


def _changed(before: Model, now: Model) -> Iterator[Change]:
    if before.display_name != now.display_name:
        yield (before.reference, "renamed", "display_name", before.display_name, now.display_name)
    pairs = {name: (getattr(before.price, name), getattr(now.price, name)) for name in PRICE_COLUMNS}
    pairs["batch_discount"] = before.batch_discount, now.batch_discount
    for name, (old, new) in pairs.items():
        if old != new:
            yield (before.reference, "repriced", name, shown(old), shown(new))


# --- the answers -----------------------------------------------------------------------------------------------------


def _answers(probes: pd.DataFrame) -> pd.DataFrame:
    """The columns to compare, one row per probe; ``content`` is missing where there is no answer."""
    fields = [name for name in probes if name == "answer" or str(name).startswith("answer.")]
    if "answer" in fields:  # the positions of options are no part of the answer
        fields = [name for name in fields if name not in ("answer.position", "answer.score")]
    contents = [
        tuple(map(_plain, row)) if any(row.notna()) else str(text).strip()
        for text, (_, row) in zip(probes["response"], probes[fields].astype(object).iterrows(), strict=True)
    ]
    is_ok = probes["status"].astype(object) == "ok"
    texts = probes["response"].astype(object)
    return probes[["config", "scenario_id", "sample", "model_version"]].assign(
        content=pd.Series(contents, index=probes.index, dtype=object).where(is_ok),
        length=pd.Series([len(text) if isinstance(text, str) else 0 for text in texts], dtype=float).where(is_ok),
        cost=probes["estimated_cost"].astype(float).where(is_ok),
    )


def _plain(value: Any) -> str:
    """A value as text; whole numbers look the same in columns with and without gaps."""
    return str(float(value)) if is_number(value) else str(value)


def _compared(config: Any, before: pd.DataFrame, now: pd.DataFrame) -> dict[str, Any]:
    missing = int(now["content"].isna().sum())
    before, now = before[before["content"].notna()], now[now["content"].notna()]
    shared = set(before["scenario_id"]) & set(now["scenario_id"])
    before, now = (rows[rows["scenario_id"].isin(shared)] for rows in (before, now))
    pairs = before.merge(now, on="scenario_id")
    is_equal = (pairs["content_x"] == pairs["content_y"]).astype(float)
    agreement = intervals.mean(is_equal, pairs["scenario_id"], share=True)
    twice = before.merge(before, on="scenario_id")
    twice = twice[twice["sample_x"] < twice["sample_y"]]
    row = {
        "config": config,
        "scenarios": len(shared),
        "missing": missing,
        "agree": agreement.estimate,
        "agree_low": agreement.low,
        "agree_high": agreement.high,
        "agree_before": (twice["content_x"] == twice["content_y"]).mean() if len(twice) else float("nan"),
    }
    for name in ("length", "cost"):
        a, b = now[now[name].notna()], before[before[name].notna()]
        difference = intervals.difference(a[name], b[name], (a["scenario_id"], b["scenario_id"]), share=False)
        row |= {f"{name}_before": b[name].mean(), f"{name}_now": a[name].mean()}
        row |= {f"{name}_low": difference.low, f"{name}_high": difference.high}
    for name, rows in (("version_before", before), ("version_now", now)):
        row[name] = ", ".join(rows["model_version"].dropna().astype(str).unique()) or None
    return row
