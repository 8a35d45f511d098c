"""Read and write scenarios as CSV and YAML files.

The files are meant to be read back, so nothing is altered: a spreadsheet may treat a prompt that begins with ``=`` as a
formula.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping
from io import StringIO
from os import PathLike
from typing import Any

import pandas as pd

from llmkit.errors import ValidationError
from llmkit.records import Scenario
from llmkit.records.checks import shapes, texts
from llmkit.scenarios.carried import ASKED_COLUMNS
from llmkit.scenarios.inputs import Prompts, as_row, as_scenarios, scenarios_to_frame, tabular
from llmkit.scenarios.template import scenarios_from_template

AnyPath = str | PathLike[str]

_WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})")
_DECIMAL = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d{1,3})?")
_TEMPLATE_KEYS = ("template", "dimensions", "system", "followups", "n", "method", "seed", "engine")


def scenarios_from_csv(path: AnyPath, *, sep: str = ",") -> list[Scenario]:
    """Read scenarios from a CSV file (UTF-8) with a header and a column ``prompt``, as ``as_scenarios`` a DataFrame.

    A dimension is read as numbers (or ``True`` and ``False``) if all its cells are, except that numbers with leading
    zeros (``007``) stay text; an empty cell is a missing value. Use ``sep=";"`` for spreadsheets that write it.

    Raises:
        ValidationError: the file cannot be read, or holds no scenarios.
    """
    text = _read(path)
    first = text.partition("\n")[0].strip()
    for other in ",;\t|":
        if other != sep and other in first and "prompt" in (name.strip('"') for name in first.split(other)):
            raise ValidationError(f"The columns of {path} are separated by {other!r}: pass sep={other!r}.", field="sep")
    try:
        # without header and index, pandas refuses rows longer than the first instead of shifting columns
        table = pd.read_csv(
            StringIO(text, newline=""), sep=sep, header=None, dtype=str, keep_default_na=False, na_filter=False
        )
    except ValueError as error:  # raised by pandas for both an invalid table and an invalid ``sep``
        raise ValidationError(
            f"{path} is not a table: {str(error).strip().rstrip('.')}. "
            f"Text that contains {sep!r} needs quotes around it.",
            field="path",
        ) from None
    columns = {}
    for index in table.columns:
        name, *cells = table[index]
        columns[index] = pd.Series(cells if name in ASKED_COLUMNS else _typed(cells), dtype=object)
    return as_scenarios(pd.DataFrame(columns).set_axis(table.iloc[0].tolist(), axis=1))


def scenarios_to_csv(scenarios: Prompts, path: AnyPath) -> None:
    """Write scenarios as a CSV file (UTF-8): the columns of ``scenarios_to_frame``, follow-ups as a JSON list.

    Raises:
        ValidationError: the file cannot be written, there are no scenarios, or one has a typed question.
    """
    file = shapes.path(path)
    frame = scenarios_to_frame(scenarios)
    for name in frame.columns.intersection(["followups", "messages"]):
        frame[name] = [json.dumps(each, ensure_ascii=False) if each else "" for each in frame[name]]
    # quote everything: pandas does not quote a lone carriage return, and would read it as the end of a row
    with shapes.reaching(file, "written"):
        frame.to_csv(file, index=False, encoding="utf-8", lineterminator="\n", quoting=csv.QUOTE_ALL)


def scenarios_from_yaml(path: AnyPath) -> list[Scenario]:
    """Read scenarios from a YAML file: a list of prompts, or of mappings with the keys of ``scenarios_to_frame``.

    Raises:
        ValidationError: the file cannot be read, or holds no scenarios.
    """
    rows = _load_yaml(path)
    if not isinstance(rows, list):
        raise ValidationError(
            f"{path} must hold a list of prompts or scenarios, one '- prompt: ...' each.", field="path"
        )
    return as_scenarios(rows)


def scenarios_to_yaml(scenarios: Prompts, path: AnyPath) -> None:
    """Write scenarios as a YAML file: a list of mappings without empty keys.

    Raises:
        ValidationError: the file cannot be written, there are no scenarios, or one has a typed question.
    """
    file = shapes.path(path)
    rows = [
        {name: value for name, value in as_row(scenario).items() if value or name in scenario.dimensions}
        for scenario in tabular(scenarios)
    ]
    import yaml  # imported only when YAML is used

    with shapes.reaching(file, "written"):
        file.write_text(yaml.safe_dump(rows, allow_unicode=True, sort_keys=False), encoding="utf-8", newline="\n")


def template_from_yaml(path: AnyPath) -> list[Scenario]:
    """Read a template with its dimensions from a YAML file, and make the scenarios.

    Its keys are the arguments of :func:`scenarios_from_template`: ``template`` and ``dimensions``, and any of
    ``system``, ``followups``, ``n``, ``method``, ``seed``, ``engine``. In YAML, a text that begins with a bracket needs
    quotes around it (or ``|`` before it).

    Raises:
        ValidationError: the file cannot be read, has unknown keys, or the template's own errors.
    """
    arguments = _load_yaml(path)
    if not isinstance(arguments, Mapping) or not {"template", "dimensions"} <= arguments.keys():
        raise ValidationError(f"{path} must have the keys 'template' and 'dimensions'.", field="path")
    texts.known_names(arguments, _TEMPLATE_KEYS, str(path), "path")
    return scenarios_from_template(**arguments)


def _read(path: AnyPath) -> str:
    file = shapes.path(path)
    try:
        with shapes.reaching(file, "read"):
            return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValidationError(f"{path} is not in UTF-8: save it again with that encoding.", field="path") from None


def _load_yaml(path: AnyPath) -> Any:
    import yaml  # imported only when YAML is used

    from llmkit.scenarios.yaml_loader import BoundedLoader

    try:
        return yaml.load(_read(path), Loader=BoundedLoader)
    except (yaml.YAMLError, ValueError) as error:  # a malformed date or number
        raise ValidationError(f"{path} is not valid YAML: {error}", field="path") from None


def _typed(cells: list[str]) -> list[Any]:
    """Convert cells to numbers or booleans if all of them are; empty ones become ``None``."""
    filled = [cell for cell in cells if cell]
    convert: Any = str
    if filled and all(map(_WHOLE.fullmatch, filled)):
        convert = int
    elif filled and all(map(_DECIMAL.fullmatch, filled)):
        convert = float
    elif filled and set(filled) <= {"True", "False"}:
        convert = "True".__eq__
    return [convert(cell) if cell else None for cell in cells]
