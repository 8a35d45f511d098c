"""Answers, and what people noted about them, as columns of ``run.probes``."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from llmkit.records.columns import answer_column, note_column


def answer_columns(answers: Sequence[Any], questions: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Structured answers as columns ``answer.<field>``, in the order of their first appearance; answers to questions as
    ``answer``. What was chosen among options is a categorical in their order, ordered where they are one scale."""
    rows = [answer if isinstance(answer, dict) else {} for answer in answers]
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {answer_column(name): column([row.get(name) for row in rows]) for name in names}
    for name, values in columns.items():
        if (kind := _options_of(name, questions)) is not None:
            columns[name] = values.astype(kind)
    return columns


def note_columns(notes: Sequence[Any], taken: Collection[str]) -> dict[str, Any]:
    """What people noted, a column for each name: ``mark`` first, then ``comment``, then codes."""
    rows = [note if isinstance(note, dict) else {} for note in notes]
    names = sorted({name for row in rows for name in row}, key=lambda name: (name != "mark", name != "comment", name))
    columns = {note_column(name, taken): column([row.get(name) for row in rows]) for name in names}
    if "mark" in names:
        mark = note_column("mark", taken)
        columns[mark] = columns[mark].map(bool)
    return columns


def _options_of(name: str, questions: Sequence[Mapping[str, Any]]) -> pd.CategoricalDtype | None:
    """The options behind a column, when all that it holds was chosen among options."""
    if name == "answer":
        behind = [each for each in questions if each["kind"] != "matrix"]
    else:
        behind = [each for each in questions if name in map(answer_column, each["rows"])]
    if not behind or not all(each["kind"] in ("choice", "likert", "yes_no", "matrix") for each in behind):
        return None
    is_scale = all(each["kind"] in ("likert", "matrix") and each["options"] == behind[0]["options"] for each in behind)
    options = list(dict.fromkeys(option for each in behind for option in each["options"]))
    return pd.CategoricalDtype(options, ordered=is_scale)


def column(values: list[Any]) -> pd.Series[Any]:
    """Values of any kind, with the type that they share."""
    return pd.Series(values, dtype=object).infer_objects()
