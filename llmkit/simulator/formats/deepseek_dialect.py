"""DeepSeek's dialect of chat completions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llmkit.simulator.formats.openai_dialect import THOUGHT, TOO_LONG, ServedDialect
from llmkit.simulator.problems import Rejected
from llmkit.simulator.questions import Answer, Question


class DeepSeek(ServedDialect):
    """No version in the path, a content filter instead of refusals, and cache hits and misses in the usage."""

    prefix = ""
    models = ("deepseek-flash", "deepseek-v4-pro")
    id_headers = ("x-ds-trace-id",)
    reports_limits = False
    filters_refusals = True

    def check(self, question: Question, body: Mapping[str, Any]) -> None:
        """JSON mode accepts no schema, and the prompt must mention JSON."""
        form = body.get("response_format") or {}
        if form.get("type") == "json_schema":
            raise Rejected("This response_format type is unavailable now", "response_format")
        if form.get("type") == "json_object" and "json" not in question.characters.lower():
            raise Rejected("Prompt must contain the word 'json' to use 'response_format' of type 'json_object'.")

    def message(self, answer: Answer) -> dict[str, Any]:
        """The message, with the reasoning in a field of its own."""
        message = {"role": "assistant", "content": answer.text}
        return message | ({"reasoning_content": THOUGHT} if answer.reasoning_tokens else {})

    def usage(self, question: Question, answer: Answer, read: str, written: str) -> dict[str, Any]:
        """The usage, with cache hits and misses."""
        hits, misses = answer.cached, answer.input_tokens - answer.cached
        own = {"prompt_cache_hit_tokens": hits, "prompt_cache_miss_tokens": misses}
        return super().usage(question, answer, read, written) | own

    def entry(self, model: str) -> dict[str, Any]:
        """A model in the list, with little information."""
        return {"id": model, "object": "model", "owned_by": self.provider}

    def error(self, rejected: Rejected, request_id: str) -> tuple[int, Any]:
        """An error in OpenAI's shape with uninformative types and codes; only the status tells errors apart."""
        status, message = {
            "rate_limit": (429, "Rate limit reached for requests"),
            "quota": (402, "Insufficient Balance"),
            "auth": (401, "Authentication Fails, your api key is invalid"),
            "server_error": (500, "Internal Server Error"),
            "overloaded": (503, "Service is too busy. We advise users to temporarily switch to alternative providers."),
            "too_long": (400, f"This model's {TOO_LONG}"),
            "not_found": (400, "Model Not Exist"),
            "blocked": (400, "Content Exists Risk"),
        }.get(rejected.kind, (400, ""))
        body = {
            "message": rejected.message or message,
            "type": "authentication_error" if rejected.kind == "auth" else "unknown_error",
            "param": None,
            "code": "invalid_request_error",
        }
        return status, {"error": body}
