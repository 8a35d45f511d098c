"""OpenAI's chat completions, and what xAI, DeepSeek and Mistral make of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from llmkit.simulator.formats.body_values import integer, mapping, messages_of, model_of, real, schema_of, texts
from llmkit.simulator.formats.refused_parameters import check_chat
from llmkit.simulator.formats.ticks import cost_in_ticks
from llmkit.simulator.questions import Answered, Asked, WireName, number

_SYSTEM = ("system", "developer")
_THOUGHT = "Let me think about what is being asked, and what would change the answer."


class Chat:
    """``POST /chat/completions``."""

    name: WireName = "openai_chat"

    def read(self, provider: str, model: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Asked:
        """What is asked.

        Raises:
            Rejected: the provider would not take it.
        """
        all_messages = messages_of(body.get("messages"))
        limit = integer(body, "max_completion_tokens") or integer(body, "max_tokens")
        form = mapping(body.get("response_format"), "response_format")
        wanted = mapping(form.get("json_schema"), "response_format.json_schema")
        asked = Asked(
            provider=provider,
            wire=self.name,
            model=model_of(body),
            system="\n\n".join(text for role, text in all_messages if role in _SYSTEM),
            messages=tuple(each for each in all_messages if each[0] not in _SYSTEM),
            max_tokens=limit,
            temperature=real(body, "temperature", most=2.0),
            seed=integer(body, "random_seed" if provider == "mistral" else "seed", least=-(2**63)),
            stop=texts(body.get("stop")),
            effort=_effort(body),
            schema=schema_of(wanted.get("schema"), "response_format") if form.get("type") == "json_schema" else None,
            wants_json=form.get("type") in ("json_schema", "json_object"),
        )
        check_chat(asked, body)
        return asked

    def write(self, asked: Asked, answered: Answered, request_id: str) -> dict[str, Any]:
        """The body of a 200."""
        body = {
            "id": f"chatcmpl-{request_id}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": version_of(asked),
            "choices": [
                {
                    "index": 0,
                    "message": _message(asked, answered),
                    "logprobs": None,
                    "finish_reason": _finish(asked, answered),
                }
            ],
            "usage": _usage(asked, answered),
        }
        return body if asked.provider == "mistral" else body | {"system_fingerprint": "fp_simulated"}


def version_of(asked: Asked) -> str:
    """The model that answers say they came from: OpenAI resolves an alias to a dated snapshot."""
    if asked.provider != "openai" or (asked.model[-2:].isdecimal() and asked.model.count("-") >= 4):
        return asked.model
    return f"{asked.model}-2026-10-01"


def _effort(body: Mapping[str, Any]) -> str | None:
    """The effort in one of three places: OpenAI's, DeepSeek's switch, OpenRouter's object."""
    if mapping(body.get("thinking"), "thinking").get("type") == "disabled":
        return "none"
    effort = body.get("reasoning_effort") or mapping(body.get("reasoning"), "reasoning").get("effort")
    return effort if isinstance(effort, str) else None


def _finish(asked: Asked, answered: Answered) -> str:
    return "content_filter" if answered.refusal is not None and asked.provider == "deepseek" else answered.finish


def _message(asked: Asked, answered: Answered) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answered.text}
    if asked.provider == "mistral":
        if answered.refusal is not None:
            return message | {"content": answered.refusal}  # in prose: there is no field for it
        # A list when there is thinking to show, and now and then for no reason that one could see.
        if answered.reasoning_tokens and answered.text:
            thinking = {"type": "thinking", "thinking": [{"type": "text", "text": _THOUGHT}]}
            message["content"] = [thinking, {"type": "text", "text": answered.text}]
        elif answered.text and number("list", answered.text) % 5 == 0:
            message["content"] = [{"type": "text", "text": answered.text}]
        return message | {"tool_calls": None}
    if asked.provider in ("xai", "deepseek") and answered.reasoning_tokens:
        message["reasoning_content"] = _THOUGHT
    if asked.provider == "deepseek":
        return message
    return message | {"content": answered.text if answered.refusal is None else None, "refusal": answered.refusal}


def _usage(asked: Asked, answered: Answered) -> dict[str, Any]:
    """Reasoning is part of the completion tokens, but for xAI, where only the total has it."""
    xai = asked.provider == "xai"
    usage: dict[str, Any] = {
        "prompt_tokens": answered.input_tokens,
        "completion_tokens": answered.text_tokens if xai else answered.output_tokens,
        "total_tokens": answered.input_tokens + answered.output_tokens,
        "prompt_tokens_details": {"cached_tokens": answered.cached},
        "completion_tokens_details": {"reasoning_tokens": answered.reasoning_tokens},
    }
    if asked.provider == "openai" and writes_to_cache(asked.model):
        usage["prompt_tokens_details"]["cache_write_tokens"] = answered.written
    if asked.provider == "deepseek":
        usage["prompt_cache_hit_tokens"] = answered.cached
        usage["prompt_cache_miss_tokens"] = answered.input_tokens - answered.cached
    if xai:
        usage |= {"num_sources_used": 0, "cost_in_usd_ticks": cost_in_ticks(asked.model, answered)}
    return usage


def writes_to_cache(model: str) -> bool:
    """Whether OpenAI charges for writing the model's prompt cache: since gpt-5.6."""
    return model.startswith(("gpt-5.6", "gpt-5.7", "gpt-5.8", "gpt-5.9", "gpt-6"))
