"""The server side of Anthropic's Messages format, and of its message batches."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from llmkit.simulator.formats.body_values import Body, messages_of, schema_wanted, text_of
from llmkit.simulator.formats.served_batches import Batch, Item, ServedBatches, iso, routes_at
from llmkit.simulator.formats.served_format import CONTEXT, MAX_OUTPUT, OwnFormat
from llmkit.simulator.limiter import Limiter
from llmkit.simulator.questions import Answer, Question, Rejected, Wording

_WITH_SAMPLING = re.compile(r"-4-[56](-|$)")  # 4.5 and 4.6; later ones reject temperature and top_p
_PREFILL = re.compile(r"-4-5(-|$)")
_VERSIONS = ("2023-06-01", "2026-10-21")
_NO_SAMPLING = "2026-10-21"
_MOST_MARKS = 4
_DAY = 86_400
_LIMIT = "rate_limit_error"
_INVALID = "invalid_request_error"
_WORDINGS = {
    "rate_limit": Wording(
        429, "This request would exceed your organization's rate limit of {limit} {unit} per minute.", _LIMIT
    ),
    "quota": Wording(429, "Your organization has reached its spend limit for this month.", _LIMIT),
    "auth": Wording(401, "invalid x-api-key", "authentication_error"),
    "server_error": Wording(500, "Internal server error", "api_error"),
    "overloaded": Wording(529, "Overloaded", "overloaded_error"),
    "too_long": Wording(400, "prompt is too long: 210000 tokens > 200000 maximum", _INVALID),
    "not_found": Wording(404, "model: {model}", "not_found_error"),
    "blocked": Wording(400, "Output blocked by content filtering policy", _INVALID),
    "invalid": Wording(400, type=_INVALID),
}


class AnthropicServed(ServedBatches):
    """``/v1/messages/batches``. Batches have no names."""

    routes = routes_at("/messages/batches", ("GET", r"/messages/batches/([^/]+)/results$", "results"))

    def read(self, body: Body, files: Mapping[str, bytes], path: str) -> Batch:
        """See ``ServedBatches.read``."""
        requests = body.objects("requests")
        return Batch(None, [Item(str(each.get("custom_id")), "/v1/messages", each.get("params")) for each in requests])

    def state(self, batch: Batch) -> dict[str, Any]:
        """The state of a batch; its counts stay at 0 until it has ended."""
        has_ended = batch.ended_at is not None
        return {
            "id": batch.batch_id,
            "type": "message_batch",
            "processing_status": "ended" if has_ended else "in_progress",
            "request_counts": {
                "processing": 0 if has_ended else len(batch.items),
                "succeeded": len(batch.ended("answered")),
                "errored": len(batch.ended("refused")),
                "canceled": len(batch.ended("cancelled")),
                "expired": len(batch.ended("expired")),
            },
            "created_at": iso(batch.created_at),
            "expires_at": iso(batch.created_at + _DAY),
            "ended_at": iso(batch.ended_at),
            "archived_at": None,
            "cancel_initiated_at": iso(batch.cancelled_at),
            "results_url": f"/v1/messages/batches/{batch.batch_id}/results" if has_ended else None,
        }

    def listing(self, states: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """A page of batches."""
        return page(states)

    def results(self, batch: Batch, reference: str) -> list[dict[str, Any]]:
        """The lines of the results."""
        return [{"custom_id": item.custom_id, "result": _result(item)} for item in batch.items if item.outcome]


def page(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The only page of a list of Anthropic's."""
    first, last = (entries[0]["id"], entries[-1]["id"]) if entries else (None, None)
    return {"data": entries, "has_more": False, "first_id": first, "last_id": last}


def _result(item: Item) -> dict[str, Any]:
    if item.outcome == "answered":
        usage = {**item.reply["usage"], "service_tier": "batch"}
        return {"type": "succeeded", "message": {**item.reply, "usage": usage}}
    if item.outcome == "refused":
        return {"type": "errored", "error": item.reply}
    return {"type": "expired" if item.outcome == "expired" else "canceled"}


class Anthropic(OwnFormat):
    """``POST /v1/messages``."""

    usual = "anthropic"
    path = r"/messages$"
    list_marks = frozenset({"anthropic-version", "x-api-key"})
    models = ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5")
    batches = AnthropicServed()
    key_header = "x-api-key"
    id_headers = ("request-id",)

    def read(self, model: str, body: Body, headers: Mapping[str, str]) -> Question:
        """See ``Format.read``."""
        limit, form = body.integer("max_tokens"), body.object("output_config").object("format")
        if limit is None:
            raise Rejected("max_tokens: Field required", "max_tokens")
        messages = messages_of(body.get("messages"))
        text_ends, marks = _caching(body)
        question = Question(
            provider=self.provider,
            model=body.model,
            system=text_of(body.get("system")),
            messages=messages,
            max_tokens=limit,
            temperature=body.real("temperature", most=1.0),
            stop=body.texts("stop_sequences"),
            effort=_effort(body),
            schema=schema_wanted(form, form),
            marks=marks,
            text_ends=text_ends,
        )
        _check(question, body, headers)
        return question

    def write(self, question: Question, answer: Answer, request_id: str) -> dict[str, Any]:
        """The body of a 200."""
        refused = answer.refusal is not None
        content: list[dict[str, Any]] = []
        if answer.reasoning_tokens and not refused:
            content.append({"type": "thinking", "thinking": "", "signature": "c2ltdWxhdGVk"})
        if answer.text:
            content.append({"type": "text", "text": answer.text})
        return {
            "id": f"msg_{request_id}",
            "type": "message",
            "role": "assistant",
            "model": question.model,
            "content": content,
            "stop_reason": "refusal" if refused else "max_tokens" if answer.finish == "length" else "end_turn",
            "stop_sequence": None,
            "stop_details": {"type": "refusal", "category": None, "explanation": answer.refusal} if refused else None,
            "usage": {  # in which the input excludes tokens read from or written to the cache
                "input_tokens": answer.input_tokens - answer.cached - answer.written,
                "cache_creation_input_tokens": answer.written,
                "cache_read_input_tokens": answer.cached,
                "cache_creation": {"ephemeral_5m_input_tokens": answer.written, "ephemeral_1h_input_tokens": 0},
                "output_tokens": answer.output_tokens,
                "output_tokens_details": {"thinking_tokens": answer.reasoning_tokens},
            },
        }

    def error(self, rejected: Rejected, request_id: str) -> tuple[int, Any]:
        """An error in Anthropic's words."""
        status, message, kind, _ = rejected.worded(_WORDINGS)
        details = {"details": {"error_code": "enforced_spend_limit_reached"}} if rejected.kind == "quota" else {}
        error = {"type": kind, "message": message, **details}
        return status, {"type": "error", "error": error, "request_id": f"req_{request_id}"}

    def model_list(self, models: Iterable[str]) -> dict[str, Any]:
        """The body of a list of models."""
        return page([_entry(model) for model in models])

    def limit_headers(self, limiter: Limiter, now: float) -> dict[str, str]:
        """What is left of requests, tokens and input tokens."""
        allowances = limiter.left(now)
        if "tokens" in allowances:
            allowances["input-tokens"] = allowances["tokens"]
        headers = {}
        for what, allowance in allowances.items():
            # whole seconds, rounded up: an allowance must not be promised too early
            at = datetime.fromtimestamp(now, UTC) + timedelta(seconds=allowance.reset + 0.999)
            headers[f"anthropic-ratelimit-{what}-limit"] = str(allowance.limit)
            headers[f"anthropic-ratelimit-{what}-remaining"] = str(allowance.remaining)
            headers[f"anthropic-ratelimit-{what}-reset"] = at.strftime("%Y-%m-%dT%H:%M:%SZ")
        return headers


def _check(question: Question, body: Body, headers: Mapping[str, str]) -> None:
    """Check sampling by API version and model, prefill, and the version header."""
    version = headers.get("anthropic-version")
    if version is None:
        raise Rejected("anthropic-version: header is required")
    if version not in _VERSIONS:
        raise Rejected(f'anthropic-version: "{version}" is not a valid version')
    sampled = [name for name in ("temperature", "top_p", "top_k") if body.get(name) is not None]
    if sampled and version >= _NO_SAMPLING:
        raise Rejected(f"{sampled[0]}: is not supported in API version {version}", sampled[0])
    unusual = [name for name in sampled if body[name] != 1]
    if unusual and not _WITH_SAMPLING.search(question.model):
        raise Rejected(f"`{unusual[0]}` is deprecated for this model.", unusual[0])
    if "temperature" in sampled and "top_p" in sampled:
        raise Rejected("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    if question.messages[-1][0] == "assistant" and not _PREFILL.search(question.model):
        raise Rejected(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )


def _entry(model: str) -> dict[str, Any]:
    return {
        "type": "model",
        "id": model,
        "display_name": model.replace("-", " ").title(),
        "created_at": "2026-09-01T00:00:00Z",
        "lifecycle": "active",
        "max_input_tokens": CONTEXT,
        "max_tokens": MAX_OUTPUT,
    }


def _effort(body: Body) -> str | None:
    """The effort that ``thinking`` and ``output_config.effort`` imply; a budget corresponds to an effort."""
    thinking = body.object("thinking")
    if thinking.get("type") == "disabled":
        return "none"
    if budget := thinking.integer("budget_tokens", least=1024):
        return "low" if budget <= 2048 else "medium" if budget <= 8192 else "high"
    return body.object("output_config").text("effort") or ("medium" if thinking else None)


def _caching(body: Body) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the character positions at which the texts of a request end, and those marked for caching; a top-level
    mark applies to the end."""
    ends, marks, at = [], [], 0
    for before, content in (
        (0, body.get("system")),
        *((len(each["role"]) + 2, each.get("content")) for each in body["messages"]),
    ):
        at += before
        for block in content if isinstance(content, list) else [{"text": content}]:
            at += len(text_of([block]))
            ends.append(at)
            marks.append((at, Body(block, "content").object("cache_control")))
    marks = [(end, mark) for end, mark in (*marks, (at, body.object("cache_control"))) if mark]
    if any(mark.get("type") != "ephemeral" for _, mark in marks):
        raise Rejected("cache_control.type: Input should be 'ephemeral'", "cache_control")
    if len(marks) > _MOST_MARKS:
        message = f"A maximum of 4 blocks with cache_control may be provided. Found {len(marks)}."
        raise Rejected(message, "cache_control")
    return tuple(ends), tuple(end for end, _ in marks)
