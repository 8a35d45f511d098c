"""The price of a model at a service tier: the tier's variant replaces the standard rates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from llmkit.records import BATCH_TIER, EXACT, RATE_COLUMNS, STANDARD_TIER, Price, PriceTier, PriceVariant, Rates

_ALONE = (STANDARD_TIER, BATCH_TIER, "fast", "flex", "priority", "scale")


def at_tier(price: Price, tier: str | None) -> Price | None:
    """The price at a tier such as ``"flex"``, or at a combination such as ``"fast+us"``; ``None`` when the price has no
    such variant. A tier of ``None`` is the standard one.
    """
    return price if tier in (None, STANDARD_TIER) else _at_other_tier(price, tier)


def in_batch(tier: str | None) -> str:
    """The tier of an answer from a batch: ``batch``, combined with the place that the reply reports. Tiers for single
    requests do not combine with it: OpenAI reports ``default``, whatever the request asks for, and Anthropic has no
    fast mode in batches.
    """
    others = [name for name in (tier or STANDARD_TIER).split("+") if name not in _ALONE]
    return "+".join([BATCH_TIER, *others])


def askable(price: Price) -> tuple[str, ...]:
    """The priced tiers that a request can ask for; the parts of ``"fast+us"`` are listed separately."""
    names = (each.service_tier for each in price.price_variants)
    return (STANDARD_TIER, *(name for name in names if name != BATCH_TIER and "." not in name))


def at_host(price: Price, tier: str | None, base_url: str) -> str | None:
    """The tier of requests to an address, combined with the variant that the price has under the name of its host."""
    host = urlsplit(base_url).hostname
    if all(each.service_tier != host for each in price.price_variants):
        return tier
    return host if tier in (None, STANDARD_TIER) else f"{tier}+{host}"


@lru_cache(maxsize=4096)  # called for every answer
def _at_other_tier(price: Price, tier: str) -> Price | None:
    variants = {variant.service_tier: variant for variant in price.price_variants}
    if tier in variants:  # "fast+us" can have its own rates
        return _applied(price, [variants[tier]])
    names = tier.split("+")
    if not variants.keys() >= set(names):
        return None
    return _applied(price, sorted((variants[name] for name in names), key=lambda variant: variant.factor is not None))


def _applied(price: Price, variants: Iterable[PriceVariant]) -> Price:
    """Apply variants in order; rates come before factors, so that factors scale them too."""
    for variant in variants:
        price = _replaced(price, variant) if variant.factor is None else _scaled(price, variant.factor)
    return price


def _scaled(price: Price, factor: Decimal) -> Price:
    return replace(
        price,
        **_times(price, factor),
        price_tiers=tuple(replace(tier, **_times(tier, factor)) for tier in price.price_tiers),
        price_windows=tuple(replace(window, **_times(window, factor)) for window in price.price_windows),
    )


def _times(rates: Rates, factor: Decimal) -> dict[str, Any]:
    return {name: EXACT.multiply(rate, factor) for name, rate in _named(rates).items()}


def _replaced(price: Price, variant: PriceVariant) -> Price:
    """Replace the standard rates that the variant sets, long-context tiers included."""
    unset: dict[str, Any] = dict.fromkeys(_named(variant))
    standard = [replace(tier, **unset) for tier in price.price_tiers]
    bounds = sorted({tier.above for tier in (*standard, *variant.price_tiers)})
    return replace(
        price,
        **_named(variant),
        price_tiers=tuple(
            PriceTier(above=above, **{**_from(standard, above), **_from(variant.price_tiers, above)})
            for above in bounds
        ),
        price_windows=tuple(replace(window, **unset) for window in price.price_windows),
    )


def _from(tiers: Iterable[PriceTier], above: int) -> Mapping[str, Any]:
    """The rates of the highest tier that starts at or below ``above``."""
    begun = (tier for tier in tiers if tier.above <= above)
    highest = max(begun, key=lambda tier: tier.above, default=None)
    return {} if highest is None else _named(highest)


def _named(rates: Rates) -> dict[str, Any]:
    return {name: rate for name in RATE_COLUMNS if (rate := getattr(rates, name)) is not None}
