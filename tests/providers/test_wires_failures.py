"""What a user reads when a request fails."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from llmkit.errors import Code
from llmkit.providers.wires import WIRES
from llmkit.records import Call, Completion, Failure, HttpResponse, Message, Model


def failure(body: Any, status: int = 400, wire: str = "openai_chat") -> Failure:
    """What the wire makes of an error."""
    call = Call(model=Model(provider="openai", model_id="m", display_name="m"), messages=(Message("user", "hi"),))
    raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    response = HttpResponse(status=status, headers={}, body=raw, received_at=datetime(2026, 11, 23, tzinfo=UTC))
    outcome = WIRES[wire].parse(call, response)
    assert isinstance(outcome, Failure)
    return outcome


def test_message_is_a_sentence_with_the_providers_own_words() -> None:
    """Our sentence comes first, the provider's after it."""
    assert failure({"error": {"message": "The model is\n overloaded."}}, 503).message == (
        "The provider is overloaded: The model is overloaded."
    )
    assert failure("", 503).message == "The provider is overloaded."


def test_words_count_before_the_status_that_an_error_inside_a_200_names() -> None:
    """An empty account or a blocked prompt is no passing trouble of the server, whatever type its error has."""
    error = {"message": "Insufficient Balance", "type": "api_error"}
    assert failure({"error": error}, 200).code == Code.QUOTA_EXHAUSTED
    assert failure({"error": {"code": "content_filter", "type": "server_error"}}, 200).code == Code.CONTENT_BLOCKED
    assert failure({"error": {"type": "server_error"}}, 200).code == Code.SERVER_ERROR


def test_long_messages_are_cut() -> None:
    """A provider that echoes a whole prompt does not fill a table cell."""
    message = failure({"error": {"message": "x" * 10_000}}).message
    assert len(message) < 400
    assert message.endswith("…")


def test_html_pages_are_read_without_their_tags() -> None:
    """What a proxy's page says is kept, its markup is not."""
    page = "<html><head><style>b{color:red}</style></head><body><h1>502 Bad Gateway</h1><hr>nginx</body></html>"
    assert failure(page, 502).message == "The provider had an internal error: 502 Bad Gateway nginx"


def test_upstream_error_inside_a_text_is_opened() -> None:
    """OpenRouter passes the upstream's error on as JSON inside a text; its sentence is shown."""
    raw = json.dumps({"error": {"message": "The upstream is tired."}})
    body = {"error": {"code": 502, "message": "Provider returned error", "metadata": {"raw": raw}}}
    assert failure(body, 502).message.endswith("Provider returned error The upstream is tired.")


def answered(body: bytes) -> Completion:
    """What the wire makes of an answer."""
    call = Call(model=Model(provider="openai", model_id="m", display_name="m"), messages=())
    response = HttpResponse(status=200, headers={}, body=body, received_at=datetime(2026, 11, 23, tzinfo=UTC))
    outcome = WIRES["openai_chat"].parse(call, response)
    assert isinstance(outcome, Completion)
    return outcome


def test_words_of_an_answer_do_not_make_it_a_failure() -> None:
    """An answer that talks about rate limits and quotas is an answer."""
    text = "insufficient_quota: rate limit exceeded, too many requests"
    body = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
    assert answered(json.dumps(body).encode()).text == text


def test_a_paid_answer_with_a_flaw_is_an_answer() -> None:
    """Cut within a character, or in parts that are plain texts: the text is there, so it is not asked again."""
    cut = b'{"choices": [{"message": {"content": "caf\xc3"}, "finish_reason": "length"}]}'
    assert answered(cut).text == "caf\ufffd"
    parts = b'{"choices": [{"message": {"content": ["he", "llo"]}, "finish_reason": "stop"}]}'
    assert answered(parts).text == "hello"


def test_content_of_no_known_form_is_not_called_empty() -> None:
    """A number where the text should be is an invalid answer."""
    body = {"choices": [{"message": {"content": 42}, "finish_reason": "stop"}]}
    assert failure(body, 200).code == Code.INVALID_RESPONSE


def test_echoed_input_does_not_classify() -> None:
    """A server that echoes the prompt in its error does not turn the prompt's words into a code."""
    body = {"detail": [{"msg": "Input should be shorter", "loc": ["body"], "input": {"type": "insufficient_quota"}}]}
    assert failure(body, 422).code == Code.VALIDATION_ERROR
