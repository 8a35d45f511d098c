"""The server side of OpenAI's chat completions, which most providers speak in their own dialect."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

from llmkit.records import WireName
from llmkit.simulator.formats.body_values import integer, mapping, messages_of, model_of, real, schema_of, texts
from llmkit.simulator.formats.served_openai import OpenAIFormat
from llmkit.simulator.questions import Answer, Question

_SYSTEM = ("system", "developer")


class Chat(OpenAIFormat):
    """``POST /chat/completions``."""

    name: ClassVar[WireName] = "openai_chat"
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
                    "finish_reason": self.server.finish(answer),
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
