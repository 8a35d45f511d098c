"""Logs for people who never configured logging: one line an event, with its fields."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any, TextIO

from llmkit.errors import ValidationError
from llmkit.records.checks import shapes

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Lines(logging.Formatter):
    """``2026-11-27T09:30:00+0000 INFO llmkit.runs retry run=... model=openai:gpt-6-luna seconds=30.0``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S%z")

    def format(self, record: logging.LogRecord) -> str:
        """The event and its non-empty fields, on one line whatever a text contains."""
        fields = {name: value for name, value in vars(record).items() if name not in _OWN and value is not None}
        return " ".join([super().format(record), *(f"{name}={_value(value)}" for name, value in fields.items())])


def log_to(target: str | os.PathLike[str] | TextIO, level: int | str = "INFO") -> logging.Handler:
    """Write llmkit's log to a file (appended to, readable by you alone) or a stream such as ``sys.stderr``.

    One line an event: a run's start and end, retries, pauses, resumed runs, edits of the catalog, at ``"DEBUG"`` every
    request too; never a key, a prompt or an answer. Calling it again for the same target changes the level.
    ``logging.getLogger("llmkit").removeHandler(...)`` of what it returns ends it.

    Raises:
        ValidationError: no such level, or the file cannot be written.
    """
    number = logging.getLevelNamesMapping().get(level.upper()) if isinstance(level, str) else level
    if not isinstance(number, int):
        raise ValidationError(f"level is one of DEBUG, INFO, WARNING and ERROR, not {level!r}.", field="level")
    root = logging.getLogger("llmkit")
    handler = _existing(root, target) or _new(target)
    handler.setLevel(number)
    root.addHandler(handler)  # adds none twice
    root.setLevel(min(number, root.level or number))
    return handler


def _existing(root: logging.Logger, target: Any) -> logging.Handler | None:
    ours = [handler for handler in root.handlers if isinstance(handler.formatter, Lines)]
    return next((handler for handler in ours if _key(handler) == _key(target)), None)


def _key(target: Any) -> Any:
    """What two targets share when they are the same: the file's path, or the stream itself."""
    if isinstance(target, logging.FileHandler):
        return target.baseFilename
    if isinstance(target, logging.StreamHandler):
        return id(target.stream)
    return id(target) if hasattr(target, "write") else os.path.abspath(shapes.path(target))


def _new(target: Any) -> logging.Handler:
    handler: logging.Handler
    if hasattr(target, "write"):
        handler = logging.StreamHandler(target)
    else:
        path = Path(_key(target))
        with shapes.reaching(path, "written"):
            os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(Lines())
    return handler


def _value(value: Any) -> str:
    text = str(value)
    return text if text.isprintable() and not set(text) & set(' "=') and text else json.dumps(text, ensure_ascii=False)
