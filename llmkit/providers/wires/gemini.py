"""Google's generateContent format."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from llmkit.providers.wires import failure_rules
from llmkit.providers.wires.answer import Answer
from llmkit.providers.wires.base import Wire
from llmkit.providers.wires.gemini_batches import GeminiBatches
from llmkit.providers.wires.options import merged, named, settle
from llmkit.providers.wires.served import service_tier
from llmkit.providers.wires.usage import gemini_usage, with_calls
from llmkit.providers.wires.values import dig, items, string
from llmkit.records import Call, FinishReason, Params, Request
from llmkit.records.checks.json_text import plain

# From Google's documentation of its OpenAI-compatible endpoint: efforts as thinking budgets of the 2.5 models.
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
_LEVELS = ("minimal", "low", "medium", "high", "xhigh")
_FILTERED = (
    "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "MODEL_ARMOR",
)  # fmt: skip
_FINISH: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    **dict.fromkeys(_FILTERED, "content_filter"),
}


class Gemini(Wire):
    """``POST /v1beta/models/{model}:generateContent``. The key travels in a header, never in the URL."""

    name = "gemini"
    models_path = "/v1beta/models?pageSize=1000"
    key_header = "x-goog-api-key"
    batch_api = GeminiBatches()

    def build(self, call: Call) -> Request:
        """The request for one turn; see ``Wire.build``."""
        style = call.model.api_config.get("reasoning_style", "level")
        params, left_out = settle(call, untaken=_untaken(call.params, style))
        names = {"max_tokens": "maxOutputTokens", "temperature": "temperature", "top_p": "topP"}
        generation = named(params, **names, seed="seed", stop="stopSequences")
        if (effort := params.reasoning_effort) is not None:
            level = {"thinkingBudget": _BUDGETS[effort]} if style == "budget" else {"thinkingLevel": effort.upper()}
            generation["thinkingConfig"] = level
        if params.schema is not None:
            generation |= {"responseMimeType": "application/json", "responseJsonSchema": plain(params.schema)}
        body: dict[str, Any] = {
            "contents": [
                {"role": "model" if message.role == "assistant" else "user", "parts": [{"text": message.content}]}
                for message in call.messages
            ]
        }
        if call.system:
            body["systemInstruction"] = {"parts": [{"text": call.system}]}
        if params.service_tier is not None:
            body["serviceTier"] = params.service_tier
        if generation:
            body["generationConfig"] = generation
        model_id = quote(call.model.model_id.removeprefix("models/"), safe="")
        return Request(
            path=f"/v1beta/models/{model_id}:generateContent",
            body=merged(body, params.extra_body),
            left_out=left_out,
        )

    def _read(self, body: Any) -> Answer:
        candidate, usage = dig(body, "candidates", 0), dig(body, "usageMetadata")
        blocked = string(dig(body, "promptFeedback", "blockReason"))
        reason = string(dig(candidate, "finishReason"))
        missing = failure_rules.BLOCKED if blocked else failure_rules.NO_ANSWER
        return Answer(
            text="".join(
                string(dig(part, "text"))
                for part in items(dig(candidate, "content", "parts"))
                if not dig(part, "thought")
            ),
            finish_reason=_FINISH.get(reason, "content_filter" if blocked else "other"),
            usage=with_calls(gemini_usage(usage), other_calls=_grounding(dig(candidate, "groundingMetadata"))),
            service_tier=service_tier(dig(usage, "serviceTier"), dig(usage, "trafficType")),
            model_version=string(dig(body, "modelVersion")) or None,
            request_id=string(dig(body, "responseId")) or None,
            mark=None if isinstance(candidate, dict) else missing,
            words=string(dig(body, "promptFeedback", "blockReasonMessage"))
            or string(dig(candidate, "finishMessage"))
            or blocked
            or (reason if reason not in ("STOP", "MAX_TOKENS") else ""),
        )


def _grounding(metadata: Any) -> int:
    """Searches for an answer, which are billed per prompt or per query beyond a free daily number. Those of maps and
    documents are not listed, only what they found.
    """
    queries = [each for name in ("webSearchQueries", "imageSearchQueries") for each in items(dig(metadata, name))]
    return len(queries) or int(bool(items(dig(metadata, "groundingChunks"))))


def _untaken(params: Params, style: str) -> tuple[str, ...]:
    effort = params.reasoning_effort
    sendable = effort is None or effort in (_BUDGETS if style == "budget" else _LEVELS)
    return () if sendable else ("reasoning_effort",)
