"""Billed tokens and their cost, for each provider's own way of counting."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from typing import Any

from wire_requests import spoken

from llmkit.money.pricing import cost
from llmkit.records import Call, Completion, HttpResponse, Message, Model, Price, Usage

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
# Every kind of token has a price of its own, so that a token counted as the wrong kind shows in the cost.
PRICE = Price(
    cost_input_per_million=Decimal(2),
    cost_output_per_million=Decimal(10),
    cost_cached_input_per_million=Decimal("0.2"),
    cost_cache_write_per_million=Decimal("2.5"),
    cost_cache_write_1h_per_million=Decimal(4),
)


def billed(wire: str, provider: str, body: dict[str, Any]) -> Usage:
    """The usage of an answer with this body."""
    call = Call(model=Model(provider=provider, model_id="m", display_name="m"), messages=(Message("user", "hi"),))
    response = HttpResponse(status=200, headers={}, body=json.dumps(body).encode(), received_at=NOW)
    reply = spoken(wire, provider).parse(call, response)
    assert isinstance(reply, Completion)
    assert reply.usage is not None
    return reply.usage


def dollars(usage: Usage) -> Decimal | None:
    """What the usage costs at ``PRICE``."""
    return cost(usage, PRICE, NOW).amount


def chat(usage: dict[str, Any], content: Any = "Yes.") -> dict[str, Any]:
    """A chat completion with this usage."""
    return {"choices": [{"message": {"content": content}, "finish_reason": "stop"}], "usage": usage}


def test_anthropic_cache_tokens_are_added_to_the_input() -> None:
    """Anthropic's input_tokens excludes what was read from and written to the cache."""
    usage = billed(
        "anthropic_messages",
        "anthropic",
        {
            "content": [{"type": "text", "text": "Yes."}],
            "stop_reason": "end_turn",
            "usage": {
                "input_tokens": 1_000,
                "cache_read_input_tokens": 20_000,
                "cache_creation_input_tokens": 3_000,
                "cache_creation": {"ephemeral_5m_input_tokens": 2_000, "ephemeral_1h_input_tokens": 1_000},
                "output_tokens": 500,
                "output_tokens_details": {"thinking_tokens": 400},
            },
        },
    )
    assert usage == Usage(
        input_tokens=24_000,
        output_tokens=500,
        cached_input_tokens=20_000,
        cache_write_tokens=3_000,
        cache_write_1h_tokens=1_000,
        reasoning_tokens=400,
    )
    # 1,000 plain at $2, 20,000 read at $0.20, 2,000 written at $2.50, 1,000 for an hour at $4, 500 out at $10
    assert dollars(usage) == Decimal("0.002") + Decimal("0.004") + Decimal("0.005") + Decimal("0.004") + Decimal(
        "0.005"
    )


def test_anthropic_steps_of_a_compacted_conversation_are_summed() -> None:
    """When compaction ran, every step was billed."""
    steps = [{"input_tokens": 100, "output_tokens": 10}, {"input_tokens": 30, "output_tokens": 5}]
    body = {
        "content": [{"type": "text", "text": "Yes."}],
        "usage": {"input_tokens": 30, "output_tokens": 5, "iterations": steps},
    }
    usage = billed("anthropic_messages", "anthropic", body)
    assert (usage.input_tokens, usage.output_tokens) == (130, 15)


def gemini(**usage: int) -> Usage:
    """The usage of a Gemini answer."""
    body = {
        "candidates": [{"content": {"parts": [{"text": "Yes."}]}, "finishReason": "STOP"}],
        "usageMetadata": usage,
    }
    return billed("gemini", "google", body)


def test_gemini_thoughts_are_added_to_the_output() -> None:
    """Gemini counts thoughts apart from the candidates and bills both; cached tokens are inside the prompt."""
    usage = gemini(
        promptTokenCount=5_000,
        cachedContentTokenCount=4_000,
        candidatesTokenCount=200,
        thoughtsTokenCount=800,
        totalTokenCount=6_000,
    )
    assert usage == Usage(input_tokens=5_000, output_tokens=1_000, cached_input_tokens=4_000, reasoning_tokens=800)
    assert dollars(usage) == Decimal("0.002") + Decimal("0.0008") + Decimal("0.01")


def test_gemini_thoughts_inside_the_candidates_are_not_added_twice() -> None:
    """When prompt and candidates already make the total, the candidates include the thoughts."""
    usage = gemini(promptTokenCount=5_000, candidatesTokenCount=1_000, thoughtsTokenCount=800, totalTokenCount=6_000)
    assert usage == Usage(input_tokens=5_000, output_tokens=1_000, reasoning_tokens=800)
    assert dollars(usage) == Decimal("0.01") + Decimal("0.01")


def test_gemini_tool_prompts_are_input() -> None:
    """The prompt of tool use is billed as input."""
    usage = gemini(promptTokenCount=100, toolUsePromptTokenCount=40, candidatesTokenCount=10, totalTokenCount=150)
    assert (usage.input_tokens, usage.output_tokens) == (140, 10)


def test_xai_reasoning_is_added_when_the_total_includes_it() -> None:
    """xAI's completion_tokens exclude reasoning, and the total gives it away."""
    usage = billed(
        "openai_chat",
        "xai",
        chat(
            {
                "prompt_tokens": 1_000,
                "completion_tokens": 100,
                "total_tokens": 1_900,
                "prompt_tokens_details": {"cached_tokens": 500},
                "completion_tokens_details": {"reasoning_tokens": 800},
            }
        ),
    )
    assert usage == Usage(input_tokens=1_000, output_tokens=900, cached_input_tokens=500, reasoning_tokens=800)
    assert dollars(usage) == Decimal("0.001") + Decimal("0.0001") + Decimal("0.009")


def test_more_reasoning_than_output_is_billed_beside_it_where_no_total_tells() -> None:
    """Reasoning cannot be inside an output that is smaller: without a total it is added, never billed as nothing."""
    usage = {"prompt_tokens": 1_000, "completion_tokens": 100, "completion_tokens_details": {"reasoning_tokens": 800}}
    expected = Usage(input_tokens=1_000, output_tokens=900, reasoning_tokens=800)
    assert billed("openai_chat", "xai", chat(usage)) == expected


def test_xai_reasoning_is_not_added_when_the_total_does_not_say_so() -> None:
    """Where prompt and completion already make the total, the completion includes the reasoning."""
    details = {"completion_tokens_details": {"reasoning_tokens": 800}}
    usage = billed(
        "openai_chat", "xai", chat({"prompt_tokens": 1_000, "completion_tokens": 900, "total_tokens": 1_900, **details})
    )
    assert usage == Usage(input_tokens=1_000, output_tokens=900, reasoning_tokens=800)
    assert dollars(usage) == Decimal("0.002") + Decimal("0.009")


def test_xai_cost_in_ticks_is_what_it_costs() -> None:
    """xAI says what the answer cost, in ticks of 1e-10 dollars, and that is taken."""
    usage = billed(
        "openai_chat",
        "xai",
        chat({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cost_in_usd_ticks": 37_756_000}),
    )
    assert usage.reported_cost == Decimal("0.0037756")
    assert dollars(usage) == Decimal("0.0037756")


def test_openrouter_cost_is_what_it_costs() -> None:
    """OpenRouter says what the answer cost in dollars; the number arrives without a float's error."""
    usage = billed("openai_chat", "openrouter", chat({"prompt_tokens": 10, "completion_tokens": 5, "cost": 0.1 + 0.2}))
    assert usage.reported_cost == Decimal("0.300000000000000040")
    exact = billed("openai_chat", "openrouter", chat({"prompt_tokens": 10, "completion_tokens": 5, "cost": 0.00014}))
    assert dollars(exact) == Decimal("0.00014")


def test_reported_costs_are_exact_whatever_a_notebook_has_set() -> None:
    """A precision of six digits is for the user's own sums."""
    told = {"cost": 0.123456789, "is_byok": True, "cost_details": {"upstream_inference_cost": 1.000000001}}
    with localcontext(prec=6):
        dollar = billed("openai_chat", "openrouter", chat({"prompt_tokens": 10, "completion_tokens": 5, **told}))
        ticks = {"prompt_tokens": 10, "completion_tokens": 5, "cost_in_usd_ticks": 12_345_678_901}
        tick = billed("openai_chat", "xai", chat(ticks))
    assert (dollar.reported_cost, tick.reported_cost) == (Decimal("1.12345679"), Decimal("1.2345678901"))


def test_other_providers_cost_field_is_not_taken_for_dollars() -> None:
    """A cost of unknown unit is not believed."""
    usage = billed("openai_chat", "custom", chat({"prompt_tokens": 10, "completion_tokens": 5, "cost": 3}))
    assert usage.reported_cost is None


def test_deepseek_hits_and_misses_are_the_input() -> None:
    """DeepSeek's prompt is cache hits and misses; hits are billed as cached."""
    usage = billed(
        "openai_chat",
        "deepseek",
        chat(
            {
                "prompt_tokens": 1_000,
                "prompt_cache_hit_tokens": 640,
                "prompt_cache_miss_tokens": 360,
                "completion_tokens": 100,
                "completion_tokens_details": {"reasoning_tokens": 60},
            }
        ),
    )
    assert usage == Usage(input_tokens=1_000, output_tokens=100, cached_input_tokens=640, reasoning_tokens=60)
    assert dollars(usage) == Decimal("0.00072") + Decimal("0.000128") + Decimal("0.001")


def test_deepseek_hits_and_misses_suffice() -> None:
    """Without prompt_tokens, hits and misses add up to it."""
    usage = billed(
        "openai_chat",
        "deepseek",
        chat({"prompt_cache_hit_tokens": 640, "prompt_cache_miss_tokens": 360, "completion_tokens": 1}),
    )
    assert (usage.input_tokens, usage.cached_input_tokens) == (1_000, 640)


def test_mistral_list_content_is_billed_like_any_other() -> None:
    """Mistral's answer as a list of chunks: reasoning is inside completion_tokens."""
    content = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}, {"type": "text", "text": "Yes."}]
    usage = billed(
        "openai_chat",
        "mistral",
        chat(
            {
                "prompt_tokens": 100,
                "completion_tokens": 50,
                "total_tokens": 150,
                "prompt_tokens_details": {"cached_tokens": 20},
                "completion_tokens_details": {"reasoning_tokens": 40},
            },
            content,
        ),
    )
    assert usage == Usage(input_tokens=100, output_tokens=50, cached_input_tokens=20, reasoning_tokens=40)
    assert dollars(usage) == Decimal("0.00016") + Decimal("0.000004") + Decimal("0.0005")


def test_openai_cache_writes_are_billed_as_such() -> None:
    """OpenAI's prompt_tokens include cache reads and, since gpt-5.6, cache writes."""
    usage = billed(
        "openai_chat",
        "openai",
        chat(
            {
                "prompt_tokens": 10_000,
                "completion_tokens": 300,
                "prompt_tokens_details": {"cached_tokens": 6_000, "cache_write_tokens": 3_000},
                "completion_tokens_details": {"reasoning_tokens": 200},
            }
        ),
    )
    assert usage == Usage(
        input_tokens=10_000,
        output_tokens=300,
        cached_input_tokens=6_000,
        cache_write_tokens=3_000,
        reasoning_tokens=200,
    )
    assert dollars(usage) == Decimal("0.002") + Decimal("0.0012") + Decimal("0.0075") + Decimal("0.003")


def test_openai_responses_count_the_same() -> None:
    """The Responses format has other names for the same counts."""
    usage = billed(
        "openai_responses",
        "openai",
        {
            "status": "completed",
            "output": [{"type": "message", "content": [{"type": "output_text", "text": "Yes."}]}],
            "usage": {
                "input_tokens": 10_000,
                "input_tokens_details": {"cached_tokens": 6_000, "cache_write_tokens": 3_000},
                "output_tokens": 300,
                "output_tokens_details": {"reasoning_tokens": 200},
            },
        },
    )
    assert (usage.cached_input_tokens, usage.cache_write_tokens, usage.reasoning_tokens) == (6_000, 3_000, 200)
    assert dollars(usage) == Decimal("0.002") + Decimal("0.0012") + Decimal("0.0075") + Decimal("0.003")


def test_details_that_do_not_fit_are_billed_at_the_full_price() -> None:
    """More cached tokens than prompt tokens cannot be: the whole prompt is billed as plain input."""
    usage = billed(
        "openai_chat",
        "custom",
        chat({"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 11}}),
    )
    assert usage == Usage(input_tokens=10, output_tokens=5)
