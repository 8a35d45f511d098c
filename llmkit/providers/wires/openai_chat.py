"""OpenAI's chat completions format, spoken by OpenAI, xAI, DeepSeek, Mistral, OpenRouter and most local servers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from llmkit.providers.wires import failure_rules
from llmkit.providers.wires.answer import Answer
from llmkit.providers.wires.base import Wire
from llmkit.providers.wires.batch_api import BatchApi
from llmkit.providers.wires.openai_batches import MistralBatches, OpenAIBatches, XaiBatches
from llmkit.providers.wires.options import learned_rejects, merged, named, settle
from llmkit.providers.wires.schemas import asks_for_json, json_schema_format
from llmkit.providers.wires.served import service_tier
from llmkit.providers.wires.usage import openai_usage, with_calls
from llmkit.providers.wires.values import dig, items, string
from llmkit.records import BATCH_TIER, STANDARD_TIER, Call, Dialect, FinishReason, Model, Params, Request, Usage

FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "model_length": "length",  # Mistral
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}
_MARKS = {
    "insufficient_system_resource": failure_rules.CUT_SHORT,
    "error": failure_rules.ERROR_ANSWER,
}  # DeepSeek; Mistral, OpenRouter
_OTHER_LIMIT = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}


_BATCHES: Mapping[str, BatchApi] = {"openai": OpenAIBatches(), "mistral": MistralBatches(), "xai": XaiBatches()}


class OpenAIWire(Wire):
    """The common part of the chat completions and responses wires."""

    models_path = "/models"

    def _by_account(self, listed: Collection[str]) -> Iterable[str]:
        return (name for name in listed if name != BATCH_TIER)

    def _tier(self, params: Params) -> dict[str, str]:
        """The service tier's field in a body."""
        word = self.dialect.standard_tier if params.service_tier == STANDARD_TIER else params.service_tier
        return {} if word is None else {"service_tier": word}

    def batches(self) -> BatchApi | None:
        """See ``Wire.batches``. The dialect decides."""
        return _BATCHES.get(self.dialect.batches or "")


class OpenAIChat(OpenAIWire):
    """``POST /chat/completions``; the differences between providers are in ``records.dialects``."""

    name = "openai_chat"

    def build(self, call: Call) -> Request:
        """The request for one turn; see ``Wire.build``."""
        dialect, model, config = self.dialect, call.model, call.model.api_config
        seed_param = config.get("seed_param", dialect.seed_param)
        untaken = () if seed_param else ("seed",)
        params, left_out = settle(call, untaken=untaken, indispensable=("max_tokens",), defaults=dialect.defaults)
        system = [call.system] if call.system else []
        body: dict[str, Any] = {"model": model.model_id}
        limit = _limit_param(model, dialect)
        body |= named(params, max_tokens=limit, temperature="temperature", top_p="top_p", seed=seed_param, stop="stop")
        if params.reasoning_effort is not None:
            body |= _reasoning(config.get("reasoning_style", dialect.reasoning_style), params.reasoning_effort)
        if params.schema is not None and config.get("structured", dialect.structured) == "json_object":
            body["response_format"] = {"type": "json_object"}
            system.append(asks_for_json(params.schema))
        elif params.schema is not None:
            body["response_format"] = {"type": "json_schema", "json_schema": json_schema_format(params.schema)}
        body |= self._tier(params)
        body["messages"] = [
            *({"role": "system", "content": "\n\n".join(system)} for _ in system[:1]),
            *({"role": message.role, "content": message.content} for message in call.messages),
        ]
        return Request(path="/chat/completions", body=merged(body, params.extra_body), left_out=left_out)

    def _read(self, body: Any) -> Answer:
        choice = dig(body, "choices", 0)
        message = dig(choice, "message")
        reason = string(dig(choice, "finish_reason"))
        refusal = string(dig(message, "refusal")).strip()
        text = _text(dig(message, "content"))
        mark = _MARKS.get(reason)
        if not isinstance(message, dict) or not isinstance(message.get("content"), str | list | None):
            mark = mark or failure_rules.NO_ANSWER
        elif refusal and not text.strip():
            mark = failure_rules.REFUSAL
        return Answer(
            text=text,
            finish_reason=FINISH.get(reason, "other"),
            usage=_with_search(openai_usage(dig(body, "usage"), "prompt", "completion", self.dialect), message),
            service_tier=service_tier(dig(body, "service_tier") or dig(body, "usage", "service_tier")),
            model_version=string(dig(body, "model")) or None,
            request_id=string(dig(body, "id")) or None,
            mark=mark,
            words=refusal,
            error=dig(choice, "error") or None,
        )


def _limit_param(model: Model, dialect: Dialect) -> str:
    """The name of the token limit; the other name if the model refused it: without a limit, costs have no bound."""
    name = model.api_config.get("max_tokens_param", dialect.max_tokens_param)
    return _OTHER_LIMIT.get(name, name) if "max_tokens" in learned_rejects(model) else str(name)


def _reasoning(style: str, effort: str) -> dict[str, Any]:
    if style == "object":
        return {"reasoning": {"effort": effort}}
    if style == "thinking":
        if effort == "none":
            return {"thinking": {"type": "disabled"}}
        return {"thinking": {"type": "enabled"}, "reasoning_effort": effort}
    return {"reasoning_effort": effort}


def _with_search(usage: Usage | None, message: Any) -> Usage | None:
    """The usage, with a call for web searches that only their citations in the answer show."""
    is_cited = any(dig(each, "type") == "url_citation" for each in items(dig(message, "annotations")))
    return with_calls(usage, other_calls=1) if is_cited and usage is not None and not usage.searches else usage


def _text(content: Any) -> str:
    """The text of a message, without thinking: of a list of parts (Mistral) only the text parts, and of a text only
    what follows the thoughts with which it begins, if the server leaves them there (vLLM without a reasoning parser).

    Their opening tag is missing where it is part of the prompt; the closing one is then alone on its line.
    """
    if not isinstance(content, str):
        return "".join(map(_part, items(content)))
    thoughts, tag, answer = (text := string(content)).partition("</think>")
    is_alone = tag and f"\n{thoughts}"[-1] == f"{answer}\n"[0] == "\n" and "think>" not in thoughts + answer
    return answer.lstrip() if is_alone or thoughts.lstrip().startswith("<think>") else text


def _part(part: Any) -> str:
    if isinstance(part, str):
        return string(part)
    return string(dig(part, "text")) if dig(part, "type") in ("text", "output_text") else ""
