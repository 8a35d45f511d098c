"""Ask one turn of a conversation until there is an answer or no attempt is left."""

from __future__ import annotations

import logging
from functools import partial

import anyio.to_thread

from llmkit.errors import LlmkitError
from llmkit.providers.transport import Delay, retrying
from llmkit.records import Completion, Failure
from llmkit.runs.attempt import Attempt
from llmkit.runs.context import RunContext
from llmkit.runs.conversation import Conversation

log = logging.getLogger("llmkit.runs")


async def ask_turn(run: RunContext, conversation: Conversation) -> Failure | None:
    """Return ``None`` once there is an answer, or the last failure; a parameter that the model rejects is dropped."""
    model = conversation.probe.model
    rejects: frozenset[str] = frozenset()

    async def attempt() -> Completion | Failure:
        nonlocal rejects
        rejects = run.target(model).rejects
        asking = Attempt.of(run, conversation)
        return run.refused(model, asking.key) or await asking.make()

    on_wait = partial(_tell_wait, run, conversation)
    while True:
        result = await retrying(attempt, run.spec.policy, retry_unknown=run.spec.retry_unknown, on_wait=on_wait)
        if isinstance(result, Completion):
            return None
        name = result.rejected_param
        if name is None or conversation.probe.config.params.strict or name in rejects:
            return result
        if name not in run.target(model).rejects:  # else another probe learned it while this one was in flight
            await _drop(run, conversation, name)


def _tell_wait(run: RunContext, conversation: Conversation, failure: Failure, delay: Delay) -> None:
    provider = conversation.probe.model.provider
    fields = run.log_fields(conversation, code=failure.code, seconds=round(delay.seconds, 3))
    if delay.pauses_provider and run.services.gate.queue(provider).pause(delay.seconds):
        log.info("pause", extra=fields)
    log.info("retry", extra=fields)
    run.emit("waiting", conversation, code=failure.code, reason=failure.message, seconds=delay.seconds)


async def _drop(run: RunContext, conversation: Conversation, name: str) -> None:
    """Omit a parameter from now on, and have the catalog remember that."""
    reference = conversation.probe.model.reference
    run.targets[reference] = run.target(conversation.probe.model).without(name)
    log.info("parameter dropped", extra=run.log_fields(conversation, parameter=name))
    if run.spec.simulated:  # a simulator's guess must not change the requests of real studies
        return
    try:
        await anyio.to_thread.run_sync(run.services.learn_rejected, reference, name)
    except LlmkitError as error:  # the run knows it anyway; only the next run would have to learn it again
        log.warning("not remembered", extra=run.log_fields(conversation, parameter=name, reason=str(error)))
