"""OpenAI's Responses format: the only one for its pro, codex and deep-research models; xAI supports it too."""

from __future__ import annotations

from typing import Any

from llmkit.providers.wires import failure_rules
from llmkit.providers.wires.answer import Answer
from llmkit.providers.wires.openai_chat import OpenAIWire
from llmkit.providers.wires.options import merged, named, settle
from llmkit.providers.wires.schemas import json_schema_format
from llmkit.providers.wires.served import service_tier
from llmkit.providers.wires.usage import openai_usage, with_calls
from llmkit.providers.wires.values import dig, items, string
from llmkit.records import Call, FinishReason, Request

_INCOMPLETE: dict[str, FinishReason] = {"max_output_tokens": "length", "content_filter": "content_filter"}
_SEARCH = "web_search_call"
_FREE_CALLS = {  # of tools that run elsewhere, or cost their tokens only; any other may cost something
    "apply_patch_call", "computer_call", "custom_tool_call", "function_call", "local_shell_call", "mcp_call",
    "tool_search_call", _SEARCH,
}  # fmt: skip
_UNTAKEN = ("seed", "stop")  # not part of the format


class OpenAIResponses(OpenAIWire):
    """``POST /responses``, never stored by the provider."""

    name = "openai_responses"

    def build(self, call: Call) -> Request:
        """The request for one turn; see ``Wire.build``. ``store`` is sent as false: its default is true."""
        params, left_out = settle(call, untaken=_UNTAKEN)
        body: dict[str, Any] = {
            "model": call.model.model_id,
            "input": [{"role": message.role, "content": message.content} for message in call.messages],
            "store": False,
        }
        if call.system:
            body["instructions"] = call.system
        body |= named(params, max_tokens="max_output_tokens", temperature="temperature", top_p="top_p")
        if params.reasoning_effort is not None:
            body["reasoning"] = {"effort": params.reasoning_effort}
        if params.schema is not None:
            body["text"] = {"format": {"type": "json_schema", **json_schema_format(params.schema)}}
        body |= self._tier(params)
        return Request(path="/responses", body=merged(body, params.extra_body), left_out=left_out)

    def _read(self, body: Any) -> Answer:
        parts = [
            part
            for item in items(dig(body, "output"))
            if dig(item, "type") == "message"
            for part in items(dig(item, "content"))
        ]
        text = "".join(string(dig(part, "text")) for part in parts if dig(part, "type") == "output_text")
        refusal = "".join(string(dig(part, "refusal")) for part in parts if dig(part, "type") == "refusal").strip()
        calls = [kind for item in items(dig(body, "output")) if (kind := string(dig(item, "type"))).endswith("_call")]
        status = string(dig(body, "status"))
        incomplete = string(dig(body, "incomplete_details", "reason"))
        return Answer(
            text=text,
            finish_reason="stop" if status == "completed" else _INCOMPLETE.get(incomplete, "other"),
            usage=with_calls(
                openai_usage(dig(body, "usage"), "input", "output", self.dialect),
                searches=calls.count(_SEARCH),
                other_calls=sum(call not in _FREE_CALLS for call in calls),
            ),
            service_tier=service_tier(dig(body, "service_tier")),
            model_version=string(dig(body, "model")) or None,
            request_id=string(dig(body, "id")) or None,
            mark=_mark(status, text, refusal, has_output=isinstance(dig(body, "output"), list)),
            words=refusal,
        )


def _mark(status: str, text: str, refusal: str, *, has_output: bool) -> str | None:
    if status == "failed":
        return failure_rules.ERROR_ANSWER
    if status not in ("completed", "incomplete") or not has_output:
        return failure_rules.NO_ANSWER
    return failure_rules.REFUSAL if refusal and not text.strip() else None
