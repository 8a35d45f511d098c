"""The server side of Google's generateContent format and batches."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from llmkit.simulator.formats.body_values import Body, schema_of, text_of
from llmkit.simulator.formats.served_batches import Batch, Item, Routes, ServedBatches, iso
from llmkit.simulator.formats.served_format import CONTEXT, MAX_OUTPUT, OwnFormat
from llmkit.simulator.questions import Answer, Question, Rejected, Wording

_FIELDS = frozenset(
    {
        "contents", "systemInstruction", "generationConfig", "safetySettings", "tools", "toolConfig", "cachedContent",
        "serviceTier", "labels", "model", "store",
    }
)  # fmt: skip
_ROLES: Mapping[str | None, str] = {"model": "assistant"}
_EXHAUSTED, _INVALID = "RESOURCE_EXHAUSTED", "INVALID_ARGUMENT"
_TOO_LONG = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
_NOT_FOUND = "models/{model} is not found for API version v1beta, or is not supported for generateContent."
_WORDINGS = {
    "rate_limit": Wording(429, "You exceeded your current quota, please retry later.", _EXHAUSTED),
    "quota": Wording(429, "You exceeded your current quota, please check your plan.", _EXHAUSTED),
    "auth": Wording(400, "API key not valid. Please pass a valid API key.", _INVALID),
    "server_error": Wording(500, "An internal error has occurred. Please retry.", "INTERNAL"),
    "overloaded": Wording(503, "The model is overloaded. Please try again later.", "UNAVAILABLE"),
    "too_long": Wording(400, _TOO_LONG, _INVALID),
    "not_found": Wording(404, _NOT_FOUND, "NOT_FOUND"),
    "invalid": Wording(400, type=_INVALID),
}
_STATES = {"in_progress": "RUNNING", "completed": "SUCCEEDED", "expired": "EXPIRED", "cancelled": "CANCELLED"}
_VERSION = "(?:/v1beta|/google/v1)"  # OpenAI's paths have v1 too


class GeminiServed(ServedBatches):
    """``:batchGenerateContent`` and ``/v1beta/batches``."""

    prefix = "batches/"
    routes: ClassVar[Routes] = (
        ("POST", r":batchGenerateContent$", "create"),
        ("GET", rf"{_VERSION}/batches$", "list"),
        ("POST", rf"{_VERSION}/(batches/[^/:]+):cancel$", "cancel"),
        ("GET", rf"{_VERSION}/(batches/[^/:]+)$", "poll"),
    )

    def read(self, body: Body, files: Mapping[str, bytes], path: str) -> Batch:
        """See ``ServedBatches.read``."""
        batch = body.object("batch")
        url = re.sub(r"^.*(/v1(?:beta)?/models/.*):batchGenerateContent$", r"\1:generateContent", path)
        requests = enumerate(batch.object("inputConfig").object("requests").objects("requests"))
        keys = ((str(each.object("metadata").get("key", number)), each.get("request")) for number, each in requests)
        return Batch(batch.text("displayName"), [Item(key, url, request) for key, request in keys])

    def state(self, batch: Batch) -> dict[str, Any]:
        """The state of a batch, with its results once it has ended."""
        metadata: dict[str, Any] = {
            "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
            "model": batch.endpoint.removeprefix("/v1beta/").removesuffix(":generateContent"),
            "name": batch.batch_id,
            "displayName": batch.name,
            "state": f"BATCH_STATE_{_STATES[batch.status]}",
            "createTime": iso(batch.created_at),
            "batchStats": {
                "requestCount": str(len(batch.items)),
                "successfulRequestCount": str(len(batch.ended("answered"))),
            },
        }
        if batch.ended_at is None:
            return {"name": batch.batch_id, "metadata": metadata}
        output = {"inlinedResponses": {"inlinedResponses": list(map(_line, batch.ended("answered", "refused")))}}
        return {"name": batch.batch_id, "metadata": {**metadata, "output": output}, "done": True, "response": output}

    def listing(self, states: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """A page of batches."""
        return {"operations": states}


def _line(item: Item) -> dict[str, Any]:
    content = {"response": item.reply} if item.outcome == "answered" else {"error": item.reply["error"]}
    return {**content, "metadata": {"key": item.custom_id}}


class Gemini(OwnFormat):
    """``POST /v1beta/models/{model}:generateContent``."""

    usual = "google"
    path = r"/models/(?:models/)?(.+):generateContent$"
    list_marks = frozenset({"v1beta", "x-goog-api-key"})
    blocks_prompts = True
    models = ("gemini-3.5-flash-lite", "gemini-3.8-flash", "gemini-4-argon")
    batches = GeminiServed()
    key_header = "x-goog-api-key"
    wait_headers = ()  # the wait is in the body, as RetryInfo

    def read(self, model: str, body: Body, headers: Mapping[str, str]) -> Question:
        """See ``Format.read``."""
        fields = _camel(body)
        for name in fields:
            if name not in _FIELDS:
                raise Rejected(f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.', name)
        generation = _camel(fields.object("generationConfig"))
        schema = generation.get("responseJsonSchema") or _modern(generation.get("responseSchema"))
        wants_json = generation.get("responseMimeType") == "application/json"
        return Question(
            provider=self.provider,
            model=model,
            system=text_of(fields.object("systemInstruction").get("parts")),
            messages=_messages(fields),
            max_tokens=generation.integer("maxOutputTokens"),
            temperature=generation.real("temperature", most=2.0),
            seed=generation.integer("seed", least=-(2**31)),
            stop=generation.texts("stopSequences"),
            effort=_effort(_camel(generation.object("thinkingConfig"))),
            schema=schema_of(schema, "generation_config.response_schema") if wants_json else None,
        )

    def write(self, question: Question, answer: Answer, request_id: str) -> dict[str, Any]:
        """The body of a 200. There is no field for a refusal: the answer of a model that declines is filtered."""
        about = {"usageMetadata": _usage(answer), "modelVersion": question.model, "responseId": request_id}
        if answer.blocked:
            return {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, **about}
        candidate: dict[str, Any] = {"finishReason": "STOP" if answer.finish == "stop" else "MAX_TOKENS", "index": 0}
        if answer.refusal is not None:
            candidate |= {"finishReason": "SAFETY", "finishMessage": answer.refusal}
        content: dict[str, Any] = {"role": "model"}
        if answer.text:
            content["parts"] = [{"text": answer.text}]
        return {"candidates": [{"content": content, **candidate}], **about}

    def error(self, rejected: Rejected, request_id: str) -> tuple[int, Any]:
        """An error in Google's words. The wait is in ``RetryInfo`` in the body rather than in a header."""
        status, message, word, _ = rejected.worded(_WORDINGS)
        error: dict[str, Any] = {"code": status, "message": message, "status": word}
        if rejected.kind in ("rate_limit", "quota"):
            error["details"] = _quota_details(rejected)
        if rejected.kind == "auth":
            reason = {"reason": "API_KEY_INVALID", "domain": "googleapis.com"}
            error["details"] = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", **reason}]
        return status, {"error": error}

    def model_list(self, models: Iterable[str]) -> dict[str, Any]:
        """The body of a list of models."""
        return {"models": [_entry(model) for model in models]}


def _camel(body: Body) -> Body:
    """The fields by their names in camel case: protobuf's JSON may name them in snake case too, as gateways do."""
    camel = {re.sub("_([a-z])", lambda found: found[1].upper(), name): value for name, value in body.items()}
    return Body(camel, body.place)


def _modern(schema: Any) -> Any:
    """Convert a schema of ``responseSchema``, with types in capitals and ``nullable``, to a JSON schema."""
    if isinstance(schema, list):
        return [_modern(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    fields = {key: _modern(value) for key, value in schema.items() if key not in ("nullable", "propertyOrdering")}
    kind = schema.get("type")
    return fields | {"type": kind.lower()} if isinstance(kind, str) else fields


def _quota_details(rejected: Rejected) -> list[dict[str, Any]]:
    period = "PerDay" if rejected.kind == "quota" else "PerMinute"
    what = "Tokens" if rejected.unit == "tokens" else "Requests"
    violation = {
        "quotaMetric": f"generativelanguage.googleapis.com/generate_content_paid_tier_{what.lower()}",
        "quotaId": f"GenerateContent{what}{period}PerProjectPerModel",
        "quotaDimensions": {"location": "global", "model": rejected.model},
        "quotaValue": str(rejected.limit),
    }
    details: list[dict[str, Any]] = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}
    ]
    # even an exhausted daily quota asks for a wait in seconds
    wait = 38.5 if rejected.kind == "quota" else rejected.retry_after
    if wait is not None:
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{wait:.9g}s"})
    return details


def _entry(model: str) -> dict[str, Any]:
    return {
        "name": f"models/{model}",
        "baseModelId": model,
        "version": "001",
        "displayName": model.replace("-", " ").title(),
        "inputTokenLimit": CONTEXT,
        "outputTokenLimit": MAX_OUTPUT,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }


def _messages(fields: Body) -> tuple[tuple[str, str], ...]:
    if not (contents := fields.objects("contents")):
        raise Rejected("* GenerateContentRequest.contents: contents is not specified", "contents")
    return tuple((_ROLES.get(each.text("role"), "user"), text_of(each.get("parts"))) for each in contents)


def _effort(thinking: Mapping[str, Any]) -> str | None:
    level, budget = thinking.get("thinkingLevel"), thinking.get("thinkingBudget")
    if isinstance(level, str):
        return level.lower()
    if not isinstance(budget, int) or budget < 0:
        return None
    return "none" if budget == 0 else "low" if budget <= 1024 else "medium" if budget <= 8192 else "high"


def _usage(answer: Answer) -> dict[str, int]:
    """The usage; thoughts are counted separately from candidates. Zeros are omitted, as in protobuf's JSON."""
    counts = {
        "promptTokenCount": answer.input_tokens,
        "candidatesTokenCount": answer.text_tokens,
        "thoughtsTokenCount": answer.reasoning_tokens,
        "cachedContentTokenCount": answer.cached,
        "totalTokenCount": answer.input_tokens + answer.output_tokens,
    }
    return {name: count for name, count in counts.items() if count}
