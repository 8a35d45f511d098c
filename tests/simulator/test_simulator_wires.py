"""llmkit's own wires understand all that the simulator says, and agree with it about what was billed."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sim_client import CLIENT, MODELS

from llmkit.errors import Code
from llmkit.providers.wires import WIRES, parse_models, rate_info
from llmkit.records import DIALECTS, STANDARD, Call, Completion, Failure, HttpResponse, Message, Model, Params

RESPONSES = ("openai:gpt-5.4-pro", "xai:grok-4.20-multi-agent-0309")
REFERENCES = (*(f"{provider}:{model}" for provider, model in MODELS.items()), *RESPONSES, "ollama:llama3:8b")
CUSTOM = {"anthropic": "anthropic_messages", "google": "gemini"}


def _wire(reference):
    provider = reference.partition(":")[0]
    wire = WIRES["openai_responses" if reference in RESPONSES else CUSTOM.get(provider, "openai_chat")]
    return replace(wire, dialect=DIALECTS.get(provider, STANDARD))


def _call(reference, *prompts, **params):
    provider, _, model_id = reference.partition(":")
    model = Model(provider=provider, model_id=model_id, display_name=model_id, max_output_tokens=64_000)
    return Call(model=model, messages=(Message("user", prompts[0]),), system="Be kind.", params=Params(**params))


def _send(sim, call, request, key="secret", wire=None):
    url = sim.url_for(call.model.provider) + request.path
    headers = {**request.headers, **(wire or _wire(call.model.reference)).auth(key)}
    sent = CLIENT.request(request.method, url, json=request.body, headers=headers)
    lower = {name.lower(): value for name, value in sent.headers.items()}
    return HttpResponse(status=sent.status_code, headers=lower, body=sent.content, received_at=datetime.now(UTC))


def _ask(sim, call, key="secret"):
    wire = _wire(call.model.reference)
    return wire.parse(call, _send(sim, call, wire.build(call), key))


@pytest.mark.parametrize("reference", REFERENCES)
def test_answers_and_tokens_agree(sim, reference):
    """Each answer of a conversation is a Completion whose tokens are those that the server billed."""
    call = _call(reference, "Do you like bees? " + "They are useful. " * 1_000)
    for turn in (1, 2, 3):
        before = sim.stats()
        reply = _ask(sim, call)
        assert isinstance(reply, Completion), reply
        assert reply.text
        assert reply.finish_reason == "stop"
        assert reply.request_id
        after = sim.stats()
        assert reply.usage.input_tokens == after["input_tokens"] - before["input_tokens"]
        assert reply.usage.output_tokens == after["output_tokens"] - before["output_tokens"]
        assert 0 <= reply.usage.reasoning_tokens < reply.usage.output_tokens
        if turn > 1 and call.model.provider != "anthropic":
            assert reply.usage.cached_input_tokens > 1024
        call = call.answered(reply.text, "Why is that so?")


@pytest.mark.parametrize("reference", REFERENCES)
def test_parameters_that_the_wires_send_are_taken(sim, reference):
    """Token limit and schema, in each format's place; the limit is kept."""
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    short = _ask(sim, _call(reference, "Tell me about rivers", max_tokens=20))
    assert isinstance(short, Completion), short
    assert short.usage.output_tokens <= 20
    assert short.finish_reason == "length"
    structured = _ask(sim, _call(reference, "Give a number", schema=schema))
    assert isinstance(structured, Completion), structured
    assert structured.text.startswith('{"n": ')


CODES = {
    "rate_limit": Code.RATE_LIMITED,
    "quota": Code.QUOTA_EXHAUSTED,
    "auth": Code.AUTH_ERROR,
    "server_error": Code.SERVER_ERROR,
    "overloaded": Code.OVERLOADED,
    "too_long": Code.CONTEXT_TOO_LONG,
    "not_found": Code.MODEL_NOT_FOUND,
    "garbage": Code.INVALID_RESPONSE,
    "truncated": Code.INVALID_RESPONSE,
    "empty": Code.EMPTY_RESPONSE,
    "refusal": Code.CONTENT_BLOCKED,
    "blocked": Code.CONTENT_BLOCKED,
    "error_200": Code.SERVER_ERROR,
}


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("kind", CODES)
def test_faults_are_classified(sim, reference, kind):
    """Each fault is the failure that it stands for, with the wait that was asked for."""
    call = _call(reference, "Do you like bees?")
    sim.script(call.model.provider, [kind])
    result = _ask(sim, call)
    if kind == "refusal" and call.model.provider == "mistral":
        assert "can't help" in result.text
        return
    assert isinstance(result, Failure), result
    assert result.code == CODES[kind], result
    if kind == "rate_limit":
        assert result.retry_after == 1.0
    billed = sim.stats()["billed"] == 1
    assert billed == (result.maybe_billed or result.usage is not None)


@pytest.mark.parametrize("reference", REFERENCES)
def test_model_lists_are_read(sim, reference):
    """The list of models of each provider is parsed, and a bad key is an AUTH_ERROR."""
    wire, call = _wire(reference), _call(reference, "x")
    listed = parse_models(_send(sim, call, wire.list_models()))
    assert listed
    assert all(each.model_id for each in listed)
    refused = parse_models(_send(sim, call, wire.list_models(), key="invalid"))
    assert refused.code == Code.AUTH_ERROR


def test_limits_are_read_from_the_headers(sim):
    """What the headers say is left is what the server has left."""
    sim.set(rpm=60, burst=60, tpm=100_000)
    for reference in REFERENCES:
        provider = reference.partition(":")[0]
        call = _call(reference, "Hello")
        info = rate_info(_send(sim, call, _wire(reference).build(call)))
        if provider in ("google", "xai", "deepseek"):
            assert info is None
        else:
            assert info.requests_limit == 60
            assert 50 <= info.requests_remaining < 60
            assert 0 < info.tokens_remaining < info.tokens_limit == 100_000


@pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)
def test_a_provider_that_nobody_described_is_served_in_its_format(sim, wire):
    """Adding one is a file of the catalog: the simulator answers, lists models and complains as its format does."""
    model = Model(provider="nobody", model_id="fresh-1", display_name="Fresh", max_output_tokens=64_000)
    call = Call(model=model, messages=(Message("user", "Do you like bees?"),))
    assert isinstance(wire.parse(call, _send(sim, call, wire.build(call), wire=wire)), Completion)
    listed = parse_models(_send(sim, call, wire.list_models(), wire=wire))
    assert [each.model_id for each in listed] == ["simulated"]
    sim.script("nobody", ["quota"])
    failure = wire.parse(call, _send(sim, call, wire.build(call), wire=wire))
    assert isinstance(failure, Failure)
    assert failure.code is Code.QUOTA_EXHAUSTED
