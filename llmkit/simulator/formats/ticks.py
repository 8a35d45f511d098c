"""The cost that xAI puts into its usage: ticks of 1e-10 US dollars (xai-sdk 1.21, cost.py)."""

from __future__ import annotations

from llmkit.simulator.questions import Answer

# Ticks a token: input, cached input, output. 10,000 ticks a token are 1 US dollar per million tokens.
# Prices as listed in November 2026; a rehearsal needs plausible ones, not current ones.
_RATES = (
    ("grok-4.7", (20_000, 5_000, 60_000)),
    ("grok-4.6", (20_000, 5_000, 60_000)),
    ("grok-4.5", (20_000, 3_000, 60_000)),
    ("grok-build", (10_000, 2_000, 20_000)),
)
_USUAL = (12_500, 2_000, 25_000)
_LONG = 199_999  # input tokens above which everything costs double


def cost_in_ticks(model: str, answer: Answer) -> int:
    """What an answer costs."""
    plain, cached, output = next((rates for prefix, rates in _RATES if model.startswith(prefix)), _USUAL)
    fresh = answer.input_tokens - answer.cached
    cost = fresh * plain + answer.cached * cached + answer.output_tokens * output
    return cost * (2 if answer.input_tokens > _LONG else 1)
