"""Every fault can be seen by a plain HTTP client, and is counted and billed as it says."""

import json

import httpx
import pytest
from sim_client import CLIENT, MODELS, answer, ask, request_for, text_of

from llmkit.errors import ValidationError
from llmkit.simulator import FAULTS, Fault, serve

JSON_FORMAT = {
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "x",
            "schema": {
                "type": "object",
                "properties": {"items": {"type": "array", "items": {"type": "string"}}},
                "required": ["items"],
            },
        },
    }
}


def _outcome(sim):
    stats = sim.stats()
    return {name: stats[name] for name in ("ok", "rejected", "failed", "unknown", "billed") if stats[name]}


@pytest.mark.parametrize("provider", MODELS)
@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        ("rate_limit", {429}),
        ("quota", {402, 403, 429}),
        ("auth", {400, 401}),
        ("server_error", {500}),
        ("overloaded", {503, 529}),
        ("too_long", {400}),
        ("not_found", {400, 404}),
        ("error_200", {200}),
    ],
)
def test_error_faults_are_the_providers_own_errors(sim, provider, kind, statuses):
    """The status fits, the body tells what is wrong, and nothing is billed."""
    sim.script(provider, [kind])
    response = ask(sim, provider)
    assert response.status_code in statuses
    assert "error" in response.text
    assert "choices" not in response.text
    assert sim.stats()["billed"] == 0
    assert sim.stats()["faults"] == {kind: 1}
    assert answer(sim, provider)


def test_a_rate_limit_says_how_long_to_wait(sim):
    """In seconds rounded up, in milliseconds for OpenAI, in the body for Gemini, or not at all if so asked."""
    for provider in MODELS:
        sim.script(provider, [Fault(kind="rate_limit", retry_after=2.25), Fault(kind="rate_limit", retry_after=None)])
    told = {provider: ask(sim, provider) for provider in MODELS}
    assert {p: r.headers.get("retry-after") for p, r in told.items()} == dict.fromkeys(MODELS, "3") | {"google": None}
    assert told["openai"].headers["retry-after-ms"] == "2250"
    assert told["google"].json()["error"]["details"][-1]["retryDelay"] == "2.25s"
    silent = {provider: ask(sim, provider) for provider in MODELS}
    assert all(r.status_code == 429 and "retry-after" not in r.headers for r in silent.values())
    assert "retryDelay" not in silent["google"].text


def test_a_wrong_key_is_refused_by_every_provider_but_ones_own(sim):
    """Missing and invalid keys are refused; a server of one's own needs none, but refuses the invalid one."""
    for provider in MODELS:
        for key in ("", "invalid"):
            assert ask(sim, provider, key=key).status_code == (400 if provider in ("xai", "google") else 401)
    assert ask(sim, "ollama", key="").status_code == 200
    assert ask(sim, "ollama", key="invalid").status_code == 401
    assert sim.stats()["billed"] == 1


def test_streams_are_refused_in_every_format(sim):
    """An answer comes in one piece: who asks for a stream is told so, instead of getting something else."""
    for provider in MODELS:
        refused = ask(sim, provider, stream=True)
        assert refused.status_code in (400, 422)
        assert "stream" in refused.text
    assert sim.stats()["billed"] == 0


@pytest.mark.parametrize(("kind", "billed"), [("disconnect", 1), ("disconnect_before", 0)])
@pytest.mark.parametrize("provider", MODELS)
def test_cut_connections(sim, provider, kind, billed):
    """No answer arrives; one was billed, with its probe and turn, only if it was cut after."""
    sim.script(provider, [kind])
    with pytest.raises(httpx.TransportError):
        ask(sim, provider, headers={"x-llmkit-probe": "p1", "x-llmkit-turn": "2"})
    assert sim.stats()["billed"] == billed
    assert sim.stats()["billed_by_probe"] == ({"p1": ["2"]} if billed else {})
    assert sim.stats()["failed"] == 1
    assert answer(sim, provider)


def test_cut_in_the_middle(sim):
    """Headers and half of the body arrive, then the connection ends; it was billed."""
    sim.script("openai", ["cut"])
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
        ask(sim)
    assert _outcome(sim) == {"failed": 1, "billed": 1}


def test_timeout_never_answers(sim):
    """The client's own timeout ends it; the server sees it go, and its place is free again."""
    sim.set(max_concurrent=1)
    sim.script("openai", ["timeout"])
    with pytest.raises(httpx.ReadTimeout):
        CLIENT.post(**request_for(sim, "openai"), timeout=1)
    assert sim.wait_until(lambda: sim.stats()["unknown"] == 1, timeout=30)
    assert _outcome(sim) == {"unknown": 1}
    assert answer(sim)


def test_garbage_and_truncated_are_not_json(sim):
    """A page of HTML, and JSON that ends early, both with status 200 and billed."""
    sim.script("openai", ["garbage", "truncated"])
    page, half = ask(sim), ask(sim)
    assert page.status_code == half.status_code == 200
    assert page.text.startswith("<!doctype html>")
    assert half.text.startswith('{"id": "chatcmpl')
    for response in (page, half):
        with pytest.raises(json.JSONDecodeError):
            response.json()
    assert _outcome(sim) == {"failed": 2, "billed": 2}


@pytest.mark.parametrize("provider", MODELS)
def test_an_empty_answer_is_billed(sim, provider):
    """Status 200, a usage, and no text."""
    sim.script(provider, ["empty"])
    response = ask(sim, provider)
    assert response.status_code == 200
    assert not text_of(provider, response.json())
    assert _outcome(sim) == {"failed": 1, "billed": 1}


def test_refusals_are_in_each_providers_place(sim):
    """OpenAI's and xAI's field, Anthropic's stop reason, Gemini's and DeepSeek's finish reason, Mistral's prose."""
    for provider in MODELS:
        sim.script(provider, ["refusal"])
    bodies = {provider: ask(sim, provider).json() for provider in MODELS}
    assert bodies["openai"]["choices"][0]["message"]["refusal"]
    assert bodies["openai"]["choices"][0]["message"]["content"] is None
    assert bodies["xai"]["choices"][0]["message"]["refusal"]
    assert bodies["anthropic"]["stop_reason"] == "refusal"
    assert bodies["google"]["candidates"][0]["finishReason"] == "SAFETY"
    assert bodies["deepseek"]["choices"][0]["finish_reason"] == "content_filter"
    assert "can't help" in bodies["mistral"]["choices"][0]["message"]["content"]


def test_a_blocked_prompt(sim):
    """Gemini answers 200 without candidates and bills the input; the others refuse and bill nothing."""
    for provider in MODELS:
        sim.script(provider, ["blocked"])
    responses = {provider: ask(sim, provider) for provider in MODELS}
    blocked = responses.pop("google").json()
    assert blocked["promptFeedback"]["blockReason"]
    assert "candidates" not in blocked
    assert blocked["usageMetadata"]["totalTokenCount"] == blocked["usageMetadata"]["promptTokenCount"]
    assert {response.status_code for response in responses.values()} == {400, 403}
    assert sim.stats()["billed"] == 1


def test_spoiled_structured_answers(sim):
    """Text that is no JSON, lists that are short, lists that repeat: all with status 200."""
    prompt = "Write exactly 8 items."
    sim.script("openai", ["malformed_json", "too_few", "duplicates", None])
    malformed, few, twins, good = (answer(sim, prompt=prompt, **JSON_FORMAT) for _ in range(4))
    with pytest.raises(json.JSONDecodeError):
        json.loads(malformed)
    assert len(json.loads(few)["items"]) < 8
    assert len(json.loads(twins)["items"]) == 8
    assert len(set(json.loads(twins)["items"])) == 1
    assert len(set(json.loads(good)["items"])) == 8


def test_slow_takes_longer(sim):
    """A client whose patience is shorter than the slowness gives up; nothing was billed."""
    sim.script("openai", [Fault(kind="slow", seconds=30)])
    with pytest.raises(httpx.ReadTimeout):
        CLIENT.post(**request_for(sim, "openai"), timeout=1)
    assert sim.wait_until(lambda: sim.stats()["unknown"] == 1, timeout=30)
    assert _outcome(sim) == {"unknown": 1}


def test_raw_sends_what_it_is_told(sim):
    """Any status, headers and body, for replies that were seen in the wild."""
    sim.script("openai", [Fault(kind="raw", status=418, headers={"x-odd": "yes"}, body='{"tea": true}')])
    response = ask(sim)
    assert (response.status_code, response.headers["x-odd"], response.json()) == (418, "yes", {"tea": True})


def test_headers_of_a_fault_replace_the_providers_own(sim):
    """A Retry-After as an HTTP date instead of seconds."""
    date = "Wed, 25 Nov 2026 12:00:00 GMT"
    sim.script("openai", [Fault(kind="rate_limit", headers={"retry-after": date})])
    assert ask(sim).headers["retry-after"] == date


def test_scripts_are_used_up_in_order(sim):
    """One entry a request, None for none, and only for its provider."""
    sim.script("openai", ["server_error", None, "overloaded"])
    assert ask(sim, "xai").status_code == 200
    assert [ask(sim).status_code for _ in range(4)] == [500, 200, 503, 200]


def _kinds(seed, faults, n=60):
    with serve(latency=0, seed=seed, faults=faults) as sim:
        for _ in range(n):
            ask(sim)
        return [each.fault for each in sim.requests]


def test_chances_repeat_with_the_seed():
    """The same requests in the same order meet the same faults, about as often as asked."""
    faults = {"server_error": 0.2, "overloaded": 0.1}
    first = _kinds(5, faults)
    assert first == _kinds(5, faults) != _kinds(6, faults)
    assert set(first) == {None, "server_error", "overloaded"}
    assert 5 <= sum(kind is not None for kind in first) <= 35


def test_chances_by_turn_by_rule_and_by_provider():
    """A sequence of booleans, a function of the request, and chances for one provider only."""
    assert _kinds(1, {"server_error": [False, True, True]}, 5) == [None, "server_error", "server_error", None, None]
    with serve(latency=0, faults={"empty": lambda received: "gardens" in str(received.body)}) as sim:
        assert answer(sim, prompt="Bridges?")
        assert not answer(sim, prompt="Any gardens?")
        sim.set(faults={"xai": {"overloaded": 1.0}})
        assert answer(sim, prompt="Any gardens?")
        assert ask(sim, "xai").status_code == 503


@pytest.mark.parametrize("faults", [{"no_such": 0.1}, {"empty": 1.5}, {"empty": 0.6, "auth": 0.6}, {"xai": {"x": 1}}])
def test_wrong_faults_are_refused(faults):
    """Unknown kinds and impossible probabilities are an error, when starting and when changing."""
    with pytest.raises(ValidationError):
        serve(faults=faults)
    with serve(latency=0, faults={"server_error": 1.0}) as sim:
        with pytest.raises(ValidationError):
            sim.set(faults=faults)
        assert ask(sim).status_code == 500
        for script, said in ((["no_such"], "no_such"), ([3], "no fault 3"), ("no_such", "a list"), (3, "a list")):
            with pytest.raises(ValidationError, match=said):
                sim.script("openai", script)
        assert ask(sim).status_code == 500


def test_only_batches_expire():
    """A request that comes alone has no batch that could end before it (tests/simulator/test_simulator_batches.py)."""
    with serve(latency=0, faults={"expired": 1.0}) as sim:
        assert answer(sim)


def test_every_kind_is_tested_here():
    """A fault that this file does not name would be one that nobody has seen."""
    with open(__file__, encoding="utf-8") as own:
        source = own.read()
    assert [kind for kind in FAULTS if f'"{kind}"' not in source] == []
