"""OpenAI's chat completions, and what xAI, DeepSeek and Mistral make of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from llmkit.records import WireName
from llmkit.simulator.formats.body_values import integer, mapping, messages_of, model_of, real, schema_of, texts
from llmkit.simulator.formats.refused_parameters import check_chat
from llmkit.simulator.formats.ticks import cost_in_ticks
from llmkit.simulator.questions import Answer, Question, number

_SYSTEM = ("system", "developer")
_THOUGHT = "Let me think about what is being asked, and what would change the answer."


class Chat:
    """``POST /chat/completions``."""

    name: WireName = "openai_chat"

    def read(self, provider: str, model: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Question:
        """What is asked.

        Raises:
            Rejected: the provider would not take it.
        """
        all_messages = messages_of(body.get("messages"))
        limit = integer(body, "max_completion_tokens") or integer(body, "max_tokens")
        form = mapping(body.get("response_format"), "response_format")
        wanted = mapping(form.get("json_schema"), "response_format.json_schema")
        question = Question(
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
        check_chat(question, body)
        return question

    def write(self, question: Question, answer: Answer, request_id: str) -> dict[str, Any]:
        """The body of a 200."""
        body = {
            "id": f"chatcmpl-{request_id}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": version_of(question),
            "choices": [
                {
                    "index": 0,
                    "message": _message(question, answer),
                    "logprobs": None,
                    "finish_reason": _finish(question, answer),
                }
            ],
            "usage": _usage(question, answer),
        }
        return body if question.provider == "mistral" else body | {"system_fingerprint": "fp_simulated"}


def version_of(question: Question) -> str:
    """The model that answers say they came from: OpenAI resolves an alias to a dated snapshot."""
    if question.provider != "openai" or (question.model[-2:].isdecimal() and question.model.count("-") >= 4):
        return question.model
    return f"{question.model}-2026-10-01"


def _effort(body: Mapping[str, Any]) -> str | None:
    """The effort in one of three places: OpenAI's, DeepSeek's switch, OpenRouter's object."""
    if mapping(body.get("thinking"), "thinking").get("type") == "disabled":
        return "none"
    effort = body.get("reasoning_effort") or mapping(body.get("reasoning"), "reasoning").get("effort")
    return effort if isinstance(effort, str) else None


def _finish(question: Question, answer: Answer) -> str:
    return "content_filter" if answer.refusal is not None and question.provider == "deepseek" else answer.finish


def _message(question: Question, answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text}
    if question.provider == "mistral":
        if answer.refusal is not None:
            return message | {"content": answer.refusal}  # in prose: there is no field for it
        # A list when there is thinking to show, and now and then for no reason that one could see.
        if answer.reasoning_tokens and answer.text:
            thinking = {"type": "thinking", "thinking": [{"type": "text", "text": _THOUGHT}]}
            message["content"] = [thinking, {"type": "text", "text": answer.text}]
        elif answer.text and number("list", answer.text) % 5 == 0:
            message["content"] = [{"type": "text", "text": answer.text}]
        return message | {"tool_calls": None}
    if question.provider in ("xai", "deepseek") and answer.reasoning_tokens:
        message["reasoning_content"] = _THOUGHT
    if question.provider == "deepseek":
        return message
    return message | {"content": answer.text if answer.refusal is None else None, "refusal": answer.refusal}


def _usage(question: Question, answer: Answer) -> dict[str, Any]:
    """Reasoning is part of the completion tokens, but for xAI, where only the total has it."""
    xai = question.provider == "xai"
    usage: dict[str, Any] = {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.text_tokens if xai else answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cached},
        "completion_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
    }
    if question.provider == "openai" and writes_to_cache(question.model):
        usage["prompt_tokens_details"]["cache_write_tokens"] = answer.written
    if question.provider == "deepseek":
        usage["prompt_cache_hit_tokens"] = answer.cached
        usage["prompt_cache_miss_tokens"] = answer.input_tokens - answer.cached
    if xai:
        usage |= {"num_sources_used": 0, "cost_in_usd_ticks": cost_in_ticks(question.model, answer)}
    return usage


def writes_to_cache(model: str) -> bool:
    """Whether OpenAI charges for writing the model's prompt cache: since gpt-5.6."""
    return model.startswith(("gpt-5.6", "gpt-5.7", "gpt-5.8", "gpt-5.9", "gpt-6"))
