"""Logs for people who have not configured logging: one line per event, with its fields."""

from __future__ import annotations

import json
import logging
import os
from typing import Any, TextIO

from llmkit.errors import ValidationError
from llmkit.records.checks import shapes

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Lines(logging.Formatter):
    """``2026-11-27T09:30:00+0000 INFO llmkit.runs retry run=... model=openai:gpt-6-luna seconds=30.0``."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s", "%Y-%m-%dT%H:%M:%S%z")

    def format(self, record: logging.LogRecord) -> str:
        """The event and its fields that are set, on one line whatever they contain."""
        fields = {name: value for name, value in vars(record).items() if name not in _OWN and value is not None}
        return " ".join([super().format(record), *(f"{name}={_value(value)}" for name, value in fields.items())])


def log_to(path_or_stream: str | os.PathLike[str] | TextIO, level: int | str = "INFO") -> logging.Handler:
    """Write llmkit's log to a file (appended to, readable only by you) or a stream such as ``sys.stderr``.

    One line per event: a run's start and end, retries, pauses, resumed runs, edits of the catalog, at ``"DEBUG"`` also
    every request; never a key, a prompt or an answer. Another call replaces target and level. To stop, pass the
    returned handler to ``logging.getLogger("llmkit").removeHandler(...)``.

    Raises:
        ValidationError: the level does not exist, or the file cannot be written.
    """
    number = logging.getLevelNamesMapping().get(level.upper()) if isinstance(level, str) else level
    if not isinstance(number, int):
        raise ValidationError(f"level is one of DEBUG, INFO, WARNING and ERROR, not {level!r}.", field="level")
    root, handler = logging.getLogger("llmkit"), _new(path_or_stream)
    handler.setLevel(number)
    for earlier in [each for each in root.handlers if isinstance(each.formatter, Lines)]:
        root.removeHandler(earlier)
        earlier.close()
    root.addHandler(handler)
    root.setLevel(min(number, root.level or number))
    return handler


def _new(target: Any) -> logging.Handler:
    handler: logging.Handler
    if hasattr(target, "write"):
        handler = logging.StreamHandler(target)
    else:
        path = shapes.path(target)
        with shapes.reaching(path, "written"):
            os.close(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(Lines())
    return handler


def _value(value: Any) -> str:
    text = str(value)
    return text if text.isprintable() and not set(text) & set(' "=') and text else json.dumps(text, ensure_ascii=False)
