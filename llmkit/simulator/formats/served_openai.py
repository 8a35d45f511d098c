"""The server side of OpenAI's two formats, each in the dialect of a provider."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from llmkit.simulator.formats.body_values import (
    integer,
    mapping,
    messages_of,
    model_of,
    real,
    schema_of,
    text_or_none,
    texts,
)
from llmkit.simulator.formats.deepseek_dialect import DeepSeek
from llmkit.simulator.formats.mistral_dialect import Mistral
from llmkit.simulator.formats.openai_dialect import OpenAI, ServedDialect
from llmkit.simulator.formats.served_format import Format
from llmkit.simulator.formats.xai_dialect import Xai
from llmkit.simulator.problems import Rejected
from llmkit.simulator.questions import Answer, Question

DIALECTS: Mapping[str, type[ServedDialect]] = {"openai": OpenAI, "xai": Xai, "deepseek": DeepSeek, "mistral": Mistral}
"""Dialects by provider; all others speak OpenAI's formats without changes."""
_SYSTEM = ("system", "developer")
_OF_CHAT = ("messages", "max_tokens", "max_completion_tokens", "seed", "stop", "response_format")


class OpenAIFormat(Format):
    """Either of OpenAI's formats, in the dialect of a provider."""

    usual = "openai"
    server: ServedDialect

    def __init__(self, provider: str) -> None:
        self.server = DIALECTS.get(provider, ServedDialect)(provider)


class Chat(OpenAIFormat):
    """``POST /chat/completions``."""

    path = r"/chat/completions$"

    def read(self, model: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Question:
        """See ``Format.read``."""
        all_messages = messages_of(body.get("messages"))
        limit = integer(body, "max_completion_tokens") or integer(body, "max_tokens")
        form = mapping(body.get("response_format"), "response_format")
        wanted = mapping(form.get("json_schema"), "response_format.json_schema")
        question = Question(
            provider=self.server.provider,
            model=model_of(body),
            system="\n\n".join(text for role, text in all_messages if role in _SYSTEM),
            messages=tuple(each for each in all_messages if each[0] not in _SYSTEM),
            max_tokens=limit,
            temperature=real(body, "temperature", most=2.0),
            seed=integer(body, self.server.seed, least=-(2**63)),
            stop=texts(body.get("stop")),
            effort=_effort(body),
            schema=schema_of(wanted.get("schema"), "response_format") if form.get("type") == "json_schema" else None,
            wants_json=form.get("type") in ("json_schema", "json_object"),
        )
        self.server.check(question, body)
        return question

    def write(self, question: Question, answer: Answer, request_id: str) -> dict[str, Any]:
        """The body of a 200."""
        is_filtered = self.server.filters_refusals and answer.refusal is not None
        return {
            "id": f"chatcmpl-{request_id}",
            "object": "chat.completion",
            "created": int(time.time()),
            "model": self.server.version(question.model),
            "choices": [
                {
                    "index": 0,
                    "message": self.server.message(answer),
                    "logprobs": None,
                    "finish_reason": "content_filter" if is_filtered else answer.finish,
                }
            ],
            "usage": self.server.usage(question, answer, "prompt", "completion"),
            "system_fingerprint": "fp_simulated",
        }


def _effort(body: Mapping[str, Any]) -> str | None:
    """The effort in one of three places: OpenAI's, DeepSeek's switch, OpenRouter's object."""
    if mapping(body.get("thinking"), "thinking").get("type") == "disabled":
        return "none"
    effort = body.get("reasoning_effort") or mapping(body.get("reasoning"), "reasoning").get("effort")
    return effort if isinstance(effort, str) else None


class Responses(OpenAIFormat):
    """``POST /responses``."""

    path = r"/responses$"

    def read(self, model: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Question:
        """See ``Format.read``."""
        form = mapping(mapping(body.get("text"), "text").get("format"), "text.format")
        effort = mapping(body.get("reasoning"), "reasoning").get("effort")
        question = Question(
            provider=self.server.provider,
            model=model_of(body),
            system=text_or_none(body.get("instructions")) or "",
            messages=_read_input(body.get("input")),
            max_tokens=integer(body, "max_output_tokens", least=16),
            temperature=real(body, "temperature", most=2.0),
            effort=text_or_none(effort),
            schema=schema_of(form.get("schema"), "text.format") if form.get("type") == "json_schema" else None,
            wants_json=form.get("type") in ("json_schema", "json_object"),
        )
        for name in _OF_CHAT:
            if name in body:
                raise Rejected(f"Unknown parameter: '{name}'.", name)
        self.server.check(question, body)
        return question

    def write(self, question: Question, answer: Answer, request_id: str) -> dict[str, Any]:
        """The body of a 200."""
        reason = "max_output_tokens" if answer.finish == "length" else None
        now = int(time.time())
        return {
            "id": f"resp_{request_id}",
            "object": "response",
            "created_at": now,
            "completed_at": now,
            "status": "completed" if reason is None else "incomplete",
            "error": None,
            "incomplete_details": None if reason is None else {"reason": reason},
            "instructions": question.system or None,
            "max_output_tokens": question.max_tokens,
            "model": self.server.version(question.model),
            "output": _output(answer, request_id),
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "reasoning": {"effort": question.effort, "summary": None},
            "store": False,
            "temperature": question.temperature,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": [],
            "truncation": "disabled",
            "metadata": {},
            "usage": self.server.usage(question, answer, "input", "output"),
        }


def _read_input(value: Any) -> tuple[tuple[str, str], ...]:
    if isinstance(value, str) and value:
        return (("user", value),)
    if not isinstance(value, list) or not value:
        raise Rejected("Missing required parameter: 'input'.", "input")
    return tuple(messages_of([each for each in value if isinstance(each, Mapping) and "role" in each], "input"))


def _output(answer: Answer, request_id: str) -> list[dict[str, Any]]:
    output: list[dict[str, Any]] = []
    if answer.reasoning_tokens:
        output.append({"type": "reasoning", "id": f"rs_{request_id}", "summary": []})
    if answer.refusal is not None:
        content: dict[str, Any] = {"type": "refusal", "refusal": answer.refusal}
    else:
        content = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
    if answer.text or answer.refusal is not None:
        status = "completed" if answer.finish == "stop" else "incomplete"
        message = {"type": "message", "id": f"msg_{request_id}", "status": status, "role": "assistant"}
        output.append({**message, "content": [content]})
    return output
