"""What must not end a run that is paid for, nor cost it an answer."""

import json
import warnings

import pytest
from pydantic import BaseModel

from llmkit.simulator import Fault

MODEL, SMALL = "openai:gpt-6-luna", "mistral:mistral-small-2603"
REFUSED = {
    "error": {
        "message": "Unsupported value: 'temperature' does not support 0.3 with this model. Only the default (1) value "
        "is supported.",
        "type": "invalid_request_error",
        "param": "temperature",
        "code": "unsupported_value",
    }
}


QUOTED = "litellm.AuthenticationError: AuthenticationError: OpenAIException - Incorrect API key provided."


class Node(BaseModel):
    """A thing that holds others of its kind."""

    name: str
    children: list["Node"] = []


@pytest.mark.parametrize("kind", ["started", "asked", "answered", "probe_done", "ended"])
def test_a_listener_that_fails_is_left_out(kit, kind):
    """The run is completed, and a warning says what the listener raised; it is called no more."""
    told = []

    def listen(event):
        told.append(event.kind)
        if event.kind == kind:
            raise KeyError("a slip of mine")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = kit.run(["one", "two"], MODEL, on_event=listen).result(60)
    assert set(run.probes["status"]) == {"ok"}
    assert any("a slip of mine" in str(entry.message) for entry in caught)
    assert told.count(kind) == 1
    assert kit.resume(run.id).result(60).status == "completed"


def test_an_answer_that_no_check_can_read_is_kept(kit, sim):
    """Nested two hundred deep it breaks the check of the schema, and is a failed row with its text and its cost."""
    text = '{"name":"a","children":[' * 200 + "]}" * 200
    message = {"role": "assistant", "content": text}
    body = {
        "id": "x",
        "model": "gpt-6-luna",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18},
    }
    sim.script("openai", [Fault(kind="raw", body=json.dumps(body))])
    probe = kit.run("a tree", MODEL, schema=Node).result(60).probes.iloc[0]
    assert (probe["status"], probe["error_code"]) == ("failed", "INVALID_RESPONSE")
    assert probe["response"] == text
    assert probe["estimated_cost"] > 0


def test_a_key_behind_one_model_of_a_gateway_stops_that_model_only(kit, sim):
    """What a gateway reports of one model's provider says nothing about its other models."""
    body = {"error": {"message": QUOTED, "type": "authentication_error", "param": None, "code": "401"}}
    sim.script("openai", [Fault(kind="raw", status=401, body=json.dumps(body))])
    kit.catalog.update_provider("openai", max_parallel_requests=1)
    probes = kit.run(["one", "two", "three"], [MODEL, "openai:gpt-6-astra"]).result(60).probes
    statuses = {model: sorted(rows) for model, rows in probes.groupby("model")["status"]}
    assert sorted(statuses.values()) == [["failed", "skipped", "skipped"], ["ok"] * 3]


def test_a_rehearsal_teaches_the_catalog_nothing(kit, sim):
    """A parameter that a simulator refuses is dropped in that run only: it says nothing about the real model."""
    sim.script("mistral", [Fault(kind="raw", status=400, body=json.dumps(REFUSED))])
    run = kit.run("a question", SMALL, temperature=0.3).result(60)
    assert run.probes["status"].tolist() == ["ok"]
    assert "temperature" not in sim.requests[-1].body
    assert "learned_rejects" not in kit.catalog.model(SMALL).api_config
