"""What a request would have a run ask, before anything is said about money."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from llmkit.errors import LlmkitError, ValidationError, refuse
from llmkit.providers.wires import wire_for
from llmkit.records import Provider, Request
from llmkit.runs.plan import Plan
from llmkit.runs.reuse import Reused


@dataclass(frozen=True, slots=True)
class Draft:
    """A plan and what follows from it: each configuration's first request as sent, by label; the references of the
    models that run in batches; the parser of answers without a question of their own; and the answers that need not be
    bought.
    """

    plan: Plan
    providers: Mapping[str, Provider]
    requests: Mapping[str, Request]
    batched: frozenset[str]
    check_answer: Callable[[str], Any] | None
    reused: Reused


def first_requests(plan: Plan, providers: Mapping[str, Provider]) -> dict[str, Request]:
    """Each configuration's first request, by label: it shows which parameters are left out, and the limit on answers.

    Raises:
        ValidationError: ``strict`` is set and a parameter would be left out.
        RunRefused: the same for several configurations.
    """
    problems: list[LlmkitError] = []
    requests: dict[str, Request] = {}
    for index, config in enumerate(plan.configs):
        call = plan.call(plan.probe(index * plan.samples))
        try:
            requests[config.label] = wire_for(providers[config.model.provider], config.model).build(call)
        except ValidationError as problem:
            problems.append(problem)
    refuse(problems)
    return requests
