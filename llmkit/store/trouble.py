"""What a DuckDB error is about: another holder, a damaged file, or the system.

Never decided by words that a path or a query could contain.
"""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path
from typing import Any

import duckdb

from llmkit.errors import LlmkitError
from llmkit.store.tables import quoted

CONFIG: dict[str, Any] = {"errors_as_json": True}
"""Settings of a connection that make its errors distinguishable: they carry their type and the system's errno."""

_HEADER = slice(8, 12)
_MAGIC = b"DUCK"
_DENIED = (
    "If it is another user's: a catalog is its owner's alone. Open one of your own with llmkit.open(path), and share "
    "runs by team=... or kit.export_capsule(run, path)"
)
_PID = re.compile(r"\(PID (\d+)\)")
_SUSPECT = duckdb.IOException | duckdb.InternalException | duckdb.FatalException | duckdb.SerializationException


class OutOfReach(LlmkitError):
    """The system does not let the database be opened, locked or written; the file itself may be fine."""


def reason(error: OSError) -> str:
    """What the system says, and, where it denies access, what those do who share a folder."""
    said = error.strerror or str(error)
    return f"{said}. {_DENIED}" if isinstance(error, PermissionError) else said


def is_held(error: duckdb.Error) -> bool:
    """Whether another connection holds the file, in this process or in another."""
    here = isinstance(error, duckdb.ResourceInUseException | duckdb.ConnectionException)
    return here or _errno(error) == errno.EAGAIN or holder(error) is not None


def holder(error: duckdb.Error) -> int | None:
    """The process that holds the file, if it is another one and the system tells."""
    found = _PID.search(words(error))
    return None if found is None else int(found[1])


def is_damage(error: duckdb.Error, path: Path) -> bool:
    """Whether an error comes from a broken file rather than from the system or the query."""
    return _is_corruption(error) or (_is_suspect(error) and is_broken(path))


def is_broken(path: Path) -> bool:
    """Whether a database's header or any of its rows cannot be read. Reads all of them."""
    try:
        with open(path, "rb") as file:
            if file.read(_HEADER.stop)[_HEADER] != _MAGIC:
                return True
        with duckdb.connect(path, read_only=True, config={**CONFIG, "enable_external_access": False}) as connection:
            for place in connection.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall():
                connection.execute(f"SELECT count(COLUMNS(*)) FROM {'.'.join(map(quoted, place))}").fetchall()
    except OSError:
        return False
    except duckdb.Error as error:
        return _is_corruption(error) or _is_suspect(error)
    return False


def words(error: duckdb.Error) -> str:
    """DuckDB's message, in one line."""
    number = _errno(error)
    text = str(_told(error).get("exception_message") or error)
    return text.splitlines()[0] if number is None or os.strerror(number) in text else f"{text}: {os.strerror(number)}"


def _is_corruption(error: duckdb.Error) -> bool:
    return type(error) is duckdb.Error  # DuckDB's "Data Corruption" is the only one without its own class


def _is_suspect(error: duckdb.Error) -> bool:
    """Whether an error may come from a broken file: the system reports no errno for it."""
    return isinstance(error, _SUSPECT) and _errno(error) is None


def _errno(error: duckdb.Error) -> int | None:
    number = _told(error).get("errno")
    return None if number is None else int(number)


def _told(error: duckdb.Error) -> dict[str, Any]:
    """An error's fields if it is JSON (:data:`CONFIG`), else none."""
    start = str(error).find("{")
    try:
        told = json.loads(str(error)[start:]) if start >= 0 else {}
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}
