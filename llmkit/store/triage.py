"""Sort lines: each changes the catalog, belongs to a run, or is set aside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import duckdb

from llmkit.records.rows import dumps
from llmkit.store import apply_runs, format_1
from llmkit.store.journal import Block
from llmkit.store.lines import Event, loads, verified
from llmkit.store.run_lines import RunLines
from llmkit.store.segments import Segment, segment


class Aside(NamedTuple):
    """A row of the table ``journal_quarantine``."""

    segment: str
    offset: int
    reason: str
    line: bytes


@dataclass(slots=True)
class Sorted:
    """The lines of a batch, by what is done with them."""

    catalog: list[Event] = field(default_factory=list)
    runs: dict[str, RunLines] = field(default_factory=lambda: defaultdict(RunLines))
    aside: list[Aside] = field(default_factory=list)
    last: dict[str, str] = field(default_factory=dict)
    next_seq: dict[str, int] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


def sort(connection: duckdb.DuckDBPyConnection, blocks: Sequence[Block]) -> Sorted:
    """Sort lines, which may come from several segments."""
    names = {block.segment.name for block in blocks}
    seqs = connection.execute("SELECT segment, next_seq FROM journal_segments WHERE next_seq IS NOT NULL").fetchall()
    lines = Sorted(next_seq={name: seq for name, seq in seqs if name in names})
    counted: dict[str, format_1.Counted] | None = None
    for block in blocks:
        if block.segment.about:
            _take(lines, block)
        else:
            counted = _counted(connection) if counted is None else counted
            _take_old(lines, block, counted)
    return lines


def _take(lines: Sorted, block: Block) -> None:
    (name, _), offset = block.segment, block.start
    expected, last = lines.next_seq.get(name, 0), lines.last.get(name, "")
    for data in block.lines:
        reason: str | None = "damaged"
        if (seen := verified(data)) is None:
            expected += 1
        else:
            event_id, kind, seq = seen
            if seq != expected:
                lines.aside.append(Aside(name, offset, f"line {seq} stands where line {expected} should", data))
            expected, last = seq + 1, max(event_id, last)
            reason = _place(lines, block.segment, event_id, kind, data)
        if reason is not None:
            lines.aside.append(Aside(name, offset, reason, data))
        offset += len(data) + 1
    lines.next_seq[name], lines.last[name] = expected, last


def known_now(name: str, data: bytes) -> Sorted | None:
    """Sort a line that this or an earlier version set aside; ``None`` if it stays set aside."""
    seen, lines = verified(data), Sorted()
    if seen is None or _place(lines, segment(name), *seen[:2], data) is not None:
        return None
    return lines


def _place(lines: Sorted, which: Segment, event_id: str, kind: str, data: bytes) -> str | None:
    """Put a line where it belongs; if it belongs nowhere, return why it is set aside."""
    if kind in apply_runs.TYPES:
        lines.runs[kind].add(which.about, event_id, data)
    elif kind == "catalog":
        lines.catalog.append(loads(data))
    elif kind == "segment":
        lines.headers[which.name] = data.decode()
    else:
        return f"type {kind} is not known to this version"
    return None


def _take_old(lines: Sorted, block: Block, counted: dict[str, format_1.Counted]) -> None:
    name = block.segment.name
    for _, [data], offset, _ in block.singly():
        try:
            event = loads(data)
        except ValueError:
            if data:
                lines.aside.append(Aside(name, offset, "damaged", data))
            continue
        lines.last[name] = max(event["id"], lines.last.get(name, ""))
        if event["type"] == "catalog":
            lines.catalog.append(event)
        elif event["type"] in apply_runs.TYPES:
            for now in format_1.modern(event, counted):
                lines.runs[now["type"]].add(event["run_id"], event["id"], dumps(now))
        else:
            lines.aside.append(Aside(name, offset, f"type {event['type']} is not known to this version", data))


def _counted(connection: duckdb.DuckDBPyConnection) -> dict[str, format_1.Counted]:
    rows = connection.execute(
        "SELECT run_id, max(number), coalesce(max(number) FILTER (status = 'running'), 0) FROM run_states GROUP BY ALL"
    ).fetchall()
    return {run_id: format_1.Counted(states, session) for run_id, states, session in rows}
