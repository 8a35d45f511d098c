"""The conversations that a run begins or resumes with: stored answers and attempts are counted as when they arrived."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from typing import Any

from llmkit.errors import Code
from llmkit.money import pricing
from llmkit.records import MAYBE_BILLED, Completion, Failure, Usage
from llmkit.runs.conversation import Conversation, passes
from llmkit.runs.plan import Plan
from llmkit.runs.remote import Kept, LateAnswer, Place
from llmkit.runs.reuse import Reused
from llmkit.runs.spec import RunSpec
from llmkit.store import Event, events
from llmkit.store.bought import stored_completion

Row = Mapping[str, Any]


def reused_conversations(
    run_id: str, plan: Plan, reused: Reused, check: Callable[[str], Any] | None
) -> Iterator[Conversation]:
    """Each conversation that begins with reused answers, as far as they go; ended if they are complete."""
    for position, answers in reused.answers.items():
        conversation = Conversation.of(run_id, plan, position)
        for answer in answers:
            conversation.reuse(answer.completion, answer.source, answer.cost, answer.latency_s)
        if conversation.finished:
            conversation.end(None, refused=False, check=plan.check_of(position, check))
        yield conversation


def conversations(
    spec: RunSpec, run_id: str, rows: Iterable[Row], late: Collection[int] = ()
) -> dict[int, Conversation]:
    """The open probes of a run that were begun, by position, with their progress so far; ``rows`` are those of
    ``queries.open_attempts``.

    The last attempt at each position in ``late`` is not counted yet: its reply arrived while the run was dead.
    """
    return {
        position: _replayed(spec, run_id, position, [*attempts][: -1 if position in late else None])
        for position, attempts in groupby(rows, key=lambda row: row["position"])
    }


def _replayed(spec: RunSpec, run_id: str, position: int, attempts: Iterable[Row]) -> Conversation:
    conversation = Conversation.of(run_id, spec.plan, position)
    model = conversation.probe.model
    fallback = pricing.default_rates(spec.providers[model.provider])
    for row in attempts:
        if row["attempt"] == 0:
            source, cost = row["reused_from"], row["original_cost"]
            conversation.reuse(stored_completion(row), source, cost, row["latency_s"] or 0.0)
            continue
        conversation.begin_attempt(row["started_at"], row["waited_s"] or 0.0)
        result = _result(row)
        cost = pricing.cost(
            result.usage, model.full_price, row["started_at"], tier=row["service_tier"], fallback=fallback
        )
        if row["cost_source"] is not None:  # at the prices of that time, not today's
            cost = replace(cost, amount=row["cost"], source=row["cost_source"])
        conversation.add(result, cost, row["latency_s"] or 0.0)
        if isinstance(result, Completion) and not _counts(spec, conversation, row):
            conversation.discard_answer(cost)
    return conversation


def _result(row: Row) -> Completion | Failure:
    if row["error_code"] is None:
        return stored_completion(row)
    return Failure(
        code=Code(row["error_code"]),
        message="",
        usage=Usage.from_row(row["usage"]) if row["usage"] else None,
        maybe_billed=bool(row["maybe_billed"]),
        service_tier=row["service_tier"],
    )


def _counts(spec: RunSpec, conversation: Conversation, row: Row) -> bool:
    """Whether an answer stays: it was not requested again later, and it passes its check."""
    if row["response"] is None:
        return False
    check = spec.plan.check_of(conversation.probe.position, spec.check_answer)
    return not conversation.finished or passes(row["response"], check)


def late_answers(run_id: str, rows: Iterable[Row], kept: Mapping[Place, Kept]) -> dict[int, LateAnswer]:
    """The ``kept`` replies to attempts without an outcome, by position; ``rows`` as for :func:`conversations`."""
    return {
        row["position"]: LateAnswer(row["started_at"], row["waited_s"] or 0.0, kept[place])
        for row in rows
        if (place := Place.of(run_id, row)) in kept
    }


def lost_outcome(run_id: str, row: Row) -> list[Event]:
    """The outcome of an attempt whose process died before it could write one."""
    maybe = row["worst_case"] != 0
    return events.outcome(
        run_id=run_id,
        **{name: row[name] for name in ("position", "turn", "attempt")},
        error_code=Code.UNKNOWN,
        error_message=f"The process ended while this request was in flight{MAYBE_BILLED if maybe else ''}.",
        maybe_billed=maybe,
    )
