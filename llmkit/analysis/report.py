"""A run as a paper reports it: methods, reporting checklist, costs, prompts. From the journal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from importlib.metadata import version
from typing import Any

from llmkit.analysis.markdown import plain, table, verbatim
from llmkit.analysis.run_words import period, served
from llmkit.money import pricing
from llmkit.money.amounts import billed, dollars
from llmkit.records import Params, Scenario
from llmkit.records.checks.texts import counted
from llmkit.runs import stored_plan
from llmkit.runs.plan import Configuration, Plan, with_options
from llmkit.runs.stop_rules import early_end
from llmkit.store import Store, totals

BLANK = "______"
"""Marks what only the author can fill in."""

_NAMED = 10
"""The most scenario ids listed above a prompt that they share."""
_COUNTS = {"Probes": "probes", "Answered": "ok", "Failed": "failed", "Not asked": "unasked",
           "Input tokens": "input_tokens", "Output tokens": "output_tokens"}  # fmt: skip
"""The columns of the table of costs, by their headings."""
_AUTHOR = (
    "Research question and hypotheses",
    "Preregistration",
    "How the prompts were chosen, and what they represent",
    "How the number of prompts and samples was decided",
    "How answers were scored or coded, and checked by people",
    "Statistical analysis, and what it assumes to be independent",
    "Ethics, and personal data in prompts",
    "Limitations: other models, versions, languages and wordings",
    "Availability of data and code",
    "Funding and competing interests",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """A run's row, its plan, and rows of :mod:`llmkit.store.totals`."""

    row: Mapping[str, Any]
    plan: Plan
    configs: list[dict[str, Any]]
    unanswered: list[dict[str, Any]]
    versions: list[dict[str, Any]]
    sessions: int
    worst: Decimal
    """The most that requests of unknown cost may have cost."""

    def count(self, name: str) -> int:
        """A count over all configurations."""
        return sum(each[name] for each in self.configs)

    @property
    def cost(self) -> str:
        """The exact cost of the run, the number of unpriced probes, and what lost answers may have cost."""
        known = billed(pricing.total(each["cost"] for each in self.configs), self.count("unpriced"), exact=True)
        if original := pricing.total(each["original_cost"] for each in self.configs):
            known += f" (what was reused had cost {dollars(original, exact=True)})"
        if not (lost := self.count("maybe_billed")):
            return known
        most = f"up to {dollars(self.worst, exact=True)}" if self.worst else "an unknown amount"
        return f"{known}, and {most} for {counted(lost, 'request')} whose outcome is unknown"


def report(store: Store, run_id: str) -> str:
    """The report of a run as Markdown; see :meth:`llmkit.Run.report`."""
    row = store.run(run_id, with_scenarios=True)
    facts = _Facts(
        row=row,
        plan=stored_plan(row),
        configs=store.read(lambda c: totals.by_configuration(c, run_id)),
        unanswered=store.read(lambda c: totals.unanswered(c, run_id)),
        versions=store.read(lambda c: totals.versions(c, run_id)),
        sessions=store.read(lambda c: totals.sessions(c, run_id)),
        worst=store.read(lambda c: totals.worst_unknown(c, run_id)),
    )
    checklist = [*_known(facts), *((item, BLANK) for item in _AUTHOR)]
    parts = (
        f"# {plain(title(row))}",
        *([f"*{plain(_REHEARSAL)}*"] if row["simulated"] else []),
        "## Methods",
        _methods(facts),
        "## Reporting checklist",
        plain(f"{BLANK} is for the author to fill in."),
        table(("Item", "In this study"), checklist),
        "## Costs",
        f"In all: {plain(facts.cost)}, at the prices in force when each request was made.",
        table(("Configuration", *_COUNTS, "US dollars"), map(_cost_row, facts.configs)),
        "## Appendix: what was asked",
        *_appendix(facts.plan),
    )
    return "\n\n".join(parts) + "\n"


def title(row: Mapping[str, Any]) -> str:
    """The title of a run's report."""
    return f"Report of {row['name'] or row['id']}"


_REHEARSAL = "A rehearsal: the answers come from a simulator, not from the models named. Nothing was billed."


# --- the paragraph ---------------------------------------------------------------------------------------------------


def _methods(facts: _Facts) -> str:
    plan, row = facts.plan, facts.row
    params = _params(plan.params)
    times = "once" if plan.samples == 1 else f"{plan.samples:,} times"
    scenarios = f"{counted(len(plan.scenarios), 'scenario')} {'was' if len(plan.scenarios) == 1 else 'were'}"
    several = f"{counted(len(plan.configs), 'configuration')} of " if len(plan.configs) > len(plan.models) else ""
    sentences = [
        f"{scenarios} put to {several}{counted(len(plan.models), 'model')} {times} each "
        f"({counted(len(plan), 'conversation')}) through the providers' APIs ({_dates(facts)}) with llmkit "
        f"{version('llmkit')} (run {row['id']}).",
        f"Models: {_served(facts)}.",
        f"Service tier: {_tiers(facts)}.",
        f"Parameters: {f'{params}; all others' if params else 'all'} were left to the providers' defaults.",
        *(_configured(config, plan.params) for config in plan.configs if _differs(config, plan.params)),
        *_without(facts.configs),
        f"{_order(plan)}.",
        f"{_outcome(facts)}.",
        *filter(None, [early_end(row)]),
        f"Cost: {facts.cost}.",
    ]
    return plain(" ".join(sentences))


def _dates(facts: _Facts) -> str:
    first, last = facts.row["started_at"], facts.row["ended_at"]
    again = f", in {facts.sessions} sessions" if facts.sessions > 1 else ""
    if last is None:
        return f"started on {first:%Y-%m-%d %H:%M} UTC and not finished{again}"
    answered = [each["first"] for each in facts.versions]  # reused answers are older than the run
    return f"{period(min([first, *answered]), last)}{again}"


def _served(facts: _Facts) -> str:
    """Each model with the versions that its provider reported."""
    versions = served(facts.versions)
    told = {model: f"served as {', '.join(each)}" for model, each in versions.items()}
    return "; ".join(
        f"{each.reference}, {told.get(each.reference, 'no version reported')}" for each in facts.plan.models
    )


def _tiers(facts: _Facts) -> str:
    """The service tiers that served the answers; where a provider named none, the one that was requested."""
    requested = {config.label: config.params.service_tier or "as the provider chooses" for config in facts.plan.configs}
    named = [
        (", ".join(tier or requested[each["config"]] for tier in each["tiers"] or [""]), each["config"])
        for each in facts.configs
    ]
    return named[0][0] if len({tiers for tiers, _ in named}) == 1 else _by_label(named)


def _by_label(named: Iterable[tuple[str, str]]) -> str:
    """What is true of which configurations, from pairs of the two."""
    labels: dict[str, list[str]] = {}
    for what, label in named:
        labels.setdefault(what, []).append(f"“{label}”")
    return "; ".join(f"{what} for {', '.join(where)}" for what, where in labels.items())


def _params(params: Params) -> str:
    """The parameters that were set."""
    values = {name: value for name, value in asdict(params).items() if value not in (None, (), {}, False)}
    if "schema" in values:
        values["schema"] = "a JSON schema"
    return ", ".join(f"{name} {value}" for name, value in values.items())


def _differs(config: Configuration, shared: Params) -> bool:
    return config.system is not None or config.params != shared or config.label != config.model.reference


def _configured(config: Configuration, shared: Params) -> str:
    own, common = asdict(config.params), asdict(shared)
    changed = [f"{name} {value}" for name, value in own.items() if value != common[name]]
    system = ["a system prompt of its own (see the appendix)"] if config.system is not None else []
    how = f", with {' and '.join(filter(None, (', '.join(changed), *system)))}" if changed or system else ""
    return f"“{config.label}” is {config.model.reference}{how}."


def _without(configs: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    if listed := _by_label((", ".join(each["left_out"]), each["config"]) for each in configs if each["left_out"]):
        yield f"Parameters that a model does not accept were not sent: {listed}."


def _order(plan: Plan) -> str:
    shuffled = any(scenario.question and scenario.question.shuffle for scenario in plan.scenarios)
    options = "; the options of questions were shuffled for each conversation" if shuffled else ""
    if plan.order == "sequential":
        return f"Questions were asked in the order of the appendix{options}"
    seed = f"(seed {plan.order_seed})"
    order = f"the order of questions was shuffled for each sample, configurations within scenarios {seed}{options}"
    if plan.order == "cache":
        blocks = counted(len(plan.blocks), "block")
        return f"Questions that share a beginning were asked together ({blocks}); within a block {order}"
    return order[0].upper() + order[1:]


def _outcome(facts: _Facts) -> str:
    """How many conversations were answered, cut or reused, and why others were not."""
    missing = [
        f"{each['probes']:,} {each['status']}" + (f" ({each['error_code']})" if each["error_code"] else "")
        for each in facts.unanswered
    ]
    lost = f"; excluded for lack of an answer: {', '.join(missing)}" if missing else "; none was excluded"
    cut = f"; {facts.count('cut'):,} were cut off at the token limit" if facts.count("cut") else ""
    sources = ", ".join(sorted({run for each in facts.configs for run in each["sources"]}))
    reused = f"; {facts.count('reused'):,} were reused from earlier runs ({sources})" if sources else ""
    return f"Of {counted(len(facts.plan), 'conversation')}, {facts.count('ok'):,} were answered{cut}{reused}{lost}"


# --- the lists -------------------------------------------------------------------------------------------------------


def _known(facts: _Facts) -> Iterable[tuple[str, str]]:
    plan, row = facts.plan, facts.row
    return (
        ("Models and versions", _served(facts)),
        ("Access", f"API; service tier: {_tiers(facts)}"),
        ("Dates of data collection", _dates(facts)),
        ("Parameters", _params(plan.params) or "none set"),
        ("Prompts, verbatim", "appendix"),
        ("Samples of each prompt", f"{plan.samples:,}"),
        ("Order and randomization", _order(plan)),
        ("Failures, missing answers and exclusions", _outcome(facts)),
        ("Cost", facts.cost),
        ("Software", f"llmkit {version('llmkit')}"),
        ("Answers of real models", "no, a rehearsal" if row["simulated"] else "yes"),
    )


def _cost_row(each: Mapping[str, Any]) -> list[object]:
    counts = ["–" if each[name] is None else f"{each[name]:,}" for name in _COUNTS.values()]
    return [each["config"], *counts, billed(each["cost"], each["unpriced"] + each["maybe_billed"], exact=True)]


def _appendix(plan: Plan) -> Iterable[str]:
    for config in plan.configs:
        if config.system is not None:
            yield f"**System prompt of {plain(config.label)}**"
            yield verbatim(config.system)
    systems = list(dict.fromkeys(scenario.system for scenario in plan.scenarios if scenario.system))
    names = {system: f"(system prompt {number})" for number, system in enumerate(systems, 1)}
    for system, name in names.items():
        yield f"**{plain(name.strip('()').capitalize())}**"
        yield verbatim(system)
    labels: dict[str, list[str]] = {}
    for scenario in plan.scenarios:
        levels = "".join(f"; {name}: {value}" for name, value in scenario.dimensions.items())
        text = _conversation(with_options(scenario), names)
        labels.setdefault(text, []).append(f"{scenario.scenario_id}{levels}")
    for text, scenarios in labels.items():
        more = f" and {len(scenarios) - _NAMED:,} more" if len(scenarios) > _NAMED else ""
        yield f"**{plain(' / '.join(scenarios[:_NAMED]) + more)}**"
        yield verbatim(text)


def _conversation(scenario: Scenario, systems: Mapping[str, str]) -> str:
    """A scenario's whole text, with roles unless it is a single prompt, and system prompts by name."""
    messages = [
        *([("system", systems[scenario.system])] if scenario.system else []),
        *((message.role, message.content) for message in scenario.messages),
        *(("user", prompt) for prompt in scenario.prompts),
    ]
    return scenario.prompt if len(messages) == 1 else "\n\n".join(f"[{role}]\n{text}" for role, text in messages)
