"""Anthropic's Messages format."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from llmkit.providers.wires import failure_rules
from llmkit.providers.wires.answer import Answer
from llmkit.providers.wires.anthropic_batches import VERSION, AnthropicBatches
from llmkit.providers.wires.base import Wire
from llmkit.providers.wires.cache_marks import marked
from llmkit.providers.wires.options import merged, named, settle
from llmkit.providers.wires.served import service_tier
from llmkit.providers.wires.usage import anthropic_usage
from llmkit.providers.wires.values import dig, items, string
from llmkit.records import STANDARD_TIER, Call, FinishReason, Request
from llmkit.records.checks.json_text import plain

_NO_SAMPLING_SINCE = "2026-10-21"
# The format requires a limit. Thinking counts towards it, so this leaves room for some.
DEFAULT_MAX_TOKENS = 8192
_UNKNOWN_MODEL_MAX_TOKENS = 4096

# Thinking tokens for models that accept a budget; the format's minimum is 1,024.
_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 24576, "max": 32768}
_SMALLEST_BUDGET = 1024
_EFFORTS = ("none", "low", "medium", "high", "xhigh", "max")
_TIERS = {
    STANDARD_TIER: ("service_tier", "standard_only"),
    "priority": ("service_tier", "auto"),
    "fast": ("speed", "fast"),
}
_HOME = "us"
_FAST = {"anthropic-beta": "fast-mode-2026-02-01"}  # "some models require" it (anthropic 2.14.0)
_FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


class AnthropicMessages(Wire):
    """``POST /v1/messages``."""

    name = "anthropic_messages"
    caches_what_is_marked = True
    models_path = "/v1/models?limit=1000"
    headers: ClassVar[Mapping[str, str]] = {"anthropic-version": VERSION}
    key_header = "x-api-key"
    batch_api = AnthropicBatches()

    def build(self, call: Call) -> Request:
        """The request for one turn; see ``Wire.build``.

        Without ``params.max_tokens`` the limit is the model's own, at most ``DEFAULT_MAX_TOKENS``, plus the thinking
        budget for models that accept one.
        """
        version = str(call.model.api_config.get("anthropic_version", VERSION))
        style = call.model.api_config.get("reasoning_style", "adaptive")
        params, left_out = settle(call, untaken=_untaken(call, version, style), indispensable=("max_tokens",))
        call = replace(call, params=params)
        budget = _budget(call, style)
        body: dict[str, Any] = {
            "model": call.model.model_id,
            "max_tokens": params.max_tokens or min(_most(call), DEFAULT_MAX_TOKENS + budget),
            "messages": [{"role": message.role, "content": message.content} for message in call.messages],
        }
        if call.system:
            body["system"] = call.system
        body |= named(params, temperature="temperature", top_p="top_p", stop="stop_sequences")
        output: dict[str, Any] = {}
        if budget:
            body["thinking"] = {"type": "enabled", "budget_tokens": budget}
        elif params.reasoning_effort == "none":
            body["thinking"] = {"type": "disabled"}
        elif params.reasoning_effort is not None:
            body["thinking"] = {"type": "adaptive"}
            output["effort"] = params.reasoning_effort
        if params.schema is not None:
            output["format"] = {"type": "json_schema", "schema": plain(params.schema)}
        if output:
            body["output_config"] = output
        body = merged(body | _tier(params.service_tier), params.extra_body)
        return Request(
            path="/v1/messages",
            body=marked(body, call.marks) if call.marks else body,
            unmarked=body if call.marks else None,
            headers={"anthropic-version": version, **(_FAST if body.get("speed") == "fast" else {})},
            left_out=left_out,
        )

    def may_serve(self, body: Mapping[str, Any], listed: Collection[str]) -> frozenset[str]:
        """See ``Wire.may_serve``. A workspace can set a default place of inference, which combines with any tier."""
        tiers = super().may_serve(body, listed)
        if _HOME not in listed or body.get("inference_geo"):
            return tiers
        return tiers | {_HOME} | {f"{tier}+{_HOME}" for tier in tiers if tier != STANDARD_TIER}

    def _by_account(self, listed: Collection[str]) -> Iterable[str]:
        return {"priority"} & {*listed}

    def _read(self, body: Any) -> Answer:
        content, usage = dig(body, "content"), dig(body, "usage")
        reason = string(dig(body, "stop_reason"))
        mark = failure_rules.REFUSAL if reason == "refusal" else None
        if not isinstance(content, list):
            mark = mark or failure_rules.NO_ANSWER
        return Answer(
            text="".join(string(dig(block, "text")) for block in items(content) if dig(block, "type") == "text"),
            finish_reason=_FINISH.get(reason, "other"),
            usage=anthropic_usage(usage),
            service_tier=service_tier(*(dig(usage, name) for name in ("service_tier", "speed", "inference_geo"))),
            model_version=string(dig(body, "model")) or None,
            request_id=string(dig(body, "id")) or None,
            mark=mark,
            words=string(dig(body, "stop_details", "explanation")) or string(dig(body, "stop_details", "category")),
        )


def _tier(tier: str | None) -> dict[str, str]:
    """The fields for a service tier in a body: one for each part of its name."""
    return dict(_TIERS.get(part, ("inference_geo", part)) for part in tier.split("+")) if tier else {}


def _untaken(call: Call, version: str, style: str) -> set[str]:
    params, untaken = call.params, {"seed"}  # the format has no seed
    effort = params.reasoning_effort
    is_known = effort == "none" or bool(_budget(call, style)) if style == "budget" else effort in _EFFORTS
    if style == "none" or not is_known:
        untaken.add("reasoning_effort")
    thinks = effort not in (None, "none") and "reasoning_effort" not in untaken
    if thinks or version >= _NO_SAMPLING_SINCE:  # "may only be set to 1 when thinking is enabled"
        untaken |= {"temperature", "top_p"}
    elif params.temperature is not None:  # "cannot both be specified", since Claude 4.1
        untaken.add("top_p")
    return untaken


def _most(call: Call) -> int:
    return call.params.max_tokens or call.model.max_output_tokens or _UNKNOWN_MODEL_MAX_TOKENS


def _budget(call: Call, style: str) -> int:
    """Thinking tokens; at most half of the limit, to leave room for an answer. 0 means none."""
    wanted = _BUDGETS.get(call.params.reasoning_effort or "", 0) if style == "budget" else 0
    budget = min(wanted, _most(call) // 2)
    return budget if budget >= _SMALLEST_BUDGET else 0
