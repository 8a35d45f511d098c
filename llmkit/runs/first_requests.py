"""What is first sent to each configuration of a plan."""

from __future__ import annotations

from collections.abc import Mapping

from llmkit.errors import LlmkitError, ValidationError, refuse
from llmkit.providers.wires import wire_for
from llmkit.records import Provider, Request
from llmkit.runs.plan import Plan


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
