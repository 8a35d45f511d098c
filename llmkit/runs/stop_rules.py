"""Stop a run early: the protocol of stop rules, and the answers that they look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from llmkit.records.checks.near_names import unknown_name
from llmkit.records.columns import RESULT, answer_column
from llmkit.runs.conversation import Conversation
from llmkit.runs.plan import Plan


@runtime_checkable
class StopRule(Protocol):
    """Decides when a run has enough answers; its ``str()`` says what was reached."""

    @property
    def columns(self) -> Mapping[str, str]:
        """The columns that it looks at, by the argument that names each."""

    def is_deaf(self, rows: Iterable[Mapping[str, Any]]) -> bool:
        """Whether none of these answers has a value that it can use."""

    def reached(self, rows: Iterable[Mapping[str, Any]], configs: Iterable[str]) -> bool:
        """Whether these answers (rows like those of ``run.probes``) suffice for each of the configurations."""


_PLACE = ("scenario_id", "prompt", "system", "provider", "model", "config", "sample")
_ADVICE = " kit.resume(run_id) asks the rest."
_FIRST = 10
"""The number of answers after which a rule that could use none of them is reported."""


def check_stop_rule(rule: StopRule, plan: Plan) -> None:
    """Refuse a rule that looks at a column which no answer to this plan can have."""
    dimensions = (name for scenario in plan.scenarios for name in scenario.dimensions)
    fields = _answer_fields(plan)
    known = dict.fromkeys((*dimensions, *map(answer_column, fields or ()), *_PLACE, *RESULT))
    for argument, name in rule.columns.items():
        if name not in known and not (fields is None and name.startswith(answer_column(" ").strip())):
            raise unknown_name(name, known, argument)


def _answer_fields(plan: Plan) -> set[str] | None:
    """The fields that answers will have; ``None`` when a schema leaves them open."""
    questions = (scenario.question for scenario in plan.scenarios if scenario.question is not None)
    fields = {name for question in dict.fromkeys(questions) for name in question.columns}
    schema = plan.params.schema
    if schema is not None and ("properties" not in schema or schema.get("additionalProperties")):
        return None
    return fields | set((schema or {}).get("properties", ()))


@dataclass(slots=True)
class StopCheck:
    """Applies a rule to a run's answers whenever their number has grown by five per cent."""

    rule: StopRule
    configs: tuple[str, ...]
    most: int
    """The number of answers if the run is not stopped."""
    say: Callable[[str], None]
    outcome: str | None = None
    """Why the run was stopped; ``None`` if it was not."""
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _next: int = 1

    def is_over(self, conversation: Conversation) -> bool:
        """Whether the run has enough answers, this one included."""
        if conversation.status != "ok":
            return False
        self._rows.append(_row(conversation))
        count = len(self._rows)
        if count == min(_FIRST, self.most) and self.rule.is_deaf(self._rows):
            name = self.rule.columns["value"]
            self.say(f"The first {count} answers have no number in {name!r}: the run will not stop early.")
        if self.outcome is None and self._next <= count < self.most:
            self._next = count + 1 + count // 20
            if self.rule.reached(self._rows, self.configs):
                self.outcome = f"Stopped early, because {self.rule}.{_ADVICE}"
        return self.outcome is not None


def early_end(row: Mapping[str, Any]) -> str | None:
    """Why a rule stopped a stored run, without what to do about it; ``None`` if none did. ``row`` is that in ``runs``.

    A run that somebody cancels has no message.
    """
    return row["message"].partition(_ADVICE)[0] if row["status"] == "cancelled" and row["message"] else None


def stop_check(rule: StopRule | None, plan: Plan, say: Callable[[str], None]) -> StopCheck | None:
    """The check of a run of this plan; ``say`` gets a sentence if the rule can use no answer."""
    return None if rule is None else StopCheck(rule, tuple(config.label for config in plan.configs), len(plan), say)


def _row(conversation: Conversation) -> dict[str, Any]:
    probe, answer = conversation.probe, conversation.answer
    fields = answer if isinstance(answer, dict) else {}
    return {
        **probe.scenario.dimensions,
        **conversation.row(),
        **{name: getattr(probe.scenario, name) for name in ("scenario_id", "prompt", "system")},
        "provider": probe.model.provider,
        "model": probe.model.reference,
        "config": probe.config.label,
        "sample": probe.sample,
        **{answer_column(name): value for name, value in fields.items()},
    }
