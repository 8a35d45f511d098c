"""Convert any form of ``prompts`` to a list of scenarios, and scenarios to a DataFrame."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

import pandas as pd

from llmkit.errors import ValidationError
from llmkit.records import Scenario
from llmkit.records.checks.near_names import near
from llmkit.records.columns import column
from llmkit.scenarios.carried import ASKED_COLUMNS, check_columns, plain, warn_of_unsent

Prompt = str | Scenario | Mapping[str, Any]
Prompts = Prompt | Iterable[Prompt] | pd.DataFrame | pd.Series
"""The types that ``kit.run`` and ``kit.estimate`` accept as ``prompts``."""

_WHAT_TO_GIVE = "Give a prompt, a list of prompts or of Scenario, or a DataFrame with a column 'prompt'."


def as_scenarios(prompts: Prompts) -> list[Scenario]:
    """The scenarios in ``prompts``, each with an id and values that can be stored.

    Accepts a string, a :class:`Scenario`, or a mapping with the key ``prompt``; a list, Series or generator of any mix
    of these; or a DataFrame with a column ``prompt`` and, optionally, ``system``, ``followups`` (a list, one text, or a
    JSON list of texts), ``messages`` (as in :class:`Scenario`, or as JSON) and ``scenario_id``. All other columns or
    keys become dimensions. Missing values become ``None``, numpy's scalars Python's, dates ISO text. A DataFrame column
    that looks as if it were sent (``image``, ``system_prompt``) causes a warning.

    A scenario without an id is numbered by its position: ``s0001``, ``s0002`` and so on.

    Raises:
        ValidationError: no prompts, an empty prompt, a duplicate id, or a column with a reserved name.
    """
    if isinstance(prompts, pd.DataFrame):
        warn_of_unsent(map(str, prompts.columns))
    scenarios = list(_read(prompts))
    if not scenarios:
        raise ValidationError(f"There is nothing to ask. {_WHAT_TO_GIVE}", field="prompts")
    _refuse_repeated_ids(scenarios)
    return scenarios


def scenarios_to_frame(scenarios: Prompts) -> pd.DataFrame:
    """One row per scenario: scenario_id, prompt, system, followups (a list), messages (a list of dicts, if any scenario
    has them), and a column for each dimension.

    ``as_scenarios`` reads it back. Dimensions that a scenario lacks are missing values.

    Raises:
        ValidationError: there are no scenarios, or one has a typed question, which a table cannot hold.
    """
    ready = tabular(scenarios)
    rows = list(map(as_row, ready))
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows] for name in names}
    if not any(columns["messages"]):
        del columns["messages"]
    return pd.DataFrame({name: column(cells) for name, cells in columns.items()})


def tabular(scenarios: Prompts) -> list[Scenario]:
    """The scenarios, if a table or file can hold them completely."""
    ready = as_scenarios(scenarios)
    for scenario in ready:
        if scenario.question is not None:
            raise ValidationError(
                f"Scenario {scenario.scenario_id} has a question of the type {scenario.question.kind!r}, which a table "
                "or file cannot hold: keep the prompts there, and turn them into questions with llmkit.question.",
                field="scenarios",
            )
    return ready


def as_row(scenario: Scenario) -> dict[str, Any]:
    """A scenario as a row of a table or file."""
    return {
        "scenario_id": scenario.scenario_id,
        "prompt": scenario.prompt,
        "system": scenario.system,
        "followups": list(scenario.followups),
        "messages": [asdict(message) for message in scenario.messages],
        **scenario.dimensions,
    }


def _read(prompts: Prompts) -> Iterator[Scenario]:
    for position, row in enumerate(_rows(prompts), 1):
        fields, dimensions = _parts(row)
        check_columns(dimensions, field="prompts")
        try:
            yield _scenario(fields, dimensions, position)
        except ValidationError as error:
            field = "prompts" if error.field == "prompt" else error.field
            raise ValidationError(f"Prompt {position}: {error}", field=field) from None


def _parts(row: Any) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The fields of a scenario, and its dimensions."""
    if isinstance(row, Scenario):
        return {name: getattr(row, name) for name in (*ASKED_COLUMNS, "template", "question")}, row.dimensions
    if isinstance(row, Mapping):
        if "prompt" not in row:
            raise _no_prompt(row, "A scenario has no 'prompt'")
        fields = {name: row[name] for name in ASKED_COLUMNS if name in row}
        return fields, {str(name): value for name, value in row.items() if name not in fields}
    return {"prompt": row}, {}


def _rows(prompts: Prompts) -> Iterable[Any]:
    if isinstance(prompts, str | Scenario | Mapping):
        return [prompts]
    if isinstance(prompts, pd.DataFrame):
        return _frame_rows(prompts)
    if isinstance(prompts, bytes) or not isinstance(prompts, Iterable):  # type: ignore[unreachable]
        raise ValidationError(f"{type(prompts).__name__} is not a prompt. {_WHAT_TO_GIVE}", field="prompts")
    return prompts


def _frame_rows(frame: pd.DataFrame) -> Iterator[dict[str, Any]]:
    names = [str(name) for name in frame.columns]
    if "prompt" not in names:
        raise _no_prompt(names, "The DataFrame has no column 'prompt'")
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise ValidationError(f"The DataFrame has two columns {repeated!r}: rename one.", field="prompts")
    columns = [frame.iloc[:, index].tolist() for index in range(len(names))]
    return (dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True))


def _no_prompt(names: Iterable[Any], problem: str) -> ValidationError:
    columns = [str(name) for name in names]
    alike = near("prompt", columns, 1)
    hint = f"Rename {alike[0]!r} to 'prompt'" if alike else "Name the prompts' column 'prompt'"
    return ValidationError(f"{problem}, only {columns}. {hint}.", field="prompts")


def _scenario(fields: Mapping[str, Any], dimensions: Mapping[str, Any], position: int) -> Scenario:
    system = _text(fields.get("system"), where="its system prompt")
    return Scenario(
        prompt=_text(fields["prompt"], where="it"),
        system=None if isinstance(system, str) and not system.strip() else system,
        followups=_listed(fields.get("followups"), "followups"),
        messages=_listed(fields.get("messages"), "messages"),
        scenario_id=_scenario_id(fields.get("scenario_id")) or f"s{position:04d}",
        dimensions={name: plain(value, where=name) for name, value in dimensions.items()},
        template=fields.get("template"),
        question=fields.get("question"),
    )


def _text(value: Any, *, where: str) -> Any:
    """A text as a cell of a table has it, or nothing. The scenario refuses anything else."""
    return plain(value, where=where) if isinstance(value, str) or _is_missing(value) else value


def _is_missing(value: Any) -> bool:
    return value is None or bool(pd.api.types.is_scalar(value) and pd.isna(value))  # None first: it is by far quicker


def _listed(value: Any, field: str) -> Any:
    """A list as a cell of a table has it: in JSON, or nothing. The scenario checks what it holds."""
    text = value.strip() if isinstance(value, str) else None
    if text == "" or _is_missing(value):
        return ()
    if text is None or not (text.startswith("[") and text.endswith("]")):
        return value
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise ValidationError(f"its {field} are in brackets, but are no list in JSON.", field=field) from None


def _scenario_id(value: Any) -> str | None:
    value = plain(value, where="its scenario_id")
    if isinstance(value, float) and value.is_integer():  # a column of integers with missing values
        value = int(value)
    return None if value is None else str(value).strip() or None


def _refuse_repeated_ids(scenarios: list[Scenario]) -> None:
    seen: set[str | None] = set()
    for scenario in scenarios:
        if scenario.scenario_id in seen:
            raise ValidationError(
                f"Two scenarios have the scenario_id {scenario.scenario_id!r}: every one needs its own "
                "(leave them out to have them numbered).",
                field="prompts",
            )
        seen.add(scenario.scenario_id)
