"""Rebuild the requests of a run as sent, from its plan and its answers: the journal keeps only a hash of each."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from llmkit.records import Provider
from llmkit.runs.plan import Plan
from llmkit.runs.targets import Target
from llmkit.store import events


def request_texts(
    plan: Plan,
    providers: Mapping[str, Provider],
    attempts: Iterable[Mapping[str, Any]],
    answers: Iterable[tuple[int, str]],
) -> list[str | None]:
    """The body of each attempt's request as JSON text; ``None`` where this version would send something else.

    ``attempts``: request (stored by an earlier version), position, turn, dropped, batch, request_hash. ``answers``
    are pairs of a probe's position and an answer, in the order of turns.
    """
    said: defaultdict[int, list[str]] = defaultdict(list)
    for position, answer in answers:
        said[position].append(answer)
    models = {model.reference: model for model in plan.models}

    @lru_cache
    def target(reference: str, dropped: tuple[str, ...]) -> Target:
        model = models[reference]
        made = Target.of(model, providers[model.provider])
        for name in dropped:
            made = made.without(name)
        return made

    def text(row: Mapping[str, Any]) -> str | None:
        if isinstance(row["request"], str) or not isinstance(row["request_hash"], bytes):
            return row["request"] or None
        if row["position"] >= len(plan):
            return None  # its scenario was in a damaged line of the journal
        probe = plan.probe(row["position"])
        if probe.model.provider not in providers:
            return None  # so was its provider
        asked = target(probe.model.reference, tuple(row["dropped"] or ()))
        earlier = said[probe.position][: row["turn"] - 1]
        call = plan.call(probe, earlier, asked.model, in_batches=isinstance(row["batch"], str))
        request = asked.wire.build(call)
        is_same = events.body_hash(request.question_json) == row["request_hash"].hex()
        return json.dumps(request.body, ensure_ascii=False) if is_same else None

    return [text(row) for row in attempts]
