"""Our costs of the shipped catalog against the calculator of genai-prices, of exactly the version that was read."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib.metadata import version

import genai_prices
import pytest
from genai_prices.data import providers

from llmkit.catalog import load_seed
from llmkit.money.price_comparison import price_differences
from llmkit.money.pricing import cost
from llmkit.money.upstream_prices import read_price_list
from llmkit.records import DatedPrice, Usage, price_on

CASES = 6_000
TOLERANCE = Decimal("1e-10")
FIRST, LAST = datetime(2025, 1, 1, tzinfo=UTC), datetime(2027, 6, 30, tzinfo=UTC)
BATCH_SINCE = datetime(2026, 11, 23, tzinfo=UTC)  # the day of the catalog's batch discounts

PROVIDER_IDS = {"xai": "x-ai"}
MODEL_REFS = {
    # genai-prices knows these two under names with a suffix only (its data.py, provider mistral)
    "mistral:codestral": "codestral-latest",
    "mistral:pixtral-large": "pixtral-large-latest",
}


@dataclass(frozen=True)
class Difference:
    """A known difference: to whom and when it applies, why, and who says so."""

    models: frozenset[str]
    applies: Callable[[DatedPrice, datetime], bool]
    because: str
    source: str


PEAK_MODELS = frozenset({"deepseek:deepseek-flash", "deepseek:deepseek-v4-flash", "deepseek:deepseek-v4-pro"})
DIFFERENCES = {
    "DeepSeek at weekends": Difference(
        models=PEAK_MODELS,
        applies=lambda entry, at: bool(entry.price.price_windows) and at.isoweekday() > 5,
        because="genai-prices has no weekdays and applies peak hours every day; weekends are off-peak.",
        source="https://api-docs.deepseek.com/quick_start/pricing (Monday through Friday), "
        "https://github.com/pydantic/genai-prices/issues/582",
    ),
    "DeepSeek before today's peak price": Difference(
        models=PEAK_MODELS,
        applies=lambda entry, at: not entry.price.price_windows,
        because="genai-prices cannot date a daily window and applies today's peak price to every past day.",
        source="price_comments of deepseek-v4-flash and deepseek-v4-pro in genai-prices 0.2.3, "
        "https://github.com/pydantic/genai-prices/issues/582",
    ),
}


def theirs(reference: str, usage: Usage, at: datetime, **context: str) -> Decimal:
    """The cost by genai-prices."""
    provider, model_id = reference.split(":", 1)
    return genai_prices.calc_price(
        genai_prices.Usage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cached_input_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            cache_write_1h_tokens=usage.cache_write_1h_tokens,
        ),
        MODEL_REFS.get(reference, model_id),
        provider_id=PROVIDER_IDS.get(provider, provider),
        genai_request_timestamp=at,
        price_context=context or None,
    ).total_price


def random_usage(rng: random.Random, entries: tuple[DatedPrice, ...]) -> Usage:
    """Any sizes, and often a whole input just at a tier."""
    edges = [tier.above + step for entry in entries for tier in entry.price.price_tiers for step in (0, 1)]
    whole = rng.choice(edges) if edges and rng.random() < 0.3 else rng.randrange(rng.choice((100, 10_000, 1_000_000)))
    cached = rng.randrange(whole + 1) if rng.random() < 0.5 else 0
    written = rng.randrange(whole - cached + 1) if rng.random() < 0.5 else 0
    return Usage(
        input_tokens=whole,
        output_tokens=rng.randrange(rng.choice((10, 1_000, 100_000))),
        cached_input_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=rng.randrange(written + 1) if rng.random() < 0.5 else 0,
    )


def random_moment(rng: random.Random, entries: tuple[DatedPrice, ...], first: datetime = FIRST) -> datetime:
    """Any second of some years, and often the second of a price change, the one before it, or a full hour."""
    changes = [entry.valid_from for entry in entries if entry.valid_from and entry.valid_from > first]
    if changes and rng.random() < 0.3:
        return rng.choice(changes) - timedelta(seconds=rng.randrange(2))
    at = first + timedelta(seconds=rng.randrange(int((LAST - first).total_seconds())))
    return at.replace(minute=0, second=0) if rng.random() < 0.3 else at


def test_the_reference_is_the_pinned_version() -> None:
    """The table of differences was made for one version, which the development extra pins."""
    assert version("genai-prices") == "0.2.3"


def test_costs_agree_with_genai_prices() -> None:
    """Thousands of random (model, usage, moment) cases agree to 1e-10 dollars, but for the differences in the table."""
    rng = random.Random(20261123)
    seed = load_seed()
    upstream = {provider.id for provider in providers}
    references = sorted(ref for ref in seed.prices if PROVIDER_IDS.get(name := ref.split(":")[0], name) in upstream)
    counted: Counter[str] = Counter()
    asked = set()
    for _ in range(CASES):
        reference = rng.choice(references)
        entries = seed.prices[reference]
        usage, at = random_usage(rng, entries), random_moment(rng, entries)
        entry = price_on(entries, at)
        assert entry is not None, (reference, at)
        ours = cost(usage, entry.price, at).amount
        assert ours is not None, (reference, at)
        asked.add(reference)
        if abs(ours - theirs(reference, usage, at)) <= TOLERANCE:
            continue
        reasons = [
            name for name, known in DIFFERENCES.items() if reference in known.models and known.applies(entry, at)
        ]
        assert reasons, (reference, at, usage, ours, theirs(reference, usage, at))
        # the hour is all that they see differently: noon is off-peak in both
        assert abs(ours - theirs(reference, usage, at.replace(hour=12))) <= TOLERANCE, (reference, at, usage)
        counted[reasons[0]] += 1
    print(f"{CASES} cases, {len(asked)} models of {len(seed.providers)} providers; differences: {dict(counted)}")
    assert asked == set(references)
    added = {name for name in seed.providers if PROVIDER_IDS.get(name, name) in upstream}
    assert {reference.split(":")[0] for reference in asked} == added | {
        "anthropic", "deepseek", "google", "mistral", "openai", "xai"
    }  # fmt: skip
    assert counted.keys() == DIFFERENCES.keys(), "a difference that no longer occurs leaves the table"


PLACES = {"us", "api.eu.mistral.ai", "api.us.mistral.ai"}


@pytest.mark.parametrize("provider", ["anthropic", "google", "mistral", "openai", "xai"])
def test_batch_discounts_agree_with_genai_prices(provider: str) -> None:
    """Every model with a batch discount costs in a batch what genai-prices says."""
    rng = random.Random(20261123)
    seed = load_seed()
    discounted = [
        model for model in seed.unpriced_models.values() if model.provider == provider and model.batch_discount
    ]
    assert discounted
    for model in discounted:
        entries = seed.prices[model.reference]
        for _ in range(20):
            usage, at = random_usage(rng, entries), random_moment(rng, entries, BATCH_SINCE)
            price = replace(model, price=price_on(entries, at).price).full_price
            ours = cost(usage, price, at, tier="batch").amount
            reference = theirs(model.reference, usage, at, processing="batch")
            assert abs(ours - reference) <= TOLERANCE, (model.reference, at, usage, ours, reference)


@pytest.mark.parametrize("provider", ["anthropic", "google", "mistral", "openai", "xai"])
def test_variants_agree_with_genai_prices(provider: str) -> None:
    """Every model costs at each tier that it has what genai-prices says, but for the places that only we know."""
    rng = random.Random(20261124)
    seed = load_seed()
    keys = {"batch": "processing", "fast": "speed" if provider == "anthropic" else "service_tier"}
    tiers = Counter()
    for model in (model for model in seed.unpriced_models.values() if model.provider == provider):
        entries = seed.prices[model.reference]
        for _ in range(20):
            usage, at = random_usage(rng, entries), random_moment(rng, entries, BATCH_SINCE)
            price = price_on(entries, at).price
            for tier in sorted({each.service_tier for each in price.price_variants} - PLACES):
                ours = cost(usage, price, at, tier=tier).amount
                reference = theirs(model.reference, usage, at, **{keys.get(tier, "service_tier"): tier})
                assert abs(ours - reference) <= TOLERANCE, (model.reference, tier, at, usage, ours, reference)
                tiers[tier] += 1
    print(f"{provider}: {dict(tiers)}")
    assert tiers["batch"]
    assert (provider == "openai") == bool(tiers["priority"] and tiers["flex"])


def test_the_price_comparison_finds_nothing_to_change_in_the_shipped_catalog() -> None:
    """Every shipped price, tier and hour is the one of the pinned data, on the day on which they were read and after
    all announced changes; only DeepSeek's weekdays, which genai-prices cannot say, are ours.
    """
    seed = load_seed()
    for at in (datetime(2026, 11, 23, 12, tzinfo=UTC), LAST):
        assert list(price_differences(seed.models(at), seed.prices, read_price_list(), at)) == []
