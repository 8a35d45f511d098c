"""DeepSeek's dialect of chat completions."""

from __future__ import annotations

from typing import Any

from llmkit.simulator.formats.body_values import Body
from llmkit.simulator.formats.openai_dialect import THOUGHT, TOO_LONG, ServedDialect
from llmkit.simulator.questions import Answer, Question, Rejected, Wording

_BUSY = "Service is too busy. We advise users to temporarily switch to alternative providers."
_WORDINGS = {
    "rate_limit": Wording(429, "Rate limit reached for requests"),
    "quota": Wording(402, "Insufficient Balance"),
    "auth": Wording(401, "Authentication Fails, your api key is invalid", "authentication_error"),
    "server_error": Wording(500, "Internal Server Error"),
    "overloaded": Wording(503, _BUSY),
    "too_long": Wording(400, f"This model's {TOO_LONG}"),
    "not_found": Wording(400, "Model Not Exist"),
    "blocked": Wording(400, "Content Exists Risk"),
    "invalid": Wording(400),
}


class DeepSeek(ServedDialect):
    """No version in the path, a content filter instead of refusals, and cache hits and misses in the usage."""

    prefix = ""
    models = ("deepseek-flash", "deepseek-v4-pro")
    id_headers = ("x-ds-trace-id",)
    reports_limits = False
    filters_refusals = True

    def check(self, question: Question, body: Body) -> None:
        """JSON mode accepts no schema, and the prompt must mention JSON."""
        form = body.object("response_format").get("type")
        if form == "json_schema":
            raise Rejected("This response_format type is unavailable now", "response_format")
        if form == "json_object" and "json" not in question.characters.lower():
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
        status, message, kind, _ = rejected.worded(_WORDINGS)
        body = {"message": message, "type": kind or "unknown_error", "param": None, "code": "invalid_request_error"}
        return status, {"error": body}
