"""From a problem to a Failure: the first rule of the table that fits."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from llmkit.providers.wires import failure_rules, headers
from llmkit.providers.wires.failure_rules import Rule
from llmkit.providers.wires.problem import Problem
from llmkit.providers.wires.rejected import rejected_param
from llmkit.records import Failure, FinishReason, HttpResponse, Usage
from llmkit.records.checks.texts import short

_LONGEST_SENTENCE = 300


def rule_for(problem: Problem) -> Rule:
    """The first rule of the table that fits the problem; ``failure_rules.OTHERWISE`` if none does."""
    return next((rule for rule in failure_rules.RULES if _fits(rule, problem)), failure_rules.OTHERWISE)


def classify(
    response: HttpResponse,
    problem: Problem,
    *,
    usage: Usage | None = None,
    service_tier: str | None = None,
    maybe_billed: bool = False,
    finish_reason: FinishReason | None = None,
    model_version: str | None = None,
    request_id: str | None = None,
) -> Failure:
    """The failure that a problem amounts to. What the wire knows of the answer, its usage above all, is passed on.

    ``retry_after`` is kept only where waiting helps: Gemini asks for seconds when a daily quota is used up.
    """
    rule = rule_for(problem)
    return Failure(
        code=rule.code,
        message=_sentence(rule.says, problem.message),
        scope=rule.scope,
        retry_after=problem.delay if rule.code.retryable else None,
        status=response.status,
        usage=usage,
        service_tier=service_tier,
        finish_reason=finish_reason,
        model_version=model_version,
        request_id=headers.request_id(response.headers) or request_id,
        rejected_param=rejected_param(problem),
        maybe_billed=maybe_billed,
    )


def _fits(rule: Rule, problem: Problem) -> bool:
    status, told = str(problem.status), problem.headers
    if rule.statuses and not any(fnmatchcase(status, pattern) for pattern in rule.statuses):
        return False
    if rule.headers and not any(told.get(name, "").strip() == value for name, value in rule.headers):
        return False
    if not (rule.signs or rule.phrases):
        return True
    words = problem.words
    return any(fnmatchcase(sign, pattern) for pattern in rule.signs for sign in problem.signs) or any(
        _told(phrase, words) for phrase in rule.phrases
    )


def _told(phrase: str, words: str) -> bool:
    """Whether the words hold the phrase; 429 is not told by 1,429 tokens or by the id of a request."""
    return bool(re.search(rf"(?<![\w,.]){phrase}(?![\w,])", words)) if phrase.isdigit() else phrase in words


def _sentence(says: str, own_words: str) -> str:
    return f"{says}: {short(own_words, _LONGEST_SENTENCE)}" if own_words else f"{says}."
