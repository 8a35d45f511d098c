"""Answers, and people's notes about them, as columns of ``run.probes``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from llmkit.records.columns import answer_column, column, note_column


def answer_columns(answers: Sequence[Any], questions: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Structured answers as columns ``answer.<field>``, by first appearance; answers to questions as ``answer``.
    Choices become categoricals in the order of their options, ordered where these form one scale; not where a row of a
    matrix shares its column with something else."""
    rows = [answer if isinstance(answer, dict) else {} for answer in answers]
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {answer_column(name): column([row.get(name) for row in rows]) for name in names}
    for name, values in columns.items():
        kind = _options_of(name, questions)
        if kind is not None and values.dropna().isin(kind.categories).all():
            columns[name] = values.astype(kind)
    return columns


def note_columns(notes: Sequence[Any], taken: Collection[str]) -> dict[str, Any]:
    """People's notes, one column per name: ``mark`` first, then ``comment``, then codes."""
    rows = [note if isinstance(note, dict) else {} for note in notes]
    names = sorted({name for row in rows for name in row}, key=lambda name: (name != "mark", name != "comment", name))
    columns = {note_column(name, taken): column([row.get(name) for row in rows]) for name in names}
    if "mark" in names:
        mark = note_column("mark", taken)
        columns[mark] = columns[mark].map(bool)
    return columns


def _options_of(name: str, questions: Sequence[Mapping[str, Any]]) -> pd.CategoricalDtype | None:
    """The options of a column's questions, if all of its answers are choices."""
    if name == "answer":
        asked = [question for question in questions if question["kind"] != "matrix"]
    else:
        asked = [question for question in questions if name in map(answer_column, question["rows"])]
    if not asked or not all(question["kind"] in ("choice", "likert", "yes_no", "matrix") for question in asked):
        return None
    is_scale = all(q["kind"] in ("likert", "matrix") and q["options"] == asked[0]["options"] for q in asked)
    options = list(dict.fromkeys(option for question in asked for option in question["options"]))
    return pd.CategoricalDtype(options, ordered=is_scale)
