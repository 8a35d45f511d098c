"""The last step of every wire: turns what was read from a response into a Completion or a Failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from llmkit.providers.wires import failure_rules, headers
from llmkit.providers.wires.failure_rules import rule_for
from llmkit.providers.wires.problem import Problem, error_in, read_problem
from llmkit.providers.wires.rejected import rejected_param
from llmkit.providers.wires.values import decode, dig, string
from llmkit.records import Completion, Failure, FinishReason, HttpResponse, Usage
from llmkit.records.checks.texts import short

_LONGEST_SENTENCE = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a wire has read from a 2xx body. ``mark`` is a mark from ``failure_rules`` if it is not a usable answer.

    ``words`` is the provider's comment on it; ``error`` is an error that the body contains.
    """

    text: str = ""
    finish_reason: FinishReason | None = None
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
    """The decoded body, and a failure if the status, the body or an error in it indicates one.

    A 2xx response that is not JSON was probably billed, and is marked as such. An error was not billed, unless ``read``
    finds a usage next to the error or inside it.
    """
    body = decode(response.body)
    good = 200 <= response.status < 300
    if body is None and good:
        return body, defective(response, Answer(), failure_rules.NOT_JSON)
    error = error_in(body)
    if good and error is None:
        return body, None
    billed = next((answer for answer in map(read, (body, error)) if answer.usage), Answer())
    request_id = string(dig(body, "request_id")) or None  # Anthropic
    used = Answer(usage=billed.usage, service_tier=billed.service_tier, request_id=request_id)
    return body, classify(response, read_problem(response, body, error), used)


def conclude(response: HttpResponse, answer: Answer) -> Completion | Failure:
    """A Completion if the answer has text and nothing is wrong with it, else a Failure.

    A failure without a usage may have been billed: the provider did its work at an unknown cost.
    """
    if answer.error is not None:
        problem = read_problem(response, None, answer.error)
        return classify(response, problem, answer, maybe_billed=answer.usage is None)
    mark = answer.mark or _mark_of_empty(answer)
    if mark is not None:
        return defective(response, answer, mark)
    return Completion(
        text=answer.text,
        finish_reason=answer.finish_reason or "other",
        usage=_known(answer.usage),
        service_tier=answer.service_tier,
        model_version=answer.model_version,
        request_id=headers.request_id(response.headers) or answer.request_id,
    )


def _known(usage: Usage | None) -> Usage | None:
    """The usage of a text, which has at least a token: gateways write 0 for what they were not told."""
    if usage is None or usage.output_tokens != 0:
        return usage
    return replace(usage, input_tokens=usage.input_tokens or None, output_tokens=None)


def _mark_of_empty(answer: Answer) -> str | None:
    if answer.text.strip():
        return None
    by_reason = {"content_filter": failure_rules.BLOCKED, "length": failure_rules.EMPTY_AT_LIMIT}
    return by_reason.get(answer.finish_reason or "", failure_rules.EMPTY)


def defective(response: HttpResponse, answer: Answer, mark: str) -> Failure:
    """The failure of a response with one of our marks for what is wrong with it."""
    problem = Problem(status=response.status, signs=frozenset({mark}), message=answer.words, headers=response.headers)
    return classify(response, problem, answer, maybe_billed=answer.usage is None)


def classify(response: HttpResponse, problem: Problem, answer: Answer, *, maybe_billed: bool = False) -> Failure:
    """Classify a problem as a failure, which keeps what the wire has read of the answer, above all its usage.

    ``retry_after`` is kept only if waiting helps: Gemini asks for seconds even when a daily quota is used up. What a
    gateway quotes does not affect its other models, which have other providers behind them.
    """
    rule, words = rule_for(problem), short(problem.message, _LONGEST_SENTENCE)
    scope, says = rule.meaning
    return Failure(
        code=rule.code,
        message=f"{says}: {words}" if words else f"{says}.",
        scope="model" if scope == "provider" and problem.is_quoted else scope,
        retry_after=problem.delay if rule.code.retryable else None,
        status=response.status,
        usage=answer.usage,
        service_tier=answer.service_tier,
        finish_reason=answer.finish_reason,
        model_version=answer.model_version,
        request_id=headers.request_id(response.headers) or answer.request_id,
        rejected_param=rejected_param(problem),
        maybe_billed=maybe_billed,
    )
