"""Anthropic's Messages format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmkit.records import WireName
from llmkit.simulator.formats.body_values import (
    integer,
    mapping,
    messages_of,
    model_of,
    real,
    schema_of,
    text_of,
    texts,
)
from llmkit.simulator.formats.problems import invalid
from llmkit.simulator.formats.refused_parameters import check_anthropic
from llmkit.simulator.questions import Answer, Question


class Anthropic:
    """``POST /v1/messages``."""

    name: WireName = "anthropic_messages"

    def read(self, provider: str, model: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Question:
        """What is asked.

        Raises:
            Rejected: the provider would not take it.
        """
        output = mapping(body.get("output_config"), "output_config")
        form = mapping(output.get("format"), "output_config.format")
        limit = integer(body, "max_tokens")
        if limit is None:
            raise invalid("max_tokens: Field required", "max_tokens")
        question = Question(
            provider=provider,
            wire=self.name,
            model=model_of(body),
            system=text_of(body.get("system")),
            messages=tuple(messages_of(body.get("messages"))),
            max_tokens=limit,
            temperature=real(body, "temperature", most=1.0),
            stop=texts(body.get("stop_sequences")),
            effort=_effort(body, output),
            schema=schema_of(form.get("schema"), "output_config.format"),
            wants_json=form.get("type") == "json_schema",
            caches=_has_cache_control(body),
        )
        check_anthropic(question, body, headers)
        return question

    def write(self, question: Question, answer: Answer, request_id: str) -> dict[str, Any]:
        """The body of a 200."""
        refused = answer.refusal is not None
        content: list[dict[str, Any]] = []
        if answer.reasoning_tokens and not refused:
            content.append({"type": "thinking", "thinking": "", "signature": "c2ltdWxhdGVk"})
        if answer.text:
            content.append({"type": "text", "text": answer.text})
        details = {"type": "refusal", "category": None, "explanation": answer.refusal}
        finish = "refusal" if refused else "max_tokens" if answer.finish == "length" else "end_turn"
        return {
            "id": f"msg_{request_id}",
            "type": "message",
            "role": "assistant",
            "model": question.model,
            "content": content,
            "stop_reason": finish,
            "stop_sequence": None,
            "stop_details": details if refused else None,
            "usage": _usage(answer),
        }


def _effort(body: Mapping[str, Any], output: Mapping[str, Any]) -> str | None:
    """The effort that ``thinking`` and ``output_config.effort`` amount to; a budget is the effort that it allows."""
    thinking = mapping(body.get("thinking"), "thinking")
    if thinking.get("type") == "disabled":
        return "none"
    if budget := integer(thinking, "budget_tokens", least=1024):
        return "low" if budget <= 2048 else "medium" if budget <= 8192 else "high"
    effort = output.get("effort")
    if isinstance(effort, str):
        return effort
    return "medium" if thinking else None


def _has_cache_control(body: Mapping[str, Any]) -> bool:
    """Whether anything is marked for the cache, at the top or on a block; nothing is cached without."""
    if body.get("cache_control"):
        return True
    contents = [body.get("system"), *(each.get("content") for each in body["messages"] if isinstance(each, Mapping))]
    blocks = [block for content in contents if isinstance(content, list) for block in content]
    return any(isinstance(block, Mapping) and block.get("cache_control") for block in blocks)


def _usage(answer: Answer) -> dict[str, Any]:
    """Input tokens are those that the cache had no part in."""
    return {
        "input_tokens": answer.input_tokens - answer.cached - answer.written,
        "cache_creation_input_tokens": answer.written,
        "cache_read_input_tokens": answer.cached,
        "cache_creation": {"ephemeral_5m_input_tokens": answer.written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"thinking_tokens": answer.reasoning_tokens},
        "service_tier": "standard",
    }
