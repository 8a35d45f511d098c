"""The journal's vocabulary: one function per event type, each returning a JSON-ready line without its ``id``.

========== ======================================================================================================
type       meaning
========== ======================================================================================================
catalog    an entry of the catalog was written: ``before`` and ``after`` are whole rows, or a balance's amount or delta
scenarios  up to a hundred scenarios of a run about to begin; ``first`` is the number of the first one
run        a run began; carries its settings, and every model with the prices in force
intent     an attempt is about to be sent; carries a hash of its request
text       a piece of a long reply or answer, in lines before its outcome, which says how many there are
outcome    an attempt was answered or failed; carries the raw reply, and the turn when it was answered
answer     an outcome that completed its probe, at the first attempt of its only turn; ``probe`` is the rest of its row
batch      a provider has accepted a batch; the intents of its requests name it
probe      a probe reached a final state
skip       the remaining probes of a provider or a model will not be sent, and why
run_state  a run was resumed, continues or ended; carries what it spent by provider since its previous state
note       somebody marked, commented or coded an answer, or named, tagged or hid a run (at the position ``OF_RUN``);
           without a ``value``, the note of that name is withdrawn
========== ======================================================================================================

A probe is identified by its run and its position in it. ``session`` is the ``number`` of the ``run_state`` that last
resumed the run, 0 at first, so that the order of results does not depend on a clock.
"""

from __future__ import annotations

import codecs
import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple

import orjson

from llmkit.records.rows import dumps
from llmkit.store.lines import SEARCHED, Event, pointer

_PER_LINE = 100
"""Scenarios per line."""
_PIECE = 1 << 14
"""Characters, or bytes of a reply, per line of a long text."""

Entity = Literal["provider", "model", "price", "setting", "balance", "sync"]


def now() -> str:
    """The current time in UTC as ISO 8601, the form used in every event."""
    return datetime.now(UTC).isoformat()


class Change(NamedTuple):
    """A change of a catalog entry from ``before`` to ``after``."""

    action: str
    entity: Entity
    reference: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


def catalog(edit_id: str, actor: str, change: Change) -> Event:
    """An entry of the catalog was written."""
    return {"type": "catalog", "at": now(), "edit_id": edit_id, "actor": actor, **change._asdict()}


def run(*, run_id: str, scenarios: Iterable[Mapping[str, Any]], **fields: Any) -> Iterator[Event]:
    """A run began: every scenario × every model × ``samples`` is a probe, numbered in that order. The last line begins
    the run.

    ``fields``: ``name``, ``kind``, ``simulated``, ``settings``, ``models``, ``samples``, ``estimate``.
    """
    count = 0
    for line in scenario_lines(run_id, scenarios):
        yield line
        count += len(line["scenarios"])
    yield {"type": "run", "run_id": run_id, "n_scenarios": count, **fields, "at": now()}


def scenario_lines(run_id: str, scenarios: Iterable[Mapping[str, Any]]) -> Iterator[Event]:
    """The scenarios of a run, a hundred to a line."""
    rest = iter(scenarios)
    for first in itertools.count(0, _PER_LINE):
        if not (some := list(itertools.islice(rest, _PER_LINE))):
            return
        yield {"type": "scenarios", "run_id": run_id, "first": first, "scenarios": some}


def probe_id(run_id: str, position: int) -> str:
    """The id of the probe at a position of a run."""
    return f"{run_id}.{position:06d}"


OF_RUN = -1
"""The position of a note about the run itself."""
ARCHIVE = "archive"
"""The name of the note that says where a run's texts are once the database has dropped them; never withdrawn."""


def note(*, run_id: str, position: int, name: str, value: Any, actor: str) -> Event:
    """Somebody attached a named note to a probe or to the run."""
    identity = {"run_id": run_id, "position": position, "name": name}
    return {"type": "note", **identity, "value": value, "actor": actor, "at": now()}


def intent(*, run_id: str, position: int, turn: int, attempt: int, body: bytes, **fields: Any) -> Event:
    """An attempt is about to be sent; a hash of the request's ``body``, which is JSON, is kept.

    ``fields``: ``started_at``, ``waited_s``, ``wait_reason``, ``worst_case``; the ``batch`` it is part of, if any; and
    ``dropped``, the parameters left out because the model has rejected them since the run began.
    """
    identity = {"run_id": run_id, "position": position, "turn": turn, "attempt": attempt}
    return {"type": "intent", **identity, "request_hash": body_hash(body), **fields}


def batch(*, run_id: str, batch: str, batch_id: str) -> Event:
    """A provider has accepted a batch, which it calls ``batch_id``."""
    return {"type": "batch", "run_id": run_id, "batch": batch, "batch_id": batch_id, "at": now()}


def body_hash(body: bytes) -> str:
    """A hash of a request's body: 16 bytes in hexadecimal."""
    return hashlib.blake2b(body, digest_size=16).hexdigest()


def outcome(
    *,
    run_id: str,
    position: int,
    turn: int,
    attempt: int,
    reply: bytes | None = None,
    answer: Mapping[str, Any] | None = None,
    probe: Mapping[str, Any] | None = None,
    **fields: Any,
) -> list[Event]:
    """An attempt was answered or failed, with the raw ``reply``. Append all at once.

    ``answer``: the columns of ``turns`` that only an answer has; its ``response`` is stored only if it is not found in
    the reply. ``fields``: the columns of ``attempts`` that only the outcome determines. ``probe``: if this, its only
    attempt, completed the probe, the ``session`` and the columns that do not follow from the outcome.
    """
    identity = {"run_id": run_id, "position": position, "turn": turn, "attempt": attempt}
    response = answer["response"] if answer else None
    at = pointer(reply, response) if reply and response is not None else None
    pieces = {name: _pieces(identity, name, text) for name, text in (("reply", reply), ("response", response))}
    ended = {
        "type": "outcome" if probe is None else "answer",
        **identity,
        "ended_at": now(),
        "reply": None if reply is None or pieces["reply"] else reply.decode("utf-8", "replace"),
        "answer": {**answer, "response": None, "response_at": at} if answer and (at or pieces["response"]) else answer,
        "probe": probe,
        **{f"{name}_pieces": len(lines) or None for name, lines in pieces.items()},
        **fields,
    }
    return [*pieces["reply"], *pieces["response"], ended]


def _pieces(identity: Mapping[str, Any], name: str, text: bytes | str | None) -> list[Event]:
    """A text in pieces if it is long. They are JSON already: as strings, they might take four times the memory."""
    if text is None or len(text) <= SEARCHED:
        return []
    firsts = range(0, len(text), _PIECE)
    if isinstance(text, bytes):
        parts = codecs.iterdecode((text[first : first + _PIECE] for first in firsts), "utf-8", "replace")
    else:
        parts = (text[first : first + _PIECE] for first in firsts)
    return [
        {"type": "text", **identity, "name": name, "piece": piece, "text": orjson.Fragment(dumps(part))}
        for piece, part in enumerate(parts)
    ]


def probe(*, run_id: str, position: int, session: int, **fields: Any) -> Event:
    """A probe reached a final state. ``fields``: the columns of ``probes`` that become final."""
    identity = {"run_id": run_id, "position": position, "session": session}
    return {"type": "probe", **identity, "completed_at": now(), **fields}


def skip(*, run_id: str, session: int, reference: str, code: str, message: str) -> Event:
    """The remaining probes of a provider (by name) or a model (by reference) will not be sent."""
    identity = {"run_id": run_id, "session": session, "reference": reference}
    return {"type": "skip", **identity, "error_code": code, "error_message": message, "at": now()}


def run_state(
    *,
    run_id: str,
    number: int = 1,
    status: str,
    message: str | None = None,
    spent: Mapping[str, Decimal] | None = None,
    deducted: Mapping[str, Decimal] | None = None,
    again: Sequence[str] = (),
    changes: Mapping[str, Any] | None = None,
) -> Event:
    """A run was resumed or ended; ``number`` is one more than that of its previous state. A run that continues may
    repeat its state under the same number to have ``spent`` deducted.

    ``spent`` is what the run has cost so far by provider, of which ``deducted`` was deducted from the balances before.
    Balances rest on the sums, since processes that do not know of each other may write the same difference, as where a
    folder is synchronized; earlier versions have nothing else. ``again`` holds the error codes of failures to retry.
    ``changes`` is what differs from now on: the ``budget``, and by reference the ``models`` whose prices changed.
    """
    so_far, before = spent or {}, deducted or {}
    return {
        "type": "run_state",
        "run_id": run_id,
        "number": number,
        "status": status,
        "message": message,
        "spent": {name: format(amount - before.get(name, 0), "f") for name, amount in so_far.items()},
        "spent_so_far": {name: format(amount, "f") for name, amount in so_far.items()},
        "again": list(again),
        "changes": changes,
        "at": now(),
    }
