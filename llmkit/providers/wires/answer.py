"""The last step of every wire: an answer as it was read becomes a Completion, or a Failure when it is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llmkit.providers.wires import failure_rules, headers
from llmkit.providers.wires.classify import classify
from llmkit.providers.wires.problem import Problem, error_in, read_problem
from llmkit.providers.wires.values import decode
from llmkit.records import Completion, Failure, FinishReason, HttpResponse, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a wire has read in a 2xx body. ``mark`` is one of the marks of ``rules`` where the answer is no answer.

    ``words`` is what the provider says about it; ``error`` is an error that it carries.
    """

    text: str = ""
    finish_reason: FinishReason = "other"
    usage: Usage | None = None
    service_tier: str | None = None
    model_version: str | None = None
    request_id: str | None = None
    mark: str | None = None
    words: str = ""
    error: Any = None


def body_or_failure(
    response: HttpResponse, read: Callable[[Any], Answer] = lambda _: Answer()
) -> tuple[Any, Failure | None]:
    """The decoded body, and a failure if the status, the body or an error in it says so already.

    A 2xx answer that is not JSON was probably produced and billed, and is marked so. An error was not, unless
    ``read`` finds the tokens that were used beside the error or inside it.
    """
    body = decode(response.body)
    good = 200 <= response.status < 300
    if body is None and good:
        return body, _marked(response, Answer(), failure_rules.NOT_JSON)
    error = error_in(body)
    if good and error is None:
        return body, None
    billed = next((answer for answer in map(read, (body, error)) if answer.usage), Answer())
    problem = read_problem(response, body, error=error)
    return body, classify(response, problem, usage=billed.usage, service_tier=billed.service_tier)


def conclude(response: HttpResponse, answer: Answer) -> Completion | Failure:
    """A Completion if the answer has text and nothing is wrong with it; an empty answer never is one.

    A failure without a usage may have been billed: the provider did its work and the cost is unknown.
    """
    if answer.error is not None:
        problem = read_problem(response, None, error=answer.error)
        return _failed(response, answer, problem)
    mark = answer.mark or _mark_of_empty(answer)
    if mark is not None:
        return _marked(response, answer, mark)
    return Completion(
        text=answer.text,
        finish_reason=answer.finish_reason,
        usage=answer.usage,
        service_tier=answer.service_tier,
        model_version=answer.model_version,
        request_id=headers.request_id(response.headers) or answer.request_id,
    )


def _mark_of_empty(answer: Answer) -> str | None:
    if answer.text.strip():
        return None
    by_reason = {"content_filter": failure_rules.BLOCKED, "length": failure_rules.EMPTY_AT_LIMIT}
    return by_reason.get(answer.finish_reason, failure_rules.EMPTY)


def _marked(response: HttpResponse, answer: Answer, mark: str) -> Failure:
    problem = Problem(status=response.status, signs=frozenset({mark}), message=answer.words, headers=response.headers)
    return _failed(response, answer, problem)


def _failed(response: HttpResponse, answer: Answer, problem: Problem) -> Failure:
    return classify(
        response,
        problem,
        usage=answer.usage,
        service_tier=answer.service_tier,
        maybe_billed=answer.usage is None,
        finish_reason=answer.finish_reason,
        model_version=answer.model_version,
        request_id=answer.request_id,
    )
