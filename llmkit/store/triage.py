"""What is done with each line: it changes the catalog, tells of a run, or is set aside."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import duckdb

from llmkit.store import apply_runs, format_1
from llmkit.store.apply_runs import RunLine
from llmkit.store.lines import Event, dumps, loads, verified
from llmkit.store.segments import Segment, segment


class Line(NamedTuple):
    """A line of a segment and where it stands."""

    segment: str
    offset: int
    data: bytes


@dataclass(slots=True)
class Sorted:
    """The lines of a batch by what is done with them."""

    catalog: list[Event] = field(default_factory=list)
    runs: list[RunLine] = field(default_factory=list)
    aside: list[tuple[Line, str]] = field(default_factory=list)
    last: dict[str, str] = field(default_factory=dict)
    next_seq: dict[str, int] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


def sort(connection: duckdb.DuckDBPyConnection, lines: Sequence[Line]) -> Sorted:
    """Look at lines, which may be of several segments."""
    found = Sorted(next_seq=_next_seqs(connection, {each.segment for each in lines}))
    counted: dict[str, format_1.Counted] | None = None
    for each in lines:
        which = segment(each.segment)
        if which.about:
            _take(found, which, each)
        elif each.data:
            counted = _counted(connection) if counted is None else counted
            _take_old(found, each, counted)
    return found


def _take(found: Sorted, which: Segment, each: Line) -> None:
    seen, name = verified(each.data), each.segment
    expected = found.next_seq.get(name, 0)
    if seen is None:
        found.aside.append((each, "damaged"))
        found.next_seq[name] = expected + 1
        return
    event_id, kind, seq = seen
    if seq != expected:
        found.aside.append((each, f"line {seq} stands where line {expected} should"))
    found.next_seq[name] = seq + 1
    found.last[name] = max(event_id, found.last.get(name, ""))
    _place(found, which, each, event_id, kind)


def known_now(line: Line) -> Sorted | None:
    """What is done with a line that an earlier version, or this one, had set aside; ``None``: it stays there."""
    seen, found = verified(line.data), Sorted()
    if seen is not None:
        _place(found, segment(line.segment), line, *seen[:2])
    return None if found.aside or seen is None else found


def _place(found: Sorted, which: Segment, each: Line, event_id: str, kind: str) -> None:
    if kind == "segment":
        found.headers[each.segment] = each.data.decode()
    elif kind == "catalog":
        found.catalog.append(loads(each.data))
    elif kind in apply_runs.TYPES:
        found.runs.append(RunLine(which.about, event_id, kind, each.data))
    else:
        found.aside.append((each, f"type {kind} is not known to this version"))


def _take_old(found: Sorted, each: Line, counted: dict[str, format_1.Counted]) -> None:
    try:
        event = loads(each.data)
    except ValueError:
        found.aside.append((each, "damaged"))
        return
    found.last[each.segment] = max(event["id"], found.last.get(each.segment, ""))
    if event["type"] == "catalog":
        found.catalog.append(event)
    elif event["type"] in apply_runs.TYPES:
        modern = format_1.modern(event, counted)
        found.runs.extend(RunLine(event["run_id"], event["id"], now["type"], dumps(now)) for now in modern)
    else:
        found.aside.append((each, f"type {event['type']} is not known to this version"))


def _next_seqs(connection: duckdb.DuckDBPyConnection, names: Collection[str]) -> dict[str, int]:
    rows = connection.execute("SELECT segment, next_seq FROM journal_segments WHERE next_seq IS NOT NULL").fetchall()
    return {name: seq for name, seq in rows if name in names}


def _counted(connection: duckdb.DuckDBPyConnection) -> dict[str, format_1.Counted]:
    rows = connection.execute(
        "SELECT run_id, max(number), coalesce(max(number) FILTER (status = 'running'), 0) FROM run_states GROUP BY ALL"
    ).fetchall()
    return {run_id: format_1.Counted(states, session) for run_id, states, session in rows}
