"""The providers' own SDKs take the simulator for the provider."""

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors
from google.genai import types

PROMPT = "Should a city close its centre to cars?"
CHAT_PROVIDERS = ("openai", "xai", "deepseek", "mistral", "my-own-server")


def _openai_client(sim, provider="openai", key="secret"):
    return openai.OpenAI(base_url=sim.url_for(provider), api_key=key, max_retries=0)


def _anthropic_client(sim, key="secret"):
    return anthropic.Anthropic(base_url=sim.url_for("anthropic"), api_key=key, max_retries=0)


def _generate(sim, key="secret", **more):
    # the SDK closes its connections when the client is collected, so the name keeps it
    client = genai.Client(api_key=key, http_options=types.HttpOptions(base_url=sim.url_for("google")))
    return client.models.generate_content(model="gemini-3.8-flash", contents=PROMPT, **more)


def _chat(client, model="gpt-6-luna", **more):
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": PROMPT}], **more)


def _message(client, model="claude-opus-5-5", **more):
    asked = {"max_tokens": 2000, "messages": [{"role": "user", "content": PROMPT}], **more}
    return client.messages.create(model=model, **asked)


@pytest.mark.parametrize("provider", CHAT_PROVIDERS)
def test_openai_sdk_reads_chat_answers_of_every_compatible_provider(sim, provider):
    """The text, the finish reason and a usage that adds up."""
    completion = _chat(_openai_client(sim, provider), "gpt-6-luna" if provider == "openai" else "some-model")
    choice, usage = completion.choices[0], completion.usage
    assert choice.finish_reason == "stop"
    assert choice.message.content
    assert completion._request_id or provider in ("deepseek", "mistral")
    reasoning = usage.completion_tokens_details.reasoning_tokens
    apart = reasoning if provider == "xai" else 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens + apart
    assert usage.prompt_tokens > 5


def test_openai_sdk_reads_responses(sim):
    """The joined output text, reasoning tokens inside the output, and a length limit that ends it early."""
    client = _openai_client(sim)
    response = client.responses.create(model="gpt-5.4-pro", input=PROMPT, instructions="Be brief.")
    assert response.status == "completed"
    assert response.output_text
    assert 0 < response.usage.output_tokens_details.reasoning_tokens < response.usage.output_tokens
    short = client.responses.create(model="gpt-5.4-pro", input=PROMPT, max_output_tokens=16)
    assert short.status == "incomplete"
    assert short.incomplete_details.reason == "max_output_tokens"
    assert short.usage.output_tokens <= 16


def test_anthropic_sdk_reads_messages(sim):
    """Thinking comes first and is counted inside the output; a limit ends the answer with max_tokens."""
    client = _anthropic_client(sim)
    answer = _message(client)
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert answer.stop_reason == "end_turn"
    assert 0 < answer.usage.output_tokens_details.thinking_tokens < answer.usage.output_tokens
    assert answer._request_id.startswith("req_")
    short = _message(client, max_tokens=10)
    assert short.stop_reason == "max_tokens"
    assert short.usage.output_tokens <= 10


def test_genai_sdk_reads_candidates(sim):
    """Thoughts are counted apart from the candidates, and the total has both."""
    answer = _generate(sim)
    usage = answer.usage_metadata
    assert answer.text
    assert usage.thoughts_token_count > 0
    assert usage.total_token_count == (
        usage.prompt_token_count + usage.candidates_token_count + usage.thoughts_token_count
    )


def test_sdks_list_models(sim):
    """Each SDK finds models in the list of its provider."""
    assert "gpt-6-luna" in [each.id for each in _openai_client(sim).models.list()]
    assert "claude-haiku-5-5" in [each.id for each in _anthropic_client(sim).models.list()]
    google = genai.Client(api_key="secret", http_options=types.HttpOptions(base_url=sim.url_for("google")))
    assert "models/gemini-3.8-flash" in [each.name for each in google.models.list()]


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_an_address_without_a_provider_lists_models_by_who_asks(sim, version):
    """The header with the key tells Google's clients from others, whatever version they speak."""
    options = types.HttpOptions(base_url=sim.url, api_version=version)
    google = genai.Client(api_key="secret", http_options=options)
    assert "models/gemini-3.8-flash" in [each.name for each in google.models.list()]


def test_sdks_raise_on_a_bad_key(sim):
    """401 for OpenAI and Anthropic, 400 for Google and xAI: each in the SDK's own exception."""
    with pytest.raises(openai.AuthenticationError, match="Incorrect API key"):
        _chat(_openai_client(sim, key="invalid"))
    with pytest.raises(openai.BadRequestError):
        _chat(_openai_client(sim, "xai", key="invalid"), "grok-4.3")
    with pytest.raises(anthropic.AuthenticationError):
        _message(_anthropic_client(sim, key="invalid"))
    with pytest.raises(genai_errors.ClientError, match="API key not valid"):
        _generate(sim, key="invalid")


def test_sdks_raise_on_a_rate_limit(sim):
    """429 becomes RateLimitError with the wait where each SDK looks for it."""
    for provider in ("openai", "anthropic", "google"):
        sim.script(provider, ["rate_limit"])
    with pytest.raises(openai.RateLimitError) as limited:
        _chat(_openai_client(sim))
    assert limited.value.code == "rate_limit_exceeded"
    assert limited.value.response.headers["retry-after-ms"] == "1000"
    with pytest.raises(anthropic.RateLimitError) as limited:
        _message(_anthropic_client(sim))
    assert limited.value.response.headers["retry-after"] == "1"
    with pytest.raises(genai_errors.ClientError) as limited:
        _generate(sim)
    assert limited.value.code == 429
    assert limited.value.details["error"]["details"][-1]["retryDelay"] == "1s"


def test_sdks_raise_on_server_errors(sim):
    """500 and Anthropic's 529 become the SDKs' internal server errors."""
    sim.set(faults={"overloaded": 1.0})
    with pytest.raises(openai.InternalServerError, match="overloaded"):
        _chat(_openai_client(sim))
    with pytest.raises(anthropic.InternalServerError) as overloaded:
        _message(_anthropic_client(sim))
    assert overloaded.value.status_code == 529
    with pytest.raises(genai_errors.ServerError):
        _generate(sim)


def test_openai_reasoning_models_reject_old_parameters(sim):
    """max_tokens is unsupported; temperature is, too, unless there is no reasoning."""
    client = _openai_client(sim)
    with pytest.raises(openai.BadRequestError) as rejected:
        _chat(client, max_tokens=50)
    assert (rejected.value.code, rejected.value.param) == ("unsupported_parameter", "max_tokens")
    with pytest.raises(openai.BadRequestError) as rejected:
        _chat(client, temperature=0.2)
    assert (rejected.value.code, rejected.value.param) == ("unsupported_value", "temperature")
    assert _chat(client, temperature=1, max_completion_tokens=500).choices[0].message.content
    assert _chat(client, temperature=0.2, reasoning_effort="none").choices[0].message.content
    assert _chat(client, "gpt-5.4-mini", temperature=0.2).choices[0].message.content
    assert _chat(client, "gpt-4.1", temperature=0.2, max_tokens=50).choices[0].message.content


def test_anthropic_rejects_sampling_by_version_and_model(sim):
    """Temperature only on 4.5 and 4.6, and only under the old API version; max_tokens is required."""
    old = {"anthropic-version": "2023-06-01"}
    client = _anthropic_client(sim)
    assert _message(client, "claude-haiku-4-5", extra_body={"temperature": 0.5}, extra_headers=old).content
    for model, headers in (("claude-haiku-5-5", old), ("claude-haiku-4-5", {"anthropic-version": "2026-10-21"})):
        with pytest.raises(anthropic.BadRequestError, match="temperature"):
            _message(client, model, extra_body={"temperature": 0.5}, extra_headers=headers)
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        client.post("/v1/messages", body={"model": "claude-haiku-5-5", "messages": []}, cast_to=dict)


def test_structured_output_through_the_sdks(sim):
    """A Pydantic model comes back parsed from each of the three."""
    from pydantic import BaseModel

    class City(BaseModel):
        name: str
        inhabitants: int
        sights: list[str]

    asked = [{"role": "user", "content": "Invent a city with 4 sights."}]
    parsed = _openai_client(sim).chat.completions.parse(model="gpt-6-luna", messages=asked, response_format=City)
    assert isinstance(parsed.choices[0].message.parsed, City)
    parsed = _openai_client(sim).responses.parse(model="gpt-6-luna", input=PROMPT, text_format=City)
    assert isinstance(parsed.output_parsed, City)
    parsed = _anthropic_client(sim).messages.parse(
        model="claude-haiku-5-5", max_tokens=2000, messages=asked, output_format=City
    )
    assert isinstance(parsed.parsed_output, City)
    config = types.GenerateContentConfig(response_mime_type="application/json", response_schema=City)
    parsed = _generate(sim, config=config)
    assert isinstance(parsed.parsed, City)
