"""Tables as files, safe to open in a spreadsheet.

A spreadsheet takes a cell that begins with ``=`` or the like for a formula, and an answer of a model can begin so. Such
text gets an apostrophe in front, in CSV and Excel files, and in CSV wherever a spreadsheet may begin a cell within it.
Numbers are left alone, and Parquet, whose cells have types, holds the text as it is.
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

# https://owasp.org/www-community/attacks/CSV_Injection names these, the full-width forms included
FORMULA_STARTS = tuple("=+-@\t\r\n＝＋－＠")
# where a comma is a decimal point, a semicolon ends a cell, quotes or not; so may a tab, and the end of a line
_BLANKS = "\t\r\n"
_NEW_CELL = re.compile('([;\t\r\n]"*)(?=[=@＝＋－＠]|(?<=[;\t\r"])[+-])')
EXCEL_ROWS, EXCEL_CHARACTERS = 1_048_576, 32_767
"""What one sheet and one cell of Excel can hold."""
_NOT_IN_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")

File = str | os.PathLike[str]


def to_csv(frame: pd.DataFrame, path: File) -> Path:
    """Write a CSV file in UTF-8; lists and dicts become JSON, text that a spreadsheet would run is defused.

    Raises:
        ValidationError: the file cannot be written.
    """
    file = shapes.path(path)
    with shapes.reaching(file, "written"):
        _write_csv(frame, file)
    return file


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """What :func:`to_csv` writes, for a browser to save."""
    sink = io.BytesIO()
    _write_csv(frame, sink)
    return sink.getvalue()


def _write_csv(frame: pd.DataFrame, sink: Path | io.BytesIO) -> None:
    # with these line ends (RFC 4180) the writer also quotes a text that holds a bare \r, which would end its row early
    _harmless(frame, _defused_all).to_csv(sink, index=False, encoding="utf-8", errors="replace", lineterminator="\r\n")


def to_excel(frame: pd.DataFrame, path: File) -> Path:
    """Write an Excel file, with what :func:`to_csv` does; times are UTC without saying so, as Excel has no zones.

    Raises:
        ValidationError: openpyxl is not installed; the name does not end in ``.xlsx``; there are more rows, or longer
            texts, than Excel holds; the file cannot be written.
    """
    file = shapes.path(path)
    if file.suffix.lower() != ".xlsx":
        raise ValidationError(f"The name of an Excel file ends in .xlsx: {file.name}.", field="path")
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
    """Write a Parquet file with the types of the columns; lists, dicts and mixed columns become JSON text.

    Raises:
        ValidationError: the file cannot be written.
    """
    file = shapes.path(path)
    ready = _harmless(frame, lambda text: text)
    for name in ready.columns:
        kinds = {type(value) for value in ready[name]} - {type(None)} if ready[name].dtype == object else set()
        if len(kinds) > 1:
            ready[name] = [value if value is None or isinstance(value, str) else str(value) for value in ready[name]]
    ready.attrs = {}
    with shapes.reaching(file, "written"):
        ready.to_parquet(file, index=False)
    return file


def to_text(text: str, path: File) -> Path:
    """Write a text in UTF-8.

    Raises:
        ValidationError: the file cannot be written.
    """
    file = shapes.path(path)
    with shapes.reaching(file, "written"):
        file.write_text(text, encoding="utf-8", errors="replace")
    return file


def _harmless(frame: pd.DataFrame, text: Callable[[str], str]) -> pd.DataFrame:
    """A copy whose texts went through ``text``, headings too, and whose lists and dicts are JSON."""
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
    first = text[:1].strip(_BLANKS)  # a blank in front is what the apostrophe before it is for
    rest = text if first else text[1:]
    return _defused(text[: len(text) - len(rest)] + _NEW_CELL.sub(r"\1'", rest))


def _excel_text(value: Any, column: str) -> Any:
    if not isinstance(value, str):
        return value
    if len(value) > EXCEL_CHARACTERS:
        raise ValidationError(
            f"A text in the column {column!r} has {len(value):,} characters; a cell of Excel holds "
            f"{EXCEL_CHARACTERS:,}, and nothing is cut off here. Use to_parquet or to_csv.",
            field="path",
        )
    return _NOT_IN_XML.sub("\ufffd", value)
