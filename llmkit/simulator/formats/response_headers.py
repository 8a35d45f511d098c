"""Response headers: the request's id, and what is left of the limits, in each provider's own way."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from llmkit.records import WireName
from llmkit.simulator.formats.provider_styles import style_of
from llmkit.simulator.limiter import Left, Limiter


def id_headers(provider: str, wire: WireName, request_id: str) -> dict[str, str]:
    """The header that carries the request's id; Google has none."""
    name = style_of(provider, wire).id_header
    organization = {"anthropic-organization-id": "org-simulated"} if wire == "anthropic_messages" else {}
    return {name: f"req_{request_id}", **organization} if name else {}


def limit_headers(provider: str, wire: WireName, limiter: Limiter, now: float) -> dict[str, str]:
    """What is left, where the provider says so and there is a limit."""
    requests = limiter.requests.left(now) if limiter.requests is not None else None
    tokens = limiter.tokens.left(now) if limiter.tokens is not None else None
    whose = style_of(provider, wire).limit_headers
    if whose is None:
        return {}
    if whose == "anthropic":
        return {
            **_anthropic("requests", requests, now),
            **_anthropic("tokens", tokens, now),
            **_anthropic("input-tokens", tokens, now),
        }
    if whose == "mistral":
        return {
            **_mistral("req-minute", requests, limiter.limits.rpm),
            **_mistral("tokens-minute", tokens, limiter.limits.tpm),
        }
    return {**_openai("requests", requests), **_openai("tokens", tokens)}


def duration(wait: float) -> str:
    """A wait as Go writes it: ``12ms``, ``1s``, ``6m0s``."""
    if wait < 1:
        return f"{round(wait * 1000)}ms"
    minutes, rest = divmod(wait, 60)
    text = f"{rest:.3f}".rstrip("0").rstrip(".")
    return f"{int(minutes)}m{text}s" if minutes else f"{text}s"


def _openai(what: str, left: Left | None) -> Mapping[str, str]:
    if left is None:
        return {}
    return {
        f"x-ratelimit-limit-{what}": str(left.limit),
        f"x-ratelimit-remaining-{what}": str(left.remaining),
        f"x-ratelimit-reset-{what}": duration(left.reset),
    }


def _anthropic(what: str, left: Left | None, now: float) -> Mapping[str, str]:
    if left is None:
        return {}
    # whole seconds, rounded up: an allowance must not be promised too early
    at = datetime.fromtimestamp(now, UTC) + timedelta(seconds=left.reset + 0.999)
    return {
        f"anthropic-ratelimit-{what}-limit": str(left.limit),
        f"anthropic-ratelimit-{what}-remaining": str(left.remaining),
        f"anthropic-ratelimit-{what}-reset": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _mistral(what: str, left: Left | None, limit: int | None) -> Mapping[str, str]:
    """Mistral names the limit of the whole minute and no reset; what is used up comes back at that rate."""
    if left is None or limit is None:
        return {}
    used = left.limit - left.remaining
    return {
        f"x-ratelimit-limit-{what}": str(limit),
        f"x-ratelimit-remaining-{what}": str(max(0, limit - used)),
    }
