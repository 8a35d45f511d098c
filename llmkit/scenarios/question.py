"""Typed questions, to be used like prompts: ``kit.run([llmkit.question.yes_no("Is it fair?"), ...])``.

Each function makes a :class:`llmkit.Scenario` with instructions for the answer, its schema, and how it is parsed. The
prompt may itself be a :class:`llmkit.Scenario` (a persona with its system prompt, a case with its dimensions); other
arguments are those of a Scenario. Each probe shows the options in its own random order, which is reproducible
(``order_seed`` gives another) and undone in the results: ``answer`` is the chosen option (a categorical in the order
given here), ``answer.position`` its position as shown. ``shuffle=False`` keeps the order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from llmkit.errors import ValidationError
from llmkit.records import Question, Scenario
from llmkit.records.checks import shapes, texts
from llmkit.records.typed_questions import bare

__all__ = ["choice", "free", "likert", "matrix", "number", "rank", "yes_no"]

AGREEMENT = ("strongly disagree", "disagree", "neither agree nor disagree", "agree", "strongly agree")


def choice(prompt: str | Scenario, options: Sequence[Any], *, shuffle: bool = True, **scenario: Any) -> Scenario:
    """One of several options, texts or numbers.

    Raises:
        ValidationError: fewer than two options, or two that differ only in case.
    """
    return _asked(prompt, Question(kind="choice", options=_options(options), shuffle=shuffle), scenario)


def likert(
    prompt: str | Scenario, options: Sequence[Any] = AGREEMENT, *, shuffle: bool = True, **scenario: Any
) -> Scenario:
    """One step of a scale, the lowest first; ``answer.score`` is 1, 2, …. The scale is shown from either end.

    Raises:
        ValidationError: as in :func:`choice`.
    """
    return _asked(prompt, Question(kind="likert", options=_options(options), shuffle=shuffle), scenario)


def yes_no(prompt: str | Scenario, *, shuffle: bool = True, **scenario: Any) -> Scenario:
    """Yes or no; ``answer.score`` is 1 for yes and 0 for no."""
    return _asked(prompt, Question(kind="yes_no", options=("yes", "no"), shuffle=shuffle), scenario)


def number(prompt: str | Scenario, low: float | None = None, high: float | None = None, **scenario: Any) -> Scenario:
    """A number, from ``low`` to ``high``.

    Raises:
        ValidationError: bounds that are not numbers, or not in ascending order.
    """
    least, most = _bound(low, "low"), _bound(high, "high")
    if least is not None and most is not None and least >= most:
        raise ValidationError(f"low is {low} and high is {high}: give the smaller one as low.", field="low")
    return _asked(prompt, Question(kind="number", low=least, high=most), scenario)


def rank(prompt: str | Scenario, options: Sequence[Any], *, shuffle: bool = True, **scenario: Any) -> Scenario:
    """A ranking of all options; ``answer.<option>`` is the rank of each, from 1 (first).

    Raises:
        ValidationError: as in :func:`choice`, or an option called ``position``.
    """
    question = Question(kind="rank", options=_options(options), shuffle=shuffle)
    if "position" in map(str, question.options):
        raise ValidationError("'position' is a column of the results: give the option another name.", field="options")
    return _asked(prompt, question, scenario)


def matrix(
    prompt: str | Scenario,
    rows: Sequence[str],
    options: Sequence[Any] = AGREEMENT,
    *,
    shuffle: bool = True,
    **scenario: Any,
) -> Scenario:
    """One step of a scale for each of several rows, in columns ``answer.<row>``. The rows are shuffled.

    Raises:
        ValidationError: no row, or as in :func:`choice`.
    """
    question = Question(kind="matrix", rows=_options(rows, "rows", 1), options=_options(options), shuffle=shuffle)
    return _asked(prompt, replace(question, rows=tuple(map(str, question.rows))), scenario)


def free(prompt: str | Scenario, **scenario: Any) -> Scenario:
    """An answer in the model's own words."""
    return _asked(prompt, Question(kind="free"), scenario)


def _asked(prompt: str | Scenario, question: Question, more: dict[str, Any]) -> Scenario:
    """A scenario with the question; its template names the kind, because answers of a kind are similar in length."""
    texts.known_names(more, Scenario.__dataclass_fields__, f"llmkit.question.{question.kind}")
    scenario = replace(prompt, **more) if isinstance(prompt, Scenario) else Scenario(prompt, **more)
    template = " ".join(filter(None, (scenario.template, question.kind)))
    return replace(scenario, question=question, template=template)


def _bound(value: Any, name: str) -> float | None:
    if value is not None and not shapes.is_number(value):
        raise ValidationError(f"{name} is a number, not {value!r}.", field=name)
    return None if value is None else float(value)


def _options(values: Sequence[Any], name: str = "options", least: int = 2) -> tuple[Any, ...]:
    options = shapes.several(values, name, "a list of texts or numbers")
    folded = [bare(shapes.string(str(each), name)) for each in options]
    if not all(folded) or not all(isinstance(each, str | bool) or shapes.is_number(each) for each in options):
        raise ValidationError(f"{name} are texts or numbers, none of them empty.", field=name)
    if len(set(folded)) < max(len(options), least):
        raise ValidationError(f"{name} needs {least} or more entries, and no duplicates.", field=name)
    return options
