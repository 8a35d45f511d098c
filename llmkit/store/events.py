"""The journal's vocabulary: one function a type of event, each returning a JSON-ready line without its ``id``.

========== ======================================================================================================
type       meaning
========== ======================================================================================================
catalog    an entry of the catalog was written: ``before`` and ``after`` are whole rows, or a balance's amount or delta
run        a run began; carries its settings, scenarios, and every model with the prices in force
intent     an attempt is about to be sent
outcome    an attempt was answered or failed; carries the raw reply, and the turn when it was answered
probe      a probe reached a final state
skip       what is left of a run for one provider or one model will not be asked, and why
run_state  a run was taken up again or ended; carries what it spent by provider
========== ======================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

from llmkit.store.journal import Event

Entity = Literal["provider", "model", "price", "setting", "balance", "sync"]


def now() -> str:
    """This moment in UTC as ISO 8601, as every event holds it."""
    return datetime.now(UTC).isoformat()


def catalog(
    *,
    edit_id: str,
    actor: str,
    action: str,
    entity: Entity,
    reference: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
) -> Event:
    """An entry of the catalog was written."""
    return {
        "type": "catalog",
        "at": now(),
        "edit_id": edit_id,
        "actor": actor,
        "action": action,
        "entity": entity,
        "reference": reference,
        "before": before,
        "after": after,
    }


def run(
    *,
    run_id: str,
    name: str | None,
    kind: str,
    simulated: bool,
    settings: Mapping[str, Any],
    scenarios: Sequence[Mapping[str, Any]],
    models: Sequence[Mapping[str, Any]],
    samples: int,
    estimate: Mapping[str, Any] | None,
) -> Event:
    """A run began: every scenario × every model × ``samples`` is a probe, numbered in that order."""
    return {
        "type": "run",
        "run_id": run_id,
        "name": name,
        "kind": kind,
        "simulated": simulated,
        "settings": settings,
        "scenarios": scenarios,
        "models": models,
        "samples": samples,
        "estimate": estimate,
        "at": now(),
    }


def probe_id(run_id: str, position: int) -> str:
    """The id of the probe at a place of a run's plan."""
    return f"{run_id}.{position:06d}"


def intent(*, attempt_id: str, run_id: str, **fields: Any) -> Event:
    """An attempt is about to be sent. ``fields``: the columns of ``attempts`` that are known before."""
    return {"type": "intent", "attempt_id": attempt_id, "run_id": run_id, "started_at": now(), **fields}


def outcome(*, attempt_id: str, run_id: str, turn_answered: Mapping[str, Any] | None, **fields: Any) -> Event:
    """An attempt was answered or failed. ``turn_answered``: the columns of ``turns`` that only an answer has."""
    return {
        "type": "outcome",
        "attempt_id": attempt_id,
        "run_id": run_id,
        "ended_at": now(),
        "answer": turn_answered,
        **fields,
    }


def probe(*, probe_id: str, run_id: str, **fields: Any) -> Event:
    """A probe reached a final state. ``fields``: the columns of ``probes`` that this settles."""
    return {"type": "probe", "probe_id": probe_id, "run_id": run_id, "completed_at": now(), **fields}


def skip(*, run_id: str, scope: Literal["provider", "model"], reference: str, code: str, message: str) -> Event:
    """What is left of a run for a provider or a model will not be asked."""
    return {
        "type": "skip",
        "run_id": run_id,
        "scope": scope,
        "reference": reference,
        "error_code": code,
        "error_message": message,
        "at": now(),
    }


def run_state(
    *,
    run_id: str,
    status: str,
    message: str | None = None,
    spent: Mapping[str, Decimal] | None = None,
    again: Sequence[str] = (),
) -> Event:
    """A run was taken up again or ended.

    ``spent`` is deducted from the providers' balances; ``again`` holds the codes of failures that are asked again.
    """
    return {
        "type": "run_state",
        "run_id": run_id,
        "status": status,
        "message": message,
        "spent": {provider: format(amount, "f") for provider, amount in (spent or {}).items()},
        "again": list(again),
        "at": now(),
    }
