"""Billed tokens, counted one way: how each format counts cached, written and reasoning tokens, and reports a cost.

Counts that make no sense are unknown: without a known input and output there is no usage at all (cost unknown, never
0), and details that do not fit into their total are dropped, so that the tokens are billed at the full price.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from llmkit.providers.wires.values import count, dig, items, money
from llmkit.records import STANDARD, Dialect, Usage

_TICK = Decimal("1e-10")  # xai-sdk cost.py: cost_in_usd_ticks, 10^10 ticks to the US dollar


def chat_usage(usage: Any, dialect: Dialect = STANDARD) -> Usage | None:
    """Usage of an OpenAI-style chat completion.

    Cached tokens are inside ``prompt_tokens`` and reasoning is inside ``completion_tokens``, except where
    ``reasoning_apart`` (xAI): there reasoning is added when the total says that it is not included. DeepSeek tells its
    cache reads as ``prompt_cache_hit_tokens`` and may give hits and misses only. A reported cost is in US dollars
    (OpenRouter) or ticks (xAI).
    """
    hits, misses = count(dig(usage, "prompt_cache_hit_tokens")), count(dig(usage, "prompt_cache_miss_tokens"))
    prompt = count(dig(usage, "prompt_tokens"))
    if prompt is None and hits is not None and misses is not None:
        prompt = hits + misses
    completion = count(dig(usage, "completion_tokens"))
    reasoning = count(dig(usage, "completion_tokens_details", "reasoning_tokens")) or 0
    if dialect.reasoning_apart and prompt is not None and completion is not None:
        total = count(dig(usage, "total_tokens"))
        completion += reasoning if total == prompt + completion + reasoning else 0
    cached = count(dig(usage, "prompt_tokens_details", "cached_tokens"))
    return _usage(
        prompt,
        completion,
        cached=hits if cached is None else cached,
        written=count(dig(usage, "prompt_tokens_details", "cache_write_tokens")),
        reasoning=reasoning,
        reported=_reported(usage, dialect),
    )


def responses_usage(usage: Any, dialect: Dialect = STANDARD) -> Usage | None:
    """Usage of an OpenAI response: every detail is inside its total, reasoning too (for xAI as well)."""
    return _usage(
        count(dig(usage, "input_tokens")),
        count(dig(usage, "output_tokens")),
        cached=count(dig(usage, "input_tokens_details", "cached_tokens")),
        written=count(dig(usage, "input_tokens_details", "cache_write_tokens")),
        reasoning=count(dig(usage, "output_tokens_details", "reasoning_tokens")),
        reported=_reported(usage, dialect),
    )


def anthropic_usage(usage: Any) -> Usage | None:
    """Usage of an Anthropic message: ``input_tokens`` excludes cache reads and writes, so both are added.

    When compaction ran, ``iterations`` holds what each step was billed and the sum counts.
    """
    steps = items(dig(usage, "iterations")) or [usage]
    plain, output = _total(steps, "input_tokens"), _total(steps, "output_tokens")
    read = _total(steps, "cache_read_input_tokens", default=0)
    written = _total(steps, "cache_creation_input_tokens", default=0)
    hour = _total(steps, "cache_creation", "ephemeral_1h_input_tokens", default=0)
    if plain is None or read is None or written is None:
        return None
    return _usage(
        plain + read + written,
        output,
        cached=read,
        written=written,
        written_1h=hour,
        reasoning=count(dig(usage, "output_tokens_details", "thinking_tokens")),
    )


def gemini_usage(usage: Any) -> Usage | None:
    """Usage of a Gemini answer: thoughts are billed as output and counted apart from the candidates.

    Some answers count them inside: when prompt, candidates and tool use already make up the total, nothing is added.
    Protobuf's JSON leaves zeros out, so a missing count (but for the prompt's) is 0.
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
        cached=count(dig(usage, "cachedContentTokenCount")),
        reasoning=thoughts,
    )


def _usage(
    total_input: int | None,
    total_output: int | None,
    *,
    cached: int | None = None,
    written: int | None = None,
    written_1h: int | None = None,
    reasoning: int | None = None,
    reported: Decimal | None = None,
) -> Usage | None:
    if total_input is None or total_output is None:
        return None
    cached, written, written_1h, reasoning = cached or 0, written or 0, written_1h or 0, reasoning or 0
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
    )


def _reported(usage: Any, dialect: Dialect) -> Decimal | None:
    if dialect.reported_cost == "usd":
        return money(dig(usage, "cost"))
    ticks = count(dig(usage, "cost_in_usd_ticks")) if dialect.reported_cost == "ticks" else None
    return None if ticks is None else ticks * _TICK


def _count_or_zero(value: Any) -> int | None:
    return 0 if value is None else count(value)


def _total(steps: list[Any], *path: str, default: int | None = None) -> int | None:
    """The sum over the steps; ``default`` stands for a missing count, nonsense makes the sum unknown."""
    values = [dig(step, *path) for step in steps]
    counts = [default if value is None else count(value) for value in values]
    return None if None in counts else sum(filter(None, counts))
