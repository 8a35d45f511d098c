"""Reads billed tokens from every format, counted the same way (cached, written, reasoning), and reported costs.

Implausible counts are unknown: without a known input and output there is no usage but a reported cost (else the cost is
unknown, never 0), and details larger than their total are dropped, so that the tokens are billed at the full price.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from llmkit.providers.wires.values import count, dig, items, money
from llmkit.records import EXACT, Dialect, Usage

_CACHED = (  # DeepSeek, Moonshot and others, Mistral, a proxied Claude
    "prompt_cache_hit_tokens",
    "cached_tokens",
    "num_cached_tokens",
    "cache_read_input_tokens",
)
_SHORTEST = ("ephemeral_5m_input_tokens", "ttl_30m_tokens")
_TICK = Decimal("1e-10")  # xai-sdk cost.py: cost_in_usd_ticks, 10^10 ticks to the US dollar


def openai_usage(usage: Any, read: str, said: str, dialect: Dialect) -> Usage | None:
    """Usage in either of OpenAI's formats, which have their own words for what was ``read`` and ``said``. The input
    includes cached tokens, and the output reasoning, unless the total says otherwise.

    DeepSeek may report only its cache hits and misses. A proxied Claude may report Anthropic's cache tokens next to a
    prompt that does not include them. A reported cost is in US dollars (OpenRouter) or ticks (xAI).
    """
    reported = _reported(usage, dialect)
    whole, output = count(dig(usage, f"{read}_tokens")), count(dig(usage, f"{said}_tokens"))
    hits, misses = count(dig(usage, "prompt_cache_hit_tokens")), count(dig(usage, "prompt_cache_miss_tokens"))
    if whole is None and hits is not None and misses is not None:
        whole = hits + misses
    if whole is None or output is None:
        return Usage(reported_cost=reported) if reported else None
    told, details = usage.get, dig(usage, f"{read}_tokens_details")
    total = count(told("total_tokens"))
    reasoning = _largest(dig(usage, f"{said}_tokens_details", "reasoning_tokens"), told("reasoning_tokens"))
    cached = _largest(dig(details, "cached_tokens"), *map(told, _CACHED))
    proxied = told("cache_creation_input_tokens"), dig(details, "cache_creation_tokens")
    short, long = max(
        _by_time_to_live(details, "cache_write_tokens_details", "cache_creation_token_details"),
        _by_time_to_live(usage, "cache_creation"),
    )
    written = _largest(dig(details, "cache_write_tokens"), *proxied) or short + long
    if total == whole + output + reasoning or (total is None and reasoning > output):
        output += reasoning
    outside = _largest(told("cache_read_input_tokens")) + _largest(*proxied)
    if total == whole + output + outside or (total is None and outside > whole):
        whole += outside
    return _usage(
        whole,
        output,
        cached=cached,
        written=written,
        written_1h=long,
        reasoning=reasoning,
        reported=reported,
        searches=_largest(dig(usage, "server_tool_use", "web_search_requests")),  # OpenRouter, a proxied Claude
        other_calls=_largest(told("num_sources_used")),  # xAI
    )


def anthropic_usage(usage: Any) -> Usage | None:
    """Usage of an Anthropic message: ``input_tokens`` excludes cache reads and writes, so both are added.

    After compaction, ``iterations`` lists what was billed for each step, and their sum counts instead of the totals.
    Advisor steps are billed at another model's prices, so each counts as a call.
    """
    steps = items(dig(usage, "iterations"))
    own = [step for step in steps if dig(step, "type") != "advisor_message"]
    advice, steps = len(steps) - len(own), own or [usage]
    plain, output = _total(steps, "input_tokens"), _total(steps, "output_tokens")
    read = _total(steps, "cache_read_input_tokens", default=0)
    writes = [_anthropic_writes(step) for step in steps]
    if plain is None or output is None or read is None or None in writes:
        return None
    written, hour = (sum(counts) for counts in zip(*filter(None, writes), strict=True))
    return _usage(
        plain + read + written,
        output,
        cached=read,
        written=written,
        written_1h=hour or _by_time_to_live(usage, "cache_creation")[1],
        reasoning=_largest(dig(usage, "output_tokens_details", "thinking_tokens")),
        searches=_largest(dig(usage, "server_tool_use", "web_search_requests")),
        other_calls=advice + _largest(dig(usage, "server_tool_use", "code_execution_requests")),
    )


def _anthropic_writes(step: Any) -> tuple[int, int] | None:
    """Tokens written to the cache, and how many of them for longer than 5 minutes; ``None`` for implausible counts."""
    short, long = _by_time_to_live(step, "cache_creation")
    told = _count_or_zero(dig(step, "cache_creation_input_tokens"))
    return None if told is None else (told or short + long, long)


def _by_time_to_live(usage: Any, *names: str) -> tuple[int, int]:
    """Cache writes by time to live: for the shortest available time, and for longer."""
    splits = [split for name in names if isinstance(split := dig(usage, name), dict)]
    if not splits:
        return 0, 0
    counts = [(name, _count_or_zero(value) or 0) for split in splits for name, value in split.items()]
    short = sum(tokens for name, tokens in counts if name in _SHORTEST)
    return short, sum(tokens for _, tokens in counts) - short


def gemini_usage(usage: Any) -> Usage | None:
    """Usage of a Gemini answer: thoughts are billed as output and counted separately from the candidates.

    Some answers include them there: if prompt, candidates and tool use already add up to the total, nothing is added.
    Protobuf's JSON omits zeros, so a missing count (except the prompt's) is 0.
    """
    prompt = count(dig(usage, "promptTokenCount"))
    candidates, thoughts, tools = (
        _count_or_zero(dig(usage, name))
        for name in ("candidatesTokenCount", "thoughtsTokenCount", "toolUsePromptTokenCount")
    )
    if prompt is None or candidates is None or thoughts is None or tools is None:
        return None
    inclusive = count(dig(usage, "totalTokenCount")) == prompt + candidates + tools
    return _usage(
        prompt + tools,
        candidates if inclusive else candidates + thoughts,
        cached=_largest(dig(usage, "cachedContentTokenCount")),
        reasoning=thoughts,
    )


def _usage(
    total_input: int,
    total_output: int,
    *,
    cached: int,
    written: int = 0,
    written_1h: int = 0,
    reasoning: int,
    reported: Decimal | None = None,
    searches: int = 0,
    other_calls: int = 0,
) -> Usage:
    if cached + written > total_input:
        cached = written = 0
    return Usage(
        input_tokens=total_input,
        output_tokens=total_output,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=written_1h if written_1h <= written else 0,
        reasoning_tokens=reasoning if reasoning <= total_output else 0,
        reported_cost=reported,
        searches=searches,
        other_calls=other_calls,
    )


def _reported(usage: Any, dialect: Dialect) -> Decimal | None:
    """The total cost in US dollars. With the user's own provider key, OpenRouter's ``cost`` is only its fee, and the
    provider bills separately. If the reply does not say whose key it was, a fee below the provider's bill shows it.
    """
    if dialect.reported_cost == "usd":
        fee, upstream = money(dig(usage, "cost")), money(dig(usage, "cost_details", "upstream_inference_cost"))
        own_key = dig(usage, "is_byok")
        if own_key is None and fee is not None and upstream is not None:
            own_key = upstream > fee
        if own_key is not True or fee is None:
            return fee
        return None if upstream is None else EXACT.add(fee, upstream)
    return money(dig(usage, "cost_in_usd_ticks"), _TICK) if dialect.reported_cost == "ticks" else None


def with_calls(usage: Usage | None, *, searches: int = 0, other_calls: int = 0) -> Usage | None:
    """The usage with calls that an answer reports outside its usage."""
    if usage is None or not (searches or other_calls):
        return usage
    return replace(usage, searches=searches or usage.searches, other_calls=other_calls or usage.other_calls)


def _count_or_zero(value: Any) -> int | None:
    return 0 if value is None else count(value)


def _largest(*values: Any) -> int:
    """The largest of the plausible counts; 0 if there is none. The same count can have several names."""
    largest = 0
    for value in values:
        if value is not None and (number := count(value)) is not None and number > largest:
            largest = number
    return largest


def _total(steps: list[Any], *path: str, default: int | None = None) -> int | None:
    """The sum over the steps; ``default`` replaces a missing count, and an implausible one makes the sum unknown."""
    values = [dig(step, *path) for step in steps]
    counts = [default if value is None else count(value) for value in values]
    return None if None in counts else sum(filter(None, counts))
