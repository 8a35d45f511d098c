"""The classification of failures as a table: the evidence in a response, its meaning, and what it affects.

The first rule whose conditions all hold decides. Conditions are regular expressions: of the status (``statuses``); of a
header (``headers``, as ``name: value``); and of a sign (``signs``) or of a part of the message and signs (``phrases``).
An empty condition always holds. Signs are the provider's machine-readable words (``code``, ``type``, ``status``,
``reason``, ``quotaId``) in lower case, and our own marks ``llmkit:*`` for defects of an answer that arrived with a 2xx
status.

Order matters: rules that need a sign or a phrase precede those that need only a status, because providers use the same
status for problems that waiting can solve and for others. Every rule is necessary: tests/providers/mutate_classifier.py
removes each in turn and requires a test case to fail.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from llmkit.errors import Code
from llmkit.providers.wires.problem import Problem
from llmkit.records import Scope

NOT_JSON = "llmkit:not_json"
NO_ANSWER = "llmkit:no_answer"
REFUSAL = "llmkit:refusal"
BLOCKED = "llmkit:blocked"
EMPTY = "llmkit:empty"
EMPTY_AT_LIMIT = "llmkit:empty_at_limit"
CUT_SHORT = "llmkit:cut_short"
ERROR_ANSWER = "llmkit:error_answer"


_MEANINGS: Mapping[Code, tuple[Scope, str]] = {
    Code.AUTH_ERROR: ("provider", "The provider does not accept the API key"),
    Code.CONTENT_BLOCKED: ("probe", "The provider's safety filter blocked the prompt or the answer"),
    Code.CONTEXT_TOO_LONG: ("probe", "The conversation is too long for the model"),
    Code.EMPTY_RESPONSE: ("probe", "The answer is empty"),
    Code.INVALID_RESPONSE: ("attempt", "The answer does not have the expected form"),
    Code.MODEL_NOT_FOUND: ("model", "The provider does not know the model, or the account may not use it"),
    Code.OVERLOADED: ("attempt", "The provider is overloaded"),
    Code.QUOTA_EXHAUSTED: ("provider", "The account has no credit or has reached its spending limit"),
    Code.RATE_LIMITED: ("attempt", "The provider's rate limit is reached"),
    Code.SERVER_ERROR: ("attempt", "The provider had an internal error"),
    Code.TIMEOUT: ("attempt", "The provider took too long"),
    Code.UNKNOWN: ("attempt", "The provider gave an answer of a kind that llmkit does not know"),
    Code.VALIDATION_ERROR: ("probe", "The provider does not accept the request"),
}
"""What a code affects and how the message to the user begins, unless a rule says otherwise."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table; ``says`` and ``scope`` replace the code's usual meaning."""

    code: Code
    says: str = ""
    statuses: str = ""
    signs: str = ""
    phrases: str = ""
    headers: str = ""
    scope: Scope | None = None

    @property
    def meaning(self) -> tuple[Scope, str]:
        """What such a failure affects, and how the message to the user begins."""
        scope, says = _MEANINGS[self.code]
        return self.scope or scope, self.says or says


RULES: tuple[Rule, ...] = (
    # 2xx responses without a usable answer
    Rule(Code.CONTENT_BLOCKED, "The model refused to answer", signs=REFUSAL),
    Rule(Code.CONTENT_BLOCKED, signs=BLOCKED),
    Rule(
        Code.EMPTY_RESPONSE,
        "The answer is empty: the token limit was used up before any text; raise max_tokens",
        signs=EMPTY_AT_LIMIT,
    ),
    Rule(Code.EMPTY_RESPONSE, signs=EMPTY),
    Rule(Code.OVERLOADED, "The provider ran out of capacity in the middle of the answer", signs=CUT_SHORT),
    Rule(Code.INVALID_RESPONSE, "The answer is not JSON (cut short, or not from the provider)", signs=NOT_JSON),
    Rule(Code.INVALID_RESPONSE, signs=NO_ANSWER),
    # money and daily or monthly quotas: reported as 429, 403 or 400, and a short wait does not help
    Rule(Code.QUOTA_EXHAUSTED, statuses="402"),
    Rule(
        Code.QUOTA_EXHAUSTED,
        statuses="2..|400|403|422|429",
        signs="insufficient_quota|budget_exceeded|credit_balance_exhausted|organization_spend_limit_exceeded|"
        "project_spend_limit_exceeded|organization_usage_limit_exceeded|billing_not_active|"
        "billing_hard_limit_reached|enforced_spend_limit_reached|contract_spend_limit_reached|"
        "linked_organization_spend_limit_reached|linked_organization_billing_unavailable|"
        "personal-team-blocked:spending-limit|payment_required",
        phrases="used all available credits|monthly spending limit|specified api usage limits|"
        "credit balance is too low|insufficient balance|insufficient credits|credits are depleted|"
        "openaiexception - you exceeded your current quota",  # as LiteLLM quotes OpenAI; Google's minutes say the same
    ),
    Rule(
        Code.QUOTA_EXHAUSTED,
        "The month's tokens are used up",
        statuses="429",
        headers="x-ratelimit-remaining-tokens-month: 0",
    ),
    Rule(
        Code.QUOTA_EXHAUSTED,
        "The account has no allowance for this model",
        statuses="429",
        headers="x-ratelimit-limit-req-minute: 0|x-ratelimit-limit-tokens-minute: 0",
        scope="model",
    ),
    Rule(
        Code.QUOTA_EXHAUSTED,
        "The model's daily quota is used up",
        statuses="2..|429",
        signs="(?>.*?perday).*permodel.*",  # atomic: a long sign of nothing but "perday" takes linear time
        phrases="requests per day|tokens per day",
        scope="model",
    ),
    Rule(
        Code.QUOTA_EXHAUSTED,
        "The daily quota is used up",
        statuses="2..|429",
        signs=".*perday.*",
        phrases="models-per-day",
    ),
    # too long; a single request larger than the tokens per minute is reported as a rate limit
    Rule(
        Code.CONTEXT_TOO_LONG,
        statuses="2..|400|403|422|500",
        signs="context_length_exceeded|string_above_max_length",
        phrases="context length|maximum prompt length|prompt is too long|exceed context limit|"
        "exceeds the context window|exceeds the maximum number of tokens|`max_new_tokens` must be <=|"
        "available context size|maximum model length",
    ),
    Rule(
        Code.CONTEXT_TOO_LONG,
        "The request alone is larger than the tokens that the account may use in a minute",
        statuses="429",
        phrases="request too large for",
    ),
    Rule(Code.CONTEXT_TOO_LONG, "The request is too large for the provider", statuses="413"),
    # rate limits
    Rule(Code.RATE_LIMITED, statuses="429"),
    Rule(
        Code.RATE_LIMITED,
        statuses="[^4]..|4[^2].|42[^9]",  # any other: the provider's words count, not a gateway's status
        phrases="rate limit|rate_limit|too many requests|quota exceeded|resource_exhausted|"
        r"(?<![\w,.])429(?![\w,])",
    ),
    # keys
    Rule(
        Code.MODEL_NOT_FOUND,
        "The API key may not be used for this model",
        statuses="401|403",
        signs=r"\w+_model_access_denied",
        phrases="not allowed to access model",
    ),
    Rule(Code.AUTH_ERROR, statuses="401"),
    Rule(
        Code.AUTH_ERROR,
        statuses="2..|400",
        signs="api_key_invalid|authentication_error|no_db_connection",  # LiteLLM without a database knows one key only
        phrases=r"incorrect api key|api key not valid|\Aunauthorized\Z",
    ),
    Rule(
        Code.AUTH_ERROR,
        "The account may not use this API from where it is",
        statuses="400",
        phrases="location is not supported|not available in your country",
    ),
    # content and models: reported as 400 or 403
    Rule(
        Code.CONTENT_BLOCKED,
        statuses="2..|400|403",
        signs="content_filter|content_policy_violation|invalid_prompt|bio_policy|misalignment_policy_violation",
        phrases="violates usage guidelines|content exists risk|content filtering policy|"
        "content management policy|input was flagged|contentpolicyviolationerror",
    ),
    Rule(
        Code.MODEL_NOT_FOUND,
        statuses="2..|400|403",
        signs="model_not_found|invalid_model|model_decommissioned",
        phrases="model not exist|model not found|is not a valid model|invalid model name|server is pinned to|"
        "model '[^']{1,200}' not found|model is not loaded",  # as llama.cpp's router says
    ),
    # unambiguous statuses
    Rule(Code.MODEL_NOT_FOUND, "The provider does not know the model, or the base URL is wrong", statuses="404|410"),
    Rule(Code.AUTH_ERROR, "The account may not do this", statuses="403"),
    Rule(Code.OVERLOADED, statuses="498|503|529"),
    Rule(Code.TIMEOUT, statuses="408|504|524"),
    Rule(Code.SERVER_ERROR, "The provider had a conflict of its own", statuses="409"),
    Rule(Code.VALIDATION_ERROR, "The server does not offer what is asked of it", statuses="501"),
    Rule(Code.VALIDATION_ERROR, statuses="500", phrases=r"'loc': \('body',"),  # of FastAPI, in llama-cpp-python
    Rule(Code.SERVER_ERROR, statuses="5.."),
    Rule(
        Code.VALIDATION_ERROR,
        "The base URL answers with a redirect, which is not followed because of the key",
        statuses="3..",
        scope="provider",
    ),
    # x-should-retry is used only if nothing better is known, and "false" is ignored: a futile retry costs less than an
    # abandoned probe
    Rule(Code.SERVER_ERROR, "The provider asks to try again", statuses="4..", headers="x-should-retry: true"),
    Rule(Code.VALIDATION_ERROR, statuses="4.."),
    # errors in a 2xx response that name no status, or one of the server's
    Rule(
        Code.OVERLOADED,
        statuses="2..",
        signs="overloaded_error|server_is_overloaded|unavailable|service_unavailable|capacity_exceeded|"
        "the service is currently unavailable",
        phrases="service is too busy|service tier capacity exceeded",
    ),
    Rule(Code.TIMEOUT, statuses="2..", signs="timeout_error|deadline_exceeded"),
    Rule(
        Code.SERVER_ERROR,
        statuses="2..",
        signs=f"api_error|server_error|internal|internal error|internal_server_error|{ERROR_ANSWER}",
        phrases="server error",
    ),
    Rule(
        Code.VALIDATION_ERROR,
        statuses="2..",
        signs="invalid_request_error|invalid_argument|invalid-argument|client specified an invalid argument|"
        "data_residency_mismatch",
    ),
)
OTHERWISE = Rule(Code.UNKNOWN)


def rule_for(problem: Problem) -> Rule:
    """The first rule in the table that matches the problem; ``OTHERWISE`` if none does."""
    return next((rule for rule in RULES if _fits(rule, problem)), OTHERWISE)


def _fits(rule: Rule, problem: Problem) -> bool:
    told = (f"{name}: {value.strip()}" for name, value in problem.headers.items())
    if rule.statuses and not re.fullmatch(rule.statuses, str(problem.status)):
        return False
    if rule.headers and not any(re.fullmatch(rule.headers, header) for header in told):
        return False
    if not (rule.signs or rule.phrases):
        return True
    if rule.signs and any(re.fullmatch(rule.signs, sign, re.DOTALL) for sign in problem.signs):
        return True
    return bool(rule.phrases and re.search(rule.phrases, problem.words))
