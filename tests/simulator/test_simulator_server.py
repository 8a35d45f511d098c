"""The server as a whole: its life, its URLs, what it counts, and many clients at once."""

import asyncio
import json
import math
import subprocess
import sys

import aiohttp
import httpx
import pytest
from sim_client import CLIENT, MODELS, answer, ask, request_for

from llmkit.errors import ValidationError
from llmkit.simulator import serve


def test_it_listens_on_loopback_until_closed():
    """It listens when serve returns, says where, stops when closed, and can start again on the same port."""
    sim = serve(latency=0)
    url = sim.url
    assert url.startswith("http://127.0.0.1:")
    assert not url.endswith("/")
    assert answer(sim)
    sim.close()
    sim.close()
    with pytest.raises(httpx.ConnectError):
        ask(sim)
    assert sim.stats()["ok"] == 1
    with sim.start():
        assert sim.url == url
        assert answer(sim)


def test_closing_cuts_requests_that_wait():
    """Close does not wait for requests that would never be answered."""

    async def main():
        sim = serve(latency=0, faults={"timeout": 1.0})
        async with aiohttp.ClientSession() as session:
            pending = asyncio.create_task(session.post(**request_for(sim, "openai")))
            assert await asyncio.to_thread(sim.wait_until, lambda: sim.stats()["in_flight"] == 1)
            await asyncio.to_thread(sim.close)
            with pytest.raises(aiohttp.ClientConnectionError):
                await pending
        assert sim.stats()["unknown"] == 1

    asyncio.run(main())


def test_a_taken_port_is_said_in_a_sentence():
    """The error names the port."""
    with serve() as sim:
        port = int(sim.url.rsplit(":", 1)[1])
        with pytest.raises(ValidationError, match=str(port)):
            serve(port=port)


def test_aiohttp_web_is_imported_only_when_it_starts():
    """Importing the simulator costs no server."""
    code = "import sys, llmkit.simulator; print('aiohttp.web' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("base", "provider"),
    [
        ("", "openai"),
        ("/v1", "openai"),
        ("/openai", "openai"),
        ("/openai/v1", "openai"),
        ("/mistral/v1", "mistral"),
        ("/deepseek", "deepseek"),
        ("/google/v1beta/openai", "google"),
        ("/my-server/v1", "my-server"),
    ],
)
def test_any_base_url_reaches_the_chat_format(sim, base, provider):
    """The path's end decides the format, its first segment the provider."""
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    response = CLIENT.post(sim.url + base + "/chat/completions", json=body, headers={"authorization": "Bearer k"})
    assert response.status_code == 200
    assert sim.requests[-1].provider == provider


@pytest.mark.parametrize(
    ("path", "provider", "headers"),
    [
        ("/responses", "openai", {}),
        ("/v1/messages", "anthropic", {}),
        ("/anthropic/v1/messages", "anthropic", {}),
        ("/deepseek/anthropic/v1/messages", "deepseek", {}),
        ("/v1beta/models/gemini-3.8-flash:generateContent", "google", {}),
        ("/google/v1beta/models/gemini-3.8-flash:generateContent", "google", {}),
    ],
)
def test_other_formats_are_found_with_and_without_a_provider(sim, path, provider, headers):
    """Without a provider in the path, the format tells whose it is."""
    text = "Hello"
    bodies = {
        "responses": {"model": "gpt-6-luna", "input": text},
        "messages": {"model": "m", "max_tokens": 99, "messages": [{"role": "user", "content": text}]},
    }
    body = bodies.get(path.rsplit("/", 1)[1], {"contents": [{"parts": [{"text": text}]}]})
    keys = {"authorization": "Bearer k", "x-goog-api-key": "k", "anthropic-version": "2023-06-01"}
    response = CLIENT.post(sim.url + path, json=body, headers=keys)
    assert response.status_code == 200, response.text
    assert sim.requests[-1].provider == provider


def test_model_lists_have_each_providers_shape(sim):
    """By provider, by path, and by the kind of key where neither tells; restricted to the models that exist."""
    sim.set(models={"mistral": ["m-1"], "openai": []})
    bearer, anthropic_key = {"authorization": "Bearer k"}, {"x-api-key": "k", "anthropic-version": "2023-06-01"}
    listed = CLIENT.get(sim.url_for("mistral") + "/models", headers=bearer).json()
    assert [each["id"] for each in listed["data"]] == ["m-1"]
    assert listed["data"][0]["max_context_length"]
    assert CLIENT.get(sim.url + "/v1/models", headers=anthropic_key).json()["data"][0]["lifecycle"] == "active"
    assert CLIENT.get(sim.url + "/v1/models", headers=bearer).json()["data"] == []
    google = CLIENT.get(sim.url + "/v1beta/models?pageSize=1000", headers={"x-goog-api-key": "k"}).json()
    assert google["models"][0]["name"].startswith("models/")
    assert CLIENT.get(sim.url + "/v1/models").status_code == 401
    assert sim.stats()["requests"] == 0


def test_models_that_do_not_exist_are_not_found(sim):
    """With a list of models, all others are refused."""
    sim.set(models=["gpt-6-luna"])
    assert ask(sim).status_code == 200
    response = ask(sim, model="gpt-7")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"


def test_models_may_come_from_an_iterator(sim):
    """They are read once, and known for every request."""
    sim.set(models={"openai": iter(["gpt-6-luna"])})
    assert [ask(sim).status_code for _ in range(2)] == [200, 200]


def test_nonsense_is_refused_politely(sim):
    """Unknown paths, bodies that are no JSON, and missing parameters give errors in the provider's form."""
    assert CLIENT.post(sim.url + "/nowhere", json={}).status_code == 404
    url, headers = sim.url_for("openai") + "/chat/completions", {"authorization": "Bearer k"}
    for body in (b"", b"{", b"[1]", b'{"model": "m"}', b'{"model": 3, "messages": [{"role": "user"}]}'):
        response = CLIENT.post(url, content=body, headers=headers)
        assert response.status_code == 400
        assert response.json()["error"]["type"] == "invalid_request_error"


def test_requests_are_kept_without_their_keys(sim):
    """What was received can be looked at; the key is nowhere in it."""
    for provider in MODELS:
        ask(sim, provider, key="sk-canary", headers={"x-extra": "seen"})
    CLIENT.get(sim.url + "/v1beta/models?key=sk-canary")
    kept = sim.requests
    assert [each.provider for each in kept[:-1]] == list(MODELS)
    assert kept[0].body["messages"][0]["content"].startswith("What do you think")
    assert kept[0].headers["x-extra"] == "seen"
    assert kept[0].status == 200
    assert "sk-canary" not in repr(kept)


def test_stats_count_by_provider_and_probe(sim):
    """Requests, answers and tokens by provider, and the turns billed for each probe."""
    for turn in (1, 2):
        ask(sim, headers={"x-llmkit-probe": "p1", "x-llmkit-turn": str(turn)})
    usage = ask(sim, "xai").json()["usage"]
    stats = sim.stats()
    assert (stats["requests"], stats["ok"], stats["billed"]) == (3, 3, 3)
    assert stats["billed_by_probe"] == {"p1": ["1", "2"]}
    assert stats["by_provider"]["openai"]["requests"] == sim.count("requests", "openai") == 2
    assert (sim.count("billed"), sim.count("billed", "nobody")) == (3, 0)
    assert stats["by_provider"]["xai"]["input_tokens"] == usage["prompt_tokens"]
    assert stats["by_provider"]["xai"]["output_tokens"] == usage["total_tokens"] - usage["prompt_tokens"]
    json.dumps(stats)
    sim.reset()
    assert sim.stats()["requests"] == 0
    assert sim.requests == []


def test_latency_is_a_number_a_pair_or_a_function(sim):
    """Each is accepted, and a request that is held is still in flight when another is answered, until it is let go."""
    for latency in (0, 0.001, (0, 0.002), lambda received: 0.001):
        sim.set(latency=latency)
        assert answer(sim)
    for wrong in (-1, (2, 1), (1,), "1"):
        with pytest.raises(ValidationError, match="latency"):
            sim.set(latency=wrong)
    sim.set(latency=lambda received: math.inf if "slow" in str(received.body) else 0)

    async def main():
        async with aiohttp.ClientSession() as session:
            posts = (session.post(**request_for(sim, "openai", f"slow {n}")) for n in range(2))
            held, dropped = map(asyncio.create_task, posts)
            assert await asyncio.to_thread(sim.wait_until, lambda: sim.stats()["in_flight"] == 2)
            async with session.post(**request_for(sim, "openai", "quick")) as quick:
                assert quick.status == 200
            assert sim.stats()["in_flight"] == 2
            dropped.cancel()
            assert await asyncio.to_thread(sim.wait_until, lambda: sim.stats()["unknown"] == 1)
            sim.set(latency=0)
            async with await held as released:
                assert released.status == 200

    asyncio.run(main())


def test_wait_until_gives_up(sim):
    """It says whether what was waited for has happened."""
    assert not sim.wait_until(lambda: sim.stats()["requests"] > 0, timeout=0.05)
    ask(sim)
    assert sim.wait_until(lambda: sim.stats()["requests"] > 0, timeout=0.05)


def test_two_hundred_at_once(sim):
    """200 concurrent requests to all providers are answered, each with its own answer."""
    sim.set(latency=0.2)

    async def one(session, number):
        provider = list(MODELS)[number % len(MODELS)]
        async with session.post(**request_for(sim, provider, f"Number {number}")) as response:
            assert response.status == 200
            return await response.text()

    async def main():
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            return await asyncio.gather(*(one(session, number) for number in range(200)))

    texts = asyncio.run(main())
    assert len(set(texts)) == 200
    stats = sim.stats()
    assert stats["ok"] == 200
    assert stats["max_in_flight"] > 100
