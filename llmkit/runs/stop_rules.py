"""Stopping a run before its end: what a rule must answer, and the answers that it is told of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from llmkit.records.columns import answer_column
from llmkit.runs.conversation import Conversation
from llmkit.runs.plan import Plan


@runtime_checkable
class StopRule(Protocol):
    """Says when a run has heard enough; ``str()`` of it says what was reached."""

    def reached(self, rows: Iterable[Mapping[str, Any]], configs: Iterable[str]) -> bool:
        """Whether answers (rows as of ``run.probes``) are enough for each of the configurations."""


@dataclass(slots=True)
class Watch:
    """Looks at a run's answers by a rule, each time that there are five per cent more."""

    rule: StopRule
    configs: tuple[str, ...]
    most: int
    """Answers that the run will have if it is not stopped."""
    outcome: str | None = None
    """Why the run was stopped; ``None`` while it was not."""
    _rows: list[dict[str, Any]] = field(default_factory=list)
    _next: int = 1

    def is_over(self, conversation: Conversation) -> bool:
        """Whether with this answer there are enough."""
        if conversation.status != "ok":
            return False
        self._rows.append(_row(conversation))
        count = len(self._rows)
        if self.outcome is None and self._next <= count < self.most:
            self._next = count + 1 + count // 20
            if self.rule.reached(self._rows, self.configs):
                self.outcome = f"Stopped early, since {self.rule}. kit.resume(run_id) asks the rest."
        return self.outcome is not None


def watch_of(rule: StopRule | None, plan: Plan) -> Watch | None:
    """The watch over a run that asks this plan."""
    return None if rule is None else Watch(rule, tuple(config.label for config in plan.configs), len(plan))


def _row(conversation: Conversation) -> dict[str, Any]:
    probe, answer = conversation.probe, conversation.answer
    fields = answer if isinstance(answer, dict) else {}
    return {
        **probe.scenario.dimensions,
        **conversation.row(),
        "scenario_id": probe.scenario.scenario_id,
        "config": probe.config.label,
        **{answer_column(name): value for name, value in fields.items()},
    }
