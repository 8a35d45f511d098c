"""Tables as files, safe to open in a spreadsheet.


A spreadsheet treats a cell starting with ``=`` or the like as a formula, and a model's answer may start that way. Such
text gets a leading apostrophe in CSV and Excel files, and in CSV also wherever a spreadsheet might split it into cells.
Numbers are unchanged, and Parquet, whose columns are typed, keeps the text as it is.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from llmkit.errors import ValidationError
from llmkit.records.checks import shapes

# listed by https://owasp.org/www-community/attacks/CSV_Injection, full-width forms included
FORMULA_STARTS = tuple("=+-@\t\r\n＝＋－＠")
# with decimal commas, a semicolon ends a cell, quoted or not; so may a tab or a line end
_BLANKS = "\t\r\n"
_NEW_CELL = re.compile('([;\t\r\n]"*)(?=[=@＝＋－＠]|(?<=[;\t\r"])[+-])')
EXCEL_ROWS, EXCEL_CHARACTERS = 1_048_576, 32_767
"""The most rows in an Excel sheet, and characters in a cell."""
_NOT_IN_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")

File = str | os.PathLike[str]


def to_csv(frame: pd.DataFrame, path: File) -> Path:
    """Write a CSV file in UTF-8; lists and dicts become JSON, and text that a spreadsheet would execute is defused."""
    file = shapes.path(path)
    with shapes.reaching(file, "written"):
        _write_csv(frame, file)
    return file


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """The bytes that :func:`to_csv` writes, for a browser to save."""
    sink = io.BytesIO()
    _write_csv(frame, sink)
    return sink.getvalue()


def _write_csv(frame: pd.DataFrame, sink: Path | io.BytesIO) -> None:
    # with these line ends (RFC 4180) the writer also quotes text with a bare \r, which would otherwise end its row
    _harmless(frame, _defused_all).to_csv(sink, index=False, encoding="utf-8", errors="replace", lineterminator="\r\n")


def to_excel(frame: pd.DataFrame, path: File) -> Path:
    """Write an Excel file, converted as in :func:`to_csv`; times are in UTC without a zone: Excel cannot store one."""
    file = shapes.path(path)
    if file.suffix.lower() != ".xlsx":
        raise ValidationError(f"The name of an Excel file must end in .xlsx, unlike {file.name}.", field="path")
    if len(frame) >= EXCEL_ROWS:
        raise ValidationError(
            f"Excel holds {EXCEL_ROWS - 1:,} rows, and there are {len(frame):,}: use to_parquet or to_csv.",
            field="path",
        )
    if find_spec("openpyxl") is None:
        raise ValidationError("Excel files need the package openpyxl: pip install 'llmkit[excel]'.", field="path")
    ready = _harmless(frame, _defused)
    for name in ready.columns:
        if isinstance(ready[name].dtype, pd.DatetimeTZDtype):
            ready[name] = ready[name].dt.tz_convert("UTC").dt.tz_localize(None)
        elif ready[name].dtype == object:
            ready[name] = [_excel_text(value, str(name)) for value in ready[name]]
    with shapes.reaching(file, "written"):
        ready.to_excel(file, index=False, engine="openpyxl")
    return file


def to_parquet(frame: pd.DataFrame, path: File) -> Path:
    """Write a Parquet file with the types of the columns; lists, dicts and mixed columns become JSON text."""
    file = shapes.path(path)
    ready = _harmless(frame, lambda text: text)
    for name in ready.columns:
        kinds = {type(value) for value in ready[name]} - {type(None)} if ready[name].dtype == object else set()
        if len(kinds) > 1 or int in kinds:  # whole numbers are objects where they do not fit in 64 bits
            ready[name] = [value if value is None or isinstance(value, str) else str(value) for value in ready[name]]
    ready.attrs = {}
    with shapes.reaching(file, "written"):
        ready.to_parquet(file, index=False)
    return file


def to_text(text: str, path: File) -> Path:
    """Write a text in UTF-8."""
    file = shapes.path(path)
    with shapes.reaching(file, "written"):
        file.write_text(text, encoding="utf-8", errors="replace")
    return file


def _harmless(frame: pd.DataFrame, text: Callable[[str], str]) -> pd.DataFrame:
    """Return a copy with ``text`` applied to all texts and headings, and lists and dicts as JSON."""
    columns = {
        text(str(name)): column
        if column.dtype != object and not isinstance(column.dtype, pd.StringDtype)
        else pd.Series([_cell(value, text) for value in column], dtype=object, index=frame.index)
        for name, column in frame.items()
    }
    return pd.DataFrame(columns, index=frame.index)


def _cell(value: Any, text: Callable[[str], str]) -> Any:
    if isinstance(value, list | dict | tuple):
        value = json.dumps(value, ensure_ascii=False)
    if isinstance(value, str):
        return text(value)
    return None if value is pd.NA or value != value else value


def _defused(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _defused_all(text: str) -> str:
    first = text[:1].strip(_BLANKS)  # empty if it is a blank, which the apostrophe in front already covers
    rest = text if first else text[1:]
    return _defused(text[: len(text) - len(rest)] + _NEW_CELL.sub(r"\1'", rest))


def _excel_text(value: Any, column: str) -> Any:
    if not isinstance(value, str):
        return value
    if len(value) > EXCEL_CHARACTERS:
        raise ValidationError(
            f"A text in the column {column!r} has {len(value):,} characters; a cell of Excel holds "
            f"{EXCEL_CHARACTERS:,}, and llmkit does not truncate. Use to_parquet or to_csv.",
            field="path",
        )
    return _NOT_IN_XML.sub("\ufffd", value)
