"""Each provider's error bodies: the same complaint in each one's words."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llmkit.records import WireName
from llmkit.simulator.formats.problems import Problem
from llmkit.simulator.formats.provider_styles import style_of

_SORRY = "The server had an error while processing your request. Sorry about that!"
_BUSY = "The model is overloaded. Please try again later."
_TOO_LONG = "maximum context length is 128000 tokens. However, your messages resulted in more."


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """An error as it goes over the wire."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


def error_response(provider: str, wire: WireName, problem: Problem, request_id: str) -> ErrorResponse:
    """The complaint in the provider's own words, with the wait that it asks for in the provider's own place."""
    if wire == "gemini":
        return _gemini(problem)
    if wire == "anthropic_messages":
        return _anthropic(problem, request_id)
    return _OF_DIALECT.get(style_of(provider).dialect, _openai)(problem)


def seconds(wait: float) -> str:
    """A wait as ``Retry-After`` wants it: whole seconds, never too few."""
    return str(max(1, math.ceil(wait - 1e-6)))


def _retry_after(problem: Problem, *, milliseconds: bool = False) -> dict[str, str]:
    if problem.retry_after is None:
        return {}
    exact = {"retry-after-ms": str(math.ceil(problem.retry_after * 1000))} if milliseconds else {}
    return {"retry-after": seconds(problem.retry_after), **exact}


def _openai(problem: Problem) -> ErrorResponse:
    def error(status: int, message: str, kind: str, code: str | None, **headers: str) -> ErrorResponse:
        body = {"message": problem.message or message, "type": kind, "param": problem.param, "code": code}
        return ErrorResponse(status, {"error": body}, headers)

    match problem.kind:
        case "rate_limit":
            what = {"requests": "requests per min (RPM)", "tokens": "tokens per min (TPM)", "concurrent": "requests"}
            wait = problem.retry_after or 1.0
            message = (
                f"Rate limit reached for {problem.model or 'this model'} in organization org-simulated on "
                f"{what[problem.unit]}: Limit {problem.limit}. Please try again in {wait:.3f}s. "
                "Visit https://platform.openai.com/account/rate-limits to learn more."
            )
            response = error(429, message, problem.unit, "rate_limit_exceeded")
            return ErrorResponse(429, response.body, _retry_after(problem, milliseconds=True))
        case "quota":
            message = "You exceeded your current quota, please check your plan and billing details."
            return error(429, message, "insufficient_quota", "insufficient_quota")
        case "auth":
            message = "Incorrect API key provided. You can find your API key at https://platform.openai.com/api-keys."
            return error(401, message, "invalid_request_error", "invalid_api_key")
        case "server_error":
            return error(500, _SORRY, "server_error", None)
        case "overloaded":
            return error(503, _BUSY, "service_unavailable_error", "server_is_overloaded")
        case "too_long":
            return error(400, f"This model's {_TOO_LONG}", "invalid_request_error", "context_length_exceeded")
        case "not_found":
            message = f"The model `{problem.model}` does not exist or you do not have access to it."
            return error(404, message, "invalid_request_error", "model_not_found")
        case "blocked":
            message = "Invalid prompt: your prompt was flagged as potentially violating our usage policy."
            return error(400, message, "invalid_request_error", "invalid_prompt")
        case "unsupported_parameter" | "unsupported_value":
            return error(400, "", "invalid_request_error", problem.kind)
        case "invalid":
            return error(400, "", "invalid_request_error", None)


def _deepseek(problem: Problem) -> ErrorResponse:
    """OpenAI's shape with types and codes that say nothing; the status counts."""
    status, message = {
        "rate_limit": (429, "Rate limit reached for requests"),
        "quota": (402, "Insufficient Balance"),
        "auth": (401, "Authentication Fails, your api key is invalid"),
        "server_error": (500, "Internal Server Error"),
        "overloaded": (503, "Service is too busy. We advise users to temporarily switch to alternative providers."),
        "too_long": (400, f"This model's {_TOO_LONG}"),
        "not_found": (400, "Model Not Exist"),
        "blocked": (400, "Content Exists Risk"),
    }.get(problem.kind, (400, ""))
    body = {
        "message": problem.message or message,
        "type": "authentication_error" if problem.kind == "auth" else "unknown_error",
        "param": None,
        "code": "invalid_request_error",
    }
    return ErrorResponse(status, {"error": body}, _retry_after(problem))


def _xai(problem: Problem) -> ErrorResponse:
    """Two strings. A wrong key is a 400."""
    status, code, message = {
        "rate_limit": (
            429,
            "Some resource has been exhausted",
            f"Too many requests for team simulated and model {problem.model}. Your team's rate limit is "
            f"{problem.limit} {problem.unit} per minute.",
        ),
        "quota": (
            403,
            "personal-team-blocked:spending-limit",
            "Your team has used all available credits or reached its monthly spending limit.",
        ),
        "auth": (
            400,
            "Client specified an invalid argument",
            "Incorrect API key provided. You can obtain an API key from https://console.x.ai.",
        ),
        "server_error": (500, "Internal error", "Something went wrong while processing the request."),
        "overloaded": (503, "The service is currently unavailable", _BUSY),
        "too_long": (
            400,
            "Client specified an invalid argument",
            "This model's maximum prompt length is 131072 but the request contains more tokens.",
        ),
        "not_found": (
            404,
            "Some requested entity was not found",
            f"The model {problem.model} does not exist or your team does not have access to it.",
        ),
        "blocked": (
            403,
            "The caller does not have permission to execute the specified operation",
            "Content violates usage guidelines.",
        ),
    }.get(problem.kind, (400, "Client specified an invalid argument", ""))
    return ErrorResponse(status, {"code": code, "error": problem.message or message}, _retry_after(problem))


def _mistral(problem: Problem) -> ErrorResponse:
    """Flat; a parameter that is not known is FastAPI's 422."""
    if problem.kind in ("unsupported_parameter", "invalid") and problem.param:
        kind = "extra_forbidden" if problem.kind == "unsupported_parameter" else "value_error"
        detail = {"type": kind, "loc": ["body", problem.param], "msg": problem.message, "input": None}
        return ErrorResponse(422, {"object": "error", "message": {"detail": [detail]}, "type": "invalid_request_error",
                                   "param": None, "code": None})  # fmt: skip
    status, kind, code, message = {
        "rate_limit": (429, "rate_limited", "1300", "Rate limit exceeded"),
        "quota": (402, "payment_required", "1500", "You have reached your spending limit."),
        "auth": (401, "unauthorized", "1100", "Unauthorized"),
        "server_error": (500, "internal_server_error", "3000", "Internal server error"),
        "overloaded": (503, "service_unavailable", "3505", "Service tier capacity exceeded for this model."),
        "too_long": (400, "invalid_request_error", "3051", f"Prompt is too large for this model: {_TOO_LONG}"),
        "not_found": (400, "invalid_model", "1500", f"Invalid model: {problem.model}"),
        "blocked": (403, "guardrail", "1800", "The prompt violates usage guidelines and was blocked."),
    }.get(problem.kind, (400, "invalid_request_error", "2000", ""))
    body = {"object": "error", "message": problem.message or message, "type": kind, "param": None, "code": code}
    return ErrorResponse(status, body, _retry_after(problem))


def _anthropic(problem: Problem, request_id: str) -> ErrorResponse:
    status, kind, message = {
        "rate_limit": (
            429,
            "rate_limit_error",
            f"This request would exceed your organization's rate limit of {problem.limit} {problem.unit} per minute.",
        ),
        "quota": (429, "rate_limit_error", "Your organization has reached its spend limit for this month."),
        "auth": (401, "authentication_error", "invalid x-api-key"),
        "server_error": (500, "api_error", "Internal server error"),
        "overloaded": (529, "overloaded_error", "Overloaded"),
        "too_long": (400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
        "not_found": (404, "not_found_error", f"model: {problem.model}"),
        "blocked": (400, "invalid_request_error", "Output blocked by content filtering policy"),
    }.get(problem.kind, (400, "invalid_request_error", ""))
    error: dict[str, Any] = {"type": kind, "message": problem.message or message}
    if problem.kind == "quota":
        error["details"] = {"error_code": "enforced_spend_limit_reached"}
    return ErrorResponse(status, {"type": "error", "error": error, "request_id": request_id}, _retry_after(problem))


def _gemini(problem: Problem) -> ErrorResponse:
    """No header says how long to wait; ``RetryInfo`` in the body does."""
    status, word, message = {
        "rate_limit": (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please retry later."),
        "quota": (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan."),
        "auth": (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
        "server_error": (500, "INTERNAL", "An internal error has occurred. Please retry."),
        "overloaded": (503, "UNAVAILABLE", _BUSY),
        "too_long": (
            400,
            "INVALID_ARGUMENT",
            "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
        ),
        "not_found": (
            404,
            "NOT_FOUND",
            f"models/{problem.model} is not found for API version v1beta, or is not supported for generateContent.",
        ),
    }.get(problem.kind, (400, "INVALID_ARGUMENT", ""))
    error: dict[str, Any] = {"code": status, "message": problem.message or message, "status": word}
    if problem.kind in ("rate_limit", "quota"):
        error["details"] = list(_quota_details(problem))
    if problem.kind == "auth":
        reason = {"reason": "API_KEY_INVALID", "domain": "googleapis.com"}
        error["details"] = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", **reason}]
    return ErrorResponse(status, {"error": error})


def _quota_details(problem: Problem) -> list[dict[str, Any]]:
    period = "PerDay" if problem.kind == "quota" else "PerMinute"
    what = "Tokens" if problem.unit == "tokens" else "Requests"
    violation = {
        "quotaMetric": f"generativelanguage.googleapis.com/generate_content_paid_tier_{what.lower()}",
        "quotaId": f"GenerateContent{what}{period}PerProjectPerModel",
        "quotaDimensions": {"location": "global", "model": problem.model},
        "quotaValue": str(problem.limit),
    }
    details: list[dict[str, Any]] = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}
    ]
    # even an exhausted day asks for seconds
    wait = 38.5 if problem.kind == "quota" else problem.retry_after
    if wait is not None:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{wait:.9g}s"})
    return details


_OF_DIALECT: Mapping[str | None, Callable[[Problem], ErrorResponse]] = {
    "xai": _xai,
    "deepseek": _deepseek,
    "mistral": _mistral,
}


def encoded(body: Any) -> bytes:
    """A body as bytes."""
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
