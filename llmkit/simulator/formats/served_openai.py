"""The server side of OpenAI's two formats, each in the dialect of a provider."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from llmkit.simulator.formats.body_values import Body, messages_of, schema_wanted
from llmkit.simulator.formats.deepseek_dialect import DeepSeek
from llmkit.simulator.formats.mistral_dialect import Mistral
from llmkit.simulator.formats.openai_dialect import OpenAI, ServedDialect
from llmkit.simulator.formats.served_format import Format
from llmkit.simulator.formats.xai_dialect import Xai
from llmkit.simulator.questions import Answer, Question, Rejected

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

    def read(self, model: str, body: Body, headers: Mapping[str, str]) -> Question:
        """See ``Format.read``."""
        messages, form = messages_of(body.get("messages")), body.object("response_format")
        question = Question(
            provider=self.server.provider,
            model=body.model,
            system="\n\n".join(text for role, text in messages if role in _SYSTEM),
            messages=tuple(each for each in messages if each[0] not in _SYSTEM),
            max_tokens=body.integer("max_completion_tokens") or body.integer("max_tokens"),
            temperature=body.real("temperature", most=2.0),
            seed=body.integer(self.server.seed, least=-(2**63)),
            stop=body.texts("stop"),
            effort=_effort(body),
            schema=schema_wanted(form, form.object("json_schema")),
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


def _effort(body: Body) -> str | None:
    """The effort in one of three places: OpenAI's, DeepSeek's switch, OpenRouter's object."""
    if body.object("thinking").get("type") == "disabled":
        return "none"
    return body.text("reasoning_effort") or body.object("reasoning").text("effort")


class Responses(OpenAIFormat):
    """``POST /responses``."""

    path = r"/responses$"

    def read(self, model: str, body: Body, headers: Mapping[str, str]) -> Question:
        """See ``Format.read``."""
        form = body.object("text").object("format")
        question = Question(
            provider=self.server.provider,
            model=body.model,
            system=body.text("instructions") or "",
            messages=_read_input(body.get("input")),
            max_tokens=body.integer("max_output_tokens", least=16),
            temperature=body.real("temperature", most=2.0),
            effort=body.object("reasoning").text("effort"),
            schema=schema_wanted(form, form),
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
    items = value if isinstance(value, list) else []
    return messages_of([each for each in items if isinstance(each, Mapping) and "role" in each], "input")


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
