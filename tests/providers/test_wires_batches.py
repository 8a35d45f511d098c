"""The results of batches, as providers write them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from llmkit.errors import Code
from llmkit.providers.wires.anthropic_batches import AnthropicBatches
from llmkit.providers.wires.batch_api import CANCELLED, EXPIRED, LOST, BatchApi, BatchState, Results
from llmkit.providers.wires.gemini_batches import GeminiBatches
from llmkit.providers.wires.openai_batches import MistralBatches, OpenAIBatches, XaiBatches
from llmkit.records import Failure, HttpResponse


def gemini(answers: list[Any]) -> bytes:
    """A batch's state with its results in it."""
    lines = [{"metadata": {"key": str(number)}, "response": answer} for number, answer in enumerate(answers)]
    return json.dumps({"metadata": {"output": {"inlinedResponses": {"inlinedResponses": lines}}}}).encode()


def xai(answers: list[Any]) -> bytes:
    """A page of results."""
    replies = [{"response": {"chat_get_completion": answer}} for answer in answers]
    lines = [{"batch_request_id": str(number), "batch_result": reply} for number, reply in enumerate(replies)]
    return json.dumps({"results": lines}).encode()


def openai(answers: list[Any]) -> bytes:
    """A file of results."""
    lines = [
        {"custom_id": str(number), "response": {"status_code": 200, "body": body}}
        for number, body in enumerate(answers)
    ]
    return "\n".join(map(json.dumps, lines)).encode()


def anthropic(answers: list[Any]) -> bytes:
    """The same in Anthropic's format."""
    results = [{"type": "succeeded", "message": message} for message in answers]
    lines = [{"custom_id": str(number), "result": result} for number, result in enumerate(results)]
    return "\n".join(map(json.dumps, lines)).encode()


EACH = pytest.mark.parametrize(
    ("api", "written"),
    [
        (GeminiBatches(), gemini),
        (XaiBatches(), xai),
        (OpenAIBatches(), openai),
        (AnthropicBatches(), anthropic),
    ],
    ids=["gemini", "xai", "openai", "anthropic"],
)


def read(api: BatchApi, body: bytes) -> list[bytes]:
    """The bodies of the answers in a reply."""
    response = HttpResponse(status=200, headers={}, body=body, received_at=datetime.now(UTC))
    results = api.read_results(BatchState(batch_id="b"), response)
    assert isinstance(results, Results), results
    replies = [results.replies[str(number)] for number in range(len(results.replies))]
    return [reply.body for reply in replies if isinstance(reply, HttpResponse)]


@EACH
def test_an_answer_is_kept_as_it_came(api: BatchApi, written: Any) -> None:
    """Fractions, as in Gemini's ``avgLogprobs``, zeros, long numbers and any character stay what they are."""
    answer = {"avgLogprobs": -0.1234567890123, "cost": 0.0000371, "n": 2**70, "none": None, "text": "né\ud800\u2028"}
    assert [json.loads(body) for body in read(api, written([answer]))] == [answer]


@EACH
def test_a_large_batch_is_read_whole(api: BatchApi, written: Any) -> None:
    """The limits on what a single reply may contain do not apply to the results of thousands of requests."""
    answer = {"text": "one, " * 600}
    assert len(read(api, written([answer] * 2_000))) == 2_000


@EACH
def test_a_damaged_character_costs_no_answer(api: BatchApi, written: Any) -> None:
    """What was paid for is kept, though a server cut one of its characters in two."""
    damaged = written([{"text": "x?"}, {"text": "y"}]).replace(b"x?", b"x\xe4\xb8")
    assert [json.loads(body)["text"] for body in read(api, damaged)] == ["x\ufffd", "y"]


def results(api: BatchApi, body: bytes) -> dict[str, Any]:
    """The code of each result, and whether it may have been billed; of an answer its body."""
    response = HttpResponse(status=200, headers={}, body=body, received_at=datetime.now(UTC))
    found = api.read_results(BatchState(batch_id="b"), response)
    assert isinstance(found, Results), found
    return {
        name: (each.code, each.maybe_billed) if isinstance(each, Failure) else json.loads(each.body)
        for name, each in found.replies.items()
    }


@pytest.mark.parametrize(
    ("api", "written", "expired"),
    [
        (OpenAIBatches(), openai, {"custom_id": "0", "error": {"code": "batch_expired"}}),
        (AnthropicBatches(), anthropic, {"custom_id": "0", "result": {"type": "expired"}}),
    ],
)
def test_a_second_line_does_not_displace_an_answer(api: BatchApi, written: Any, expired: dict[str, Any]) -> None:
    """Of several lines for one request the answer is kept, whichever comes first: it was paid for."""
    lines = [written([{"text": "x"}]), json.dumps(expired).encode()]
    assert results(api, b"\n".join(lines)) == results(api, b"\n".join(reversed(lines))) == {"0": {"text": "x"}}


@pytest.mark.parametrize("api", [GeminiBatches(), XaiBatches(), OpenAIBatches()], ids=["gemini", "xai", "openai"])
def test_a_line_that_says_nothing_may_have_been_billed(api: BatchApi) -> None:
    """Neither answer nor error: what it cost is unknown, and not nothing."""
    lines = {
        "gemini": gemini([None]),
        "xai": json.dumps({"results": [{"batch_request_id": "0", "batch_result": None}]}).encode(),
        "openai": json.dumps({"custom_id": "0", "response": None, "error": None}).encode(),
    }
    name = type(api).__name__.removesuffix("Batches").lower()
    assert results(api, lines[name]) == {"0": (Code.UNKNOWN, True)}


def test_a_result_of_no_known_type_is_kept() -> None:
    """What it is decides the wire, which finds no answer in it; that it was not billed is not said."""
    line = json.dumps({"custom_id": "0", "result": {"type": "paused", "text": "x"}}).encode()
    assert results(AnthropicBatches(), line) == {"0": {"type": "paused", "text": "x"}}


STATES: list[tuple[BatchApi, dict[str, Any], Failure]] = [
    (OpenAIBatches(), {"status": "completed"}, LOST),
    (OpenAIBatches(), {"status": "expired"}, EXPIRED),
    (OpenAIBatches(), {"status": "cancelled"}, CANCELLED),
    (MistralBatches(), {"status": "SUCCESS"}, LOST),
    (MistralBatches(), {"status": "TIMEOUT_EXCEEDED"}, EXPIRED),
    (GeminiBatches(), {"metadata": {"state": "BATCH_STATE_SUCCEEDED"}}, LOST),
    (GeminiBatches(), {"metadata": {"state": "BATCH_STATE_EXPIRED"}}, EXPIRED),
    (AnthropicBatches(), {"processing_status": "ended"}, LOST),
    (XaiBatches(), {"state": {"num_requests": 2, "num_success": 1, "num_error": 1}}, LOST),
    (XaiBatches(), {"state": {"num_requests": 2, "num_success": 1}}, EXPIRED),
    (XaiBatches(), {"state": {"num_requests": 2, "num_success": 1}, "cancel_by_xai_message": "Stopped."}, CANCELLED),
]


@pytest.mark.parametrize(("api", "body", "expected"), STATES)
def test_who_got_no_result_was_not_billed_only_where_the_provider_says_so(
    api: BatchApi, body: dict[str, Any], expected: Failure
) -> None:
    """A batch that ended early left requests out; of one that went to its end a line is missing, which was paid for."""
    body |= {"id": "b", "name": "b"}
    response = HttpResponse(status=200, headers={}, body=json.dumps(body).encode(), received_at=datetime.now(UTC))
    state = api.read(response)
    assert isinstance(state, BatchState)
    assert (state.ended, state.rejection, state.unanswered) == (True, None, expected)


@pytest.mark.parametrize("code", ["9" * 5_000, "٤٢٩", 10**40, True, None, {}])
def test_a_code_of_any_form_is_read(code: Any) -> None:
    """An error's code that is no status is that of a provider's own error."""
    line = {"metadata": {"key": "0"}, "error": {"code": code, "message": "No."}}
    body = {"metadata": {"output": {"inlinedResponses": {"inlinedResponses": [line]}}}}
    assert results(GeminiBatches(), json.dumps(body).encode())["0"]["error"]["code"] == 500
