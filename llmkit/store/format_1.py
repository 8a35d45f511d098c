"""Convert runs in the first format of the journal to the current one."""

from __future__ import annotations

import json
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass

from llmkit.records.rows import dumps
from llmkit.store import events
from llmkit.store.lines import Event


@dataclass(slots=True)
class Counted:
    """How many states a run has had, and which of them began its current session."""

    states: int = 0
    session: int = 0


def modern(event: Event, runs: MutableMapping[str, Counted]) -> Iterator[Event]:
    """The event in its current form. ``runs`` counts the states so far, and is updated."""
    run_id, kind = event["run_id"], event["type"]
    counted = runs.setdefault(run_id, Counted())
    if kind == "run":
        for each in events.scenario_lines(run_id, event["scenarios"]):
            yield {**each, "id": event["id"]}
        yield {**event, "scenarios": None, "n_scenarios": len(event["scenarios"])}
    elif kind in ("intent", "outcome"):
        request = event.get("request")
        yield {
            **event,
            "position": _position(event),
            "request": None if request is None else json.dumps(request, ensure_ascii=False),
            "request_hash": None if request is None else events.body_hash(dumps(request)),
        }
    elif kind == "probe":
        yield {**event, "position": _position(event), "session": counted.session}
    elif kind == "skip":
        yield {**event, "session": counted.session}
    elif kind == "run_state":
        counted.states += 1
        if event["status"] == "running":
            counted.session = counted.states
        yield {**event, "number": counted.states}


def _position(event: Event) -> int:
    return int(event["probe_id"].rpartition(".")[2])
