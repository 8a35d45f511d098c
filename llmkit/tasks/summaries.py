"""Summaries of the answers of each group, in one request or, if they do not fit, in parts that are then merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from llmkit.analysis import Run
from llmkit.catalog.infra_models import choose
from llmkit.errors import ValidationError
from llmkit.records.checks.near_names import columns_named
from llmkit.records.checks.texts import counted
from llmkit.tasks.documents import BYTES_PER_TOKEN, HYGIENE, Item, batches, document, items_of, room, tokens
from llmkit.tasks.infra_task import Answer, Infra, InfraHandle, Money, Rounds, Task, announce, carry_out

PURPOSE = "summarization"
QUESTION = "What do the answers say? Where do they agree, and where do they differ?"

_TASK = (
    "You summarize answers for a study. Read all documents and answer the researcher's question about them in at most "
    "200 words of plain text, without a heading. Say how many documents hold a view where you can; invent nothing."
)
_PARTS = "The documents are summaries of parts of the same answers: make one summary of them."


def summarize(
    infra: Infra, run: Run, question: str | None, by: str | Sequence[str], *, strict: bool, budget: Money | None
) -> InfraHandle[pd.DataFrame]:
    """Start summarizing a run's answers; see ``Kit.summarize``."""
    if question is not None and (not isinstance(question, str) or not question.strip()):
        raise ValidationError("Write the question that the summaries answer, or leave it out.", field="question")
    probes = run.probes
    names = columns_named(by, probes.columns, "by")
    groups = _groups(probes, names)
    if not any(group.items for group in groups):
        raise ValidationError(f"Run {run.id} has no answers with status ok.", field="run")
    models = set(probes["model"])
    choice = choose(infra.catalog.access(), PURPOSE, avoid=models, structured=False, strict=strict)
    system = "\n\n".join((_TASK, HYGIENE, f"The researcher's question: {(question or QUESTION).strip()}"))
    task = Task(
        infra=infra,
        choice=announce(choice),
        name=f"summarize: {run.name or run.id}",
        system=system,
        budget=budget,
        carries={"task": "summarize", "source_run": run.id},
    )
    return carry_out([(task, _rounds(task, names, groups, room(choice.model, system, _PARTS)))])


def _rounds(task: Task, names: Sequence[str], groups: Sequence[_Group], free: int) -> Rounds[pd.DataFrame]:
    """Summarize the answers of each group, then their summaries, until one is left."""
    if cut := sum(group.fit(free) for group in groups):
        task.warnings.append(f"Only the beginning of {counted(cut, 'answer')} was read, for lack of room.")
    sent = [(group, batch) for group in groups for batch in batches(group.items, free)]
    answers = yield [document(batch) for _, batch in sent]
    while sent:
        for group in groups:
            if own := [answer for (owner, _), answer in zip(sent, answers, strict=True) if owner is group]:
                group.take(own)
                group.fit(free)
        split = [group for group in groups if len(group.items) > 1]
        sent = [] if task.stopped else [(group, batch) for group in split for batch in batches(group.items, free)]
        if sent:
            answers = yield [f"{_PARTS}\n\n{document(batch)}" for _, batch in sent]
    for group in split:
        group.problems.append("It was cancelled before the summaries of its parts were merged.")
    if failed := [group for group in groups if group.problems]:
        text = f"{len(failed)} of {len(groups)} groups could not be summarized, or only in part: see the column error."
        task.warnings.append(text)
    return _frame(task, names, groups)


@dataclass(slots=True)
class _Group:
    """The answers of one group, or the summaries made of them so far."""

    values: tuple[Any, ...]
    items: list[Item]
    n_answers: int
    problems: list[str] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    run_id: str | None = None

    def fit(self, free: int) -> int:
        """Cut long items so that at least two fit into a batch; return how many were cut."""
        most = free // 3 * BYTES_PER_TOKEN
        before = self.items
        self.items = [Item(item.key, _cut(item.text, most), _cut(item.prompt, most // 2)) for item in before]
        return sum(len(old.text) != len(new.text) for old, new in zip(before, self.items, strict=True))

    def take(self, answers: Sequence[Answer]) -> None:
        """Replace items by their summaries; a part without a summary is dropped and recorded as a problem."""
        self.items = [Item("", answer.text) for answer in answers if answer.text is not None]
        self.costs += [answer.cost for answer in answers]
        self.problems += [answer.problem for answer in answers if answer.text is None]
        self.run_id = next((answer.run_id for answer in answers if answer.run_id), self.run_id)


def _frame(task: Task, names: Sequence[str], groups: Sequence[_Group]) -> pd.DataFrame:
    rows = []
    for group in groups:
        done = len(group.items) == 1 and bool(group.costs)
        rows.append(
            {
                **dict(zip(names, group.values, strict=True)),
                "summary": group.items[0].text.strip() if done else None,
                "n_answers": group.n_answers,
                "error": " ".join(dict.fromkeys(group.problems)) or None,
                "cost": sum(group.costs),
                "infra_model": task.choice.model.reference,
                "infra_run_id": group.run_id,
            }
        )
    return pd.DataFrame(rows).astype({"cost": "float64"})


def _groups(probes: pd.DataFrame, names: list[str]) -> list[_Group]:
    """Group probes by the values of columns, in order of first appearance."""
    if len(set(names)) < len(names):
        raise ValidationError("by names a column twice.", field="by")
    try:
        grouped = list(probes.groupby(names, sort=False, dropna=False))
    except TypeError:
        raise ValidationError("by cannot be a column that holds lists or objects.", field="by") from None
    groups = []
    for values, rows in grouped:
        items = items_of(rows[rows["status"] == "ok"])
        groups.append(_Group(tuple(values), items, len(items)))
    return groups


def _cut(text: str, most_bytes: int) -> str:
    if tokens(text) * BYTES_PER_TOKEN <= most_bytes:
        return text
    return text.encode("utf-8", "replace")[: most_bytes - 3].decode("utf-8", "ignore") + "…"
