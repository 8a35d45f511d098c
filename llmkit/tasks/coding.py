"""Coding: assign each answer of a run to one category of a codebook, with the deciding quote."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

import pandas as pd

from llmkit.analysis import Run
from llmkit.catalog.infra_models import Choice, choose, named
from llmkit.errors import ValidationError
from llmkit.records.checks import numbers, shapes
from llmkit.records.checks.texts import counted
from llmkit.records.typed_questions import object_schema
from llmkit.tasks.documents import HYGIENE, Item, batches, document, item_tokens, items_of, room
from llmkit.tasks.infra_task import Answer, Infra, InfraHandle, Money, Rounds, Task, announce, carry_out

PURPOSE = "judge"
MOST_AT_ONCE = 25
"""The most answers in one request: with many more, models skip some."""

Codebook = Mapping[str, str] | Sequence[str]
"""Categories with their definitions, or names of categories that need none."""

_TASK = (
    "You code answers for a study. Give each document exactly one category of this codebook, by its definition, and "
    "the quote that decides it: a few words copied letter by letter from that document."
)
_FORM = (
    'Answer with one JSON object and nothing else: {"codes": [{"id": 1, "category": "...", "quote": "..."}]}, with one '
    "entry for every document."
)


def code(
    infra: Infra, run: Run, codebook: Codebook, coders: Sequence[str] | None, *, strict: bool, budget: Money | None
) -> InfraHandle[pd.DataFrame]:
    """Start coding a run's answers; see ``Kit.code``."""
    categories = read_codebook(codebook)
    items, models = answers_of(run)
    if coders is None:
        choices = [announce(choose(infra.catalog.access(), PURPOSE, avoid=models, strict=strict))]
    else:
        choices = _named(infra, coders)
    share = None if budget is None else numbers.amount(budget, "budget") / len(choices)
    jobs = [_job(infra, choice, run, categories, items, share) for choice in choices]
    return carry_out(jobs, partial(pd.concat, ignore_index=True))


def _named(infra: Infra, coders: Sequence[str]) -> list[Choice]:
    """The models named as coders."""
    references = shapes.strings(coders, "coders")
    if not references or len(set(references)) < len(references):
        raise ValidationError(
            "coders are references of different models, such as ['openai:gpt-6-luna', 'mistral:mistral-small-2603'].",
            field="coders",
        )
    access = infra.catalog.access()
    return [named(access, PURPOSE, reference) for reference in references]


def _job(
    infra: Infra, choice: Choice, run: Run, categories: Mapping[str, str], items: Sequence[Item], budget: Decimal | None
) -> tuple[Task, Rounds[pd.DataFrame]]:
    """The work of one coder."""
    lines = [f"- {name}: {definition}" if definition else f"- {name}" for name, definition in categories.items()]
    system = "\n\n".join((_TASK, HYGIENE, "\n".join(("Codebook:", *lines)), _FORM))
    task = Task(
        infra=infra,
        choice=choice,
        name=f"code: {run.name or run.id}",
        system=system,
        schema=_schema(categories),
        budget=budget,
        carries={"task": "code", "source_run": run.id},
    )
    free = room(choice.model, system)
    too_long = f"long for the context of {choice.model.reference}."
    if all(item_tokens(item) > free for item in items):
        raise ValidationError(f"Every answer is too {too_long}", field="run")
    coded = {item.key: _Coded(item, f"The answer is too {too_long}") for item in items}
    return task, _rounds(task, categories, coded, free)


def _rounds(task: Task, categories: Mapping[str, str], coded: Mapping[str, _Coded], free: int) -> Rounds[pd.DataFrame]:
    """Send every answer that fits, and once more those that come back without a category."""
    missing = [each.item for each in coded.values() if item_tokens(each.item) <= free]
    for _ in range(2):
        if sent := batches(missing, free, MOST_AT_ONCE):
            for batch, answer in zip(sent, (yield [document(batch) for batch in sent]), strict=True):
                _take([coded[item.key] for item in batch], answer, categories)
        missing = [item for item in missing if coded[item.key].category is None]
    rows = [each.row(task.choice.model.reference) for each in coded.values()]
    frame = pd.DataFrame(rows).astype({"quote_found": "boolean", "cost": "float64"})
    uncoded, misquoted = int(frame["category"].isna().sum()), int((frame["quote_found"] == False).sum())  # noqa: E712
    if uncoded:
        task.warnings.append(f"No category for {counted(uncoded, 'answer')} of {len(frame):,}: see the column error.")
    if misquoted:
        task.warnings.append(f"{counted(misquoted, 'quote')} not found in the answers: see the column quote_found.")
    return frame


def answers_of(run: Run) -> tuple[list[Item], set[str]]:
    """The ok answers of a run, and its models."""
    probes = run.probes
    ok = probes[probes["status"] == "ok"]
    if ok.empty:
        raise ValidationError(f"Run {run.id} has no answers with status ok.", field="run")
    return items_of(ok), set(probes["model"])


def read_codebook(codebook: Codebook) -> dict[str, str]:
    """Categories with their definitions (may be empty)."""
    if isinstance(codebook, str) or not isinstance(codebook, Iterable):
        raise ValidationError("Give the codebook as {category: definition}, or a list of categories.", field="codebook")
    definitions = dict(codebook) if isinstance(codebook, Mapping) else dict.fromkeys(codebook, "")
    names = [name.strip() if isinstance(name, str) else "" for name in definitions]
    if not names or not all(names):
        raise ValidationError(
            "A codebook names its categories with texts: {'yes': 'in favour', 'no': 'against'}, or ['yes', 'no'].",
            field="codebook",
        )
    folded = [name.casefold() for name in names]
    if len(set(folded)) < len(names) or (not isinstance(codebook, Mapping) and len(definitions) < len(list(codebook))):
        raise ValidationError("Two categories of the codebook have the same name.", field="codebook")
    meant = [shapes.optional_string(definition, "codebook") or "" for definition in definitions.values()]
    return {name: definition.strip() for name, definition in zip(names, meant, strict=True)}


def occurs(quote: str, text: str) -> bool:
    """Whether a text contains a quote, ignoring white space and the style of quotation marks."""
    words = _plain(quote).strip(" \"'….")
    return bool(words) and words in _plain(text)


@dataclass(slots=True)
class _Coded:
    """An answer with its category and quote, or the error why it has none."""

    item: Item
    error: str
    category: str | None = None
    quote: str = ""
    cost: float = 0.0
    run_id: str | None = None

    def row(self, coder: str) -> dict[str, Any]:
        """Its row in the result."""
        is_coded = self.category is not None
        return {
            "probe_id": self.item.key,
            "category": self.category,
            "quote": self.quote or None,
            "quote_found": occurs(self.quote, self.item.text) if is_coded else None,
            "error": None if is_coded else self.error,
            "cost": self.cost,
            "infra_model": coder,
            "infra_run_id": self.run_id,
        }


def _take(batch: Sequence[_Coded], answer: Answer, categories: Mapping[str, str]) -> None:
    """Record all usable codes; the other answers of the batch get an error."""
    try:
        entries, error = answer.entries("codes"), answer.problem or "The model left this answer out."
    except ValueError as problem:
        entries, error = [], str(problem)
    for each in batch:
        each.cost += answer.cost / len(batch)
        each.run_id = answer.run_id or each.run_id
        each.error = error
    for entry in entries:
        _take_entry(batch, entry, categories)


def _take_entry(batch: Sequence[_Coded], entry: Any, categories: Mapping[str, str]) -> None:
    number = str(entry.get("id")).strip() if isinstance(entry, Mapping) else ""
    if not number.isdecimal() or not 1 <= int(number) <= len(batch):
        return
    coded, name, quote = batch[int(number) - 1], str(entry.get("category")).strip(), entry.get("quote")
    category = {each.casefold(): each for each in categories}.get(name.casefold())
    if category is None:
        coded.error = f"The model gave {name[:80]!r}, which is not in the codebook."
    elif coded.category is None:
        coded.category, coded.quote = category, quote if isinstance(quote, str) else ""


def _schema(categories: Mapping[str, str]) -> dict[str, Any]:
    entry = {
        "id": {"type": "integer"},
        "category": {"type": "string", "enum": list(categories)},
        "quote": {"type": "string"},
    }
    return object_schema({"codes": {"type": "array", "items": object_schema(entry)}})


def _plain(text: str) -> str:
    straight = text.translate(str.maketrans("‘’‚‛“”„‟«»", "''''" + '""""""'))
    return re.sub(r"\s+", " ", straight)
