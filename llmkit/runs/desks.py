"""The batch desks of a run: one per model that runs in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from llmkit.runs.batch_desk import BatchDesk
from llmkit.runs.context import RunContext
from llmkit.runs.tickets import KEPT, looks


def desks_of(
    context: RunContext, queues: Mapping[str, deque[int]], earlier: Iterable[Mapping[str, Any]] = ()
) -> dict[str, BatchDesk]:
    """The desks by model reference; ``earlier`` are the rows of ``run_rows.without_outcome``."""
    spec = context.spec
    how: dict[str, Any] = {"simulated": spec.simulated, "timeout": spec.policy.timeout_s, "trace": {}}
    desks = {}
    for number, model in enumerate(spec.plan.models):
        target = context.target(model)
        api = target.wire.batches() if target.in_batches else None
        if api is None or model.provider not in queues:
            continue
        desks[model.reference] = BatchDesk(
            run_id=context.run_id,
            prefix=f"{context.run_id}-{context.session}-{number}",
            api=api,
            store=context.services.store,
            send=partial(context.services.transport.send, target.provider, target.wire, **how),
            policy=spec.policy,
            queue=queues[model.provider],
            looks=looks(spec.poll_s, spec.simulated),
            kept=timedelta(0) if spec.simulated else KEPT,
        )
    for row in earlier:
        key = row["position"], row["turn"], row["attempt"]
        if (desk := desks.get(spec.plan.model_of(row["position"]).reference)) is not None:
            desk.earlier[key] = row
    return desks
