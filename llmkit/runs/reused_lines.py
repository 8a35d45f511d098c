"""Reused answers in a new run: the conversations that begin with them, and their journal lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from llmkit.runs.conversation import Conversation
from llmkit.runs.plan import Plan
from llmkit.runs.reuse import Reused
from llmkit.store import Event, events


def replayed(run_id: str, plan: Plan, reused: Reused, check: Callable[[str], Any] | None) -> Iterator[Conversation]:
    """Each conversation that begins with reused answers, as far as they go; ended if they are complete."""
    for position, answers in reused.answers.items():
        conversation = Conversation.of(run_id, plan, position)
        for answer in answers:
            conversation.reuse(answer.completion, answer.source, answer.cost, answer.latency_s)
        if conversation.finished:
            conversation.end(None, refused=False, check=plan.check_of(position, check))
        yield conversation


def lines(run_id: str, reused: Reused, conversations: Iterable[Conversation]) -> Iterator[Event]:
    """The journal lines of reused answers: each as the outcome of an attempt 0, and the rows of finished probes."""
    for conversation in conversations:
        position = conversation.probe.position
        for turn, answer in enumerate(reused.answers[position], start=1):
            completion = answer.completion
            yield from events.outcome(
                run_id=run_id,
                position=position,
                turn=turn,
                attempt=0,
                ended_at=answer.answered_at,
                latency_s=answer.latency_s,
                maybe_billed=False,
                service_tier=completion.service_tier,
                usage=completion.usage.to_row() if completion.usage else None,
                cost="0",
                cost_source="reused",
                reused_from=answer.source,
                original_cost=None if answer.cost is None else format(answer.cost, "f"),
                answer={
                    "response": completion.text,
                    "finish_reason": completion.finish_reason,
                    "model_version": completion.model_version,
                },
            )
        if conversation.status is not None:
            yield events.probe(run_id=run_id, position=position, session=0, **conversation.row())
