"""A plain HTTP client that asks a simulator in each provider's own format."""

import httpx

# one for all tests: making a client takes longer than most of them
CLIENT = httpx.Client(timeout=60)
MODELS = {
    "openai": "gpt-6-luna",
    "anthropic": "claude-haiku-5-5",
    "google": "gemini-3.8-flash",
    "xai": "grok-4.3",
    "deepseek": "deepseek-flash",
    "mistral": "mistral-small-2603",
}


def request_for(sim, provider, prompt="What do you think about gardens?", *, key="secret", headers=None, **body):
    """The URL, headers and body of a request for one answer."""
    base, headers = sim.url_for(provider), dict(headers or {})
    if provider == "anthropic":
        url = base + "/v1/messages"
        headers |= {"anthropic-version": "2023-06-01"} | ({"x-api-key": key} if key else {})
        message = {"role": "user", "content": prompt}
        body = {"model": MODELS[provider], "max_tokens": 1000, "messages": [message], **body}
    elif provider == "google":
        url = base + f"/v1beta/models/{MODELS[provider]}:generateContent"
        headers |= {"x-goog-api-key": key} if key else {}
        body = {"contents": [{"role": "user", "parts": [{"text": prompt}]}], **body}
    else:
        url = base + "/chat/completions"
        headers |= {"authorization": f"Bearer {key}"} if key else {}
        body = {"model": MODELS.get(provider, "local"), "messages": [{"role": "user", "content": prompt}], **body}
    return {"url": url, "headers": headers, "json": body}


def ask(sim, provider="openai", prompt="What do you think about gardens?", **how):
    """Ask for one answer; the raw response."""
    return CLIENT.post(**request_for(sim, provider, prompt, **how))


def text_of(provider, body):
    """The text of an answer's body."""
    if provider == "anthropic":
        return "".join(block["text"] for block in body["content"] if block["type"] == "text")
    if provider == "google":
        return "".join(part["text"] for part in body["candidates"][0]["content"].get("parts", []))
    content = body["choices"][0]["message"]["content"]
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part["type"] == "text")
    return content


def answer(sim, provider="openai", prompt="What do you think about gardens?", **how):
    """Ask for one answer; its text."""
    response = ask(sim, provider, prompt, **how)
    assert response.status_code == 200, response.text
    return text_of(provider, response.json())
