"""The results of batches, as providers write them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from llmkit.providers.wires.anthropic_batches import AnthropicBatches
from llmkit.providers.wires.batch_api import BatchApi, BatchState, Results
from llmkit.providers.wires.gemini_batches import GeminiBatches
from llmkit.providers.wires.openai_batches import OpenAIBatches
from llmkit.providers.wires.xai_batches import XaiBatches
from llmkit.records import HttpResponse


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
        (AnthropicBatches("2023-06-01"), anthropic),
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
