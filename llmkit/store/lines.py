"""A line of the journal: JSON that any tool can read, with a checksum as its last member.

``{"id":"…","type":"…","seq":n, …,"crc":"xxxxxxxx"}``: ``id`` is unique and ordered by time, ``seq`` counts the lines of
its segment from 0, and ``crc`` is the CRC-32 of everything before ``,"crc"``. Lines of earlier versions have their
``id`` at the end, and neither ``seq`` nor ``crc``.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

import orjson

from llmkit.records.rows import dumps

Event = dict[str, Any]
"""One line: ``id``, ``type``, and the type's own fields (see :mod:`llmkit.store.events`)."""

_HEAD = re.compile(rb'\{"id":"([0-9a-f]{16}-[0-9a-f]+)","type":"(\w+)","seq":(\d+)')
_TAIL = b',"crc":"%08x"}'
_OLD_ID = re.compile(rb'"id":"([0-9a-f]{16}-[0-9a-f]+)"\}$')
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_LONE = re.compile(rb"(?<!\\)(?:\\\\)*\\ud[89a-f]", re.I)  # searching for this alone takes fifty times as long

SEARCHED = 1 << 20
"""The most bytes of a document that is searched for a text."""


def line(event: Mapping[str, Any], seq: int) -> bytes:
    """An event as a complete line, without values that are ``None`` and without its run, which the segment names."""
    head = {"id": event["id"], "type": event["type"], "seq": seq}
    rest = {name: value for name, value in event.items() if value is not None and name != "run_id"}
    body = dumps({**head, **rest})[:-1]
    return body + _TAIL % zlib.crc32(body) + b"\n"


def verified(data: bytes) -> tuple[str, str, int] | None:
    """The id, type and sequence number of a line whose checksum matches; ``None`` if it is damaged."""
    head = _HEAD.match(data)
    if head is None or not data.endswith(_TAIL % zlib.crc32(memoryview(data)[: -len(_TAIL % 0)])):
        return None
    return head[1].decode(), head[2].decode(), int(head[3])


def id_of(data: bytes) -> str | None:
    """The id of a line of either format, damaged or not; ``None`` when it cannot be found."""
    match = _HEAD.match(data) or _OLD_ID.search(data, max(0, len(data) - 60))
    return None if match is None else match[1].decode()


def loads(data: bytes) -> Event:
    """The event of a line.

    Raises:
        ValueError: the line is not an event.
    """
    event = json.loads(data)
    if not isinstance(event, dict) or not isinstance(event.get("id"), str) or not isinstance(event.get("type"), str):
        raise ValueError("not an event")
    return event


def for_duckdb(data: bytes) -> bytes:
    """The line as DuckDB accepts it: with question marks for lone surrogates, which it rejects."""
    if _SURROGATE.search(data) is None or _LONE.search(data) is None:
        return data
    return json.dumps(json.loads(data), ensure_ascii=False).encode("utf-8", "replace")


def pointer(document: bytes, text: str) -> str | None:
    """The JSON pointer to a text in a document; ``None`` if it is not there verbatim, or the document is so long that
    parsing it again would block others.
    """
    if len(document) > SEARCHED:
        return None
    try:
        return _find(orjson.loads(document), text, "")
    except (ValueError, RecursionError):
        return None


def _find(value: Any, text: str, place: str) -> str | None:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        pointer = f"{place}/{key}" if child == text else None
        if pointer is None and isinstance(child, dict | list):
            pointer = _find(child, text, f"{place}/{key}")
        if pointer is not None and (isinstance(key, int) or key.isidentifier()):
            return pointer
    return None
