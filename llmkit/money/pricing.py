"""Price × usage → money: the only place where money is computed. Pure, and exact in :class:`~decimal.Decimal`.

How the parts of a :class:`~llmkit.records.Price` combine, in this order:

0. the variant of the service tier that the answer was served at (see :mod:`llmkit.money.service_tiers`);
1. the base rates;
2. the first window that covers the time of the request replaces the rates that it sets;
3. the highest tier whose ``above`` is less than the whole input replaces the rates that it sets, for *all* tokens of
   the request. A tier therefore wins over a window where both set a rate, and exactly ``above`` tokens are still below
   the tier;
4. input and output rates that are still unknown come from the fallback (the provider's default costs), which applies
   to the standard tier only.

Cached input and cache writes without their own rate are billed as plain input, one-hour writes as cache writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal, localcontext
from operator import attrgetter
from typing import TypeVar

from llmkit.errors import ValidationError
from llmkit.money.service_tiers import at_tier
from llmkit.records import (
    EXACT,
    RATE_COLUMNS,
    STANDARD_TIER,
    CostSource,
    Model,
    Price,
    PriceWindow,
    Provider,
    Rates,
    Usage,
)

MILLION = 1_000_000
QUANTUM = Decimal("1e-10")  # the scale of DECIMAL(18,10), and exactly one of xAI's "ticks"
LARGEST = Decimal("99999999.9999999999")  # of DECIMAL(18,10); no single answer costs that much

Dearest = frozenset[tuple[int, Decimal | None, Decimal | None]]
"""Above which input, and at which rates of input and output."""

_each_rate = attrgetter(*RATE_COLUMNS)
_Rates = TypeVar("_Rates", bound=Rates)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of one answer in US dollars, with its rates and source.

    ``amount`` has 10 decimals (rounded half to even); it is ``None`` when unknown or implausibly large, and ``source``
    is then ``"unpriced"``. ``rates`` are those in force, per million tokens, completed from the fallback when
    ``source`` is ``"provider_default"``.
    """

    amount: Decimal | None
    rates: Rates
    source: CostSource


def cost(
    usage: Usage | None,
    price: Price,
    at: datetime,
    *,
    tier: str | None = None,
    fallback: Rates | None = None,
) -> Cost:
    """Compute the cost of an answer requested at ``at`` (timezone-aware) and served at ``tier``.

    A cost reported by the provider is used as it is (``"provider_reported"``), except a doubtful 0
    where ``price`` says that the tokens cost something. Otherwise it is computed from ``price`` (``"computed"``), or
    from ``fallback`` where ``price`` lacks a required rate (``"provider_default"``). A rate is required only when there
    are tokens of its kind; a rate of 0 is a price, and what is free needs no ``usage``. A tier without a variant in
    ``price`` is ``"unpriced"``. Searches are added to the cost of the tokens; calls without a price are left out
    (``"partly unpriced"``).

    Raises:
        ValidationError: ``at`` has no time zone.
    """
    served, usage = at_tier(price, tier), usage or Usage()
    whole = usage.input_tokens or 0
    base = rates_at(served or Price(), whole, at)
    reported = usage.reported_cost
    if reported == 0 and _amount(usage, rates_at(price, whole, at)):
        reported = None
    if reported is not None and reported.is_finite() and 0 <= reported <= LARGEST:
        return Cost(amount=_rounded(reported), rates=base, source="provider_reported")
    rates = base
    source: CostSource = "computed"
    if (amount := _amount(usage, rates)) is None and tier in (None, STANDARD_TIER) and fallback is not None:
        rates, source = with_fallback(base, fallback), "provider_default"
        amount = _amount(usage, rates)
    if amount is not None and (usage.searches or usage.other_calls):
        searches = _sum((usage.searches * 1000,), (price.cost_per_thousand_searches,))
        if searches is None or usage.other_calls:
            source = "partly unpriced"
        amount = EXACT.add(amount, searches or 0)
    if amount is None or amount > LARGEST or (usage.total_tokens is None and price.price_tiers):
        return Cost(amount=None, rates=base, source="unpriced")
    return Cost(amount=_rounded(amount), rates=rates, source=source)


def most_of(rates: Dearest, input_tokens: int, output_tokens: int) -> Decimal | None:
    """The most that a request within these token bounds can cost at the dearest of these rates; ``None`` when one that
    counts is unknown.

    No *computed* cost of tokens within these bounds is higher; what a provider reports, or bills by the call, may be.
    At most :data:`LARGEST`.
    """
    amounts = [
        _sum((input_tokens, output_tokens), (read, written)) for above, read, written in rates if above < input_tokens
    ]
    known = [amount for amount in amounts if amount is not None]
    return min(_rounded(max(known), ROUND_CEILING), LARGEST) if len(known) == len(amounts) else None


def dearest(price: Price, tiers: Iterable[str | None], fallback: Rates | None) -> Dearest:
    """All combinations possible during the week at these service ``tiers``: (input tokens above which it applies, the
    dearest rate of input, the rate of output); rates are ``None`` for a tier without a price.

    The dearest way to bill input counts: a cache write can cost more than plain input.
    """
    standard = price if fallback is None else with_fallback(price, fallback)
    return frozenset(
        (tier.above if tier else -1, _dearest_input(rates), rates.cost_output_per_million)
        for name in tiers
        for served in [standard if name == STANDARD_TIER else at_tier(price, name) or Price()]
        for window in (None, *served.price_windows)
        for tier in (None, *served.price_tiers)
        for rates in [_overlaid(served, window, tier)]
    )


def times(amount: Decimal, factor: Decimal) -> Decimal:
    """The amount times ``factor``, rounded up; at most :data:`LARGEST`."""
    return min(_rounded(EXACT.multiply(amount, factor), ROUND_CEILING), LARGEST)


def rates_at(price: Price, input_tokens: int, at: datetime) -> Rates:
    """The rates of a request of ``input_tokens`` (whole input) made at ``at``: base, then window, then tier."""
    moment = in_utc(at)
    if not (price.price_windows or price.price_tiers):
        return _overlaid(price)
    window = next((window for window in price.price_windows if covers(window, moment)), None)
    tiers = (tier for tier in price.price_tiers if tier.above < input_tokens)
    return _overlaid(price, window, max(tiers, key=lambda tier: tier.above, default=None))


def covers(window: PriceWindow, at: datetime) -> bool:
    """Whether a window holds at ``at``. The end is exclusive.

    A window whose end is not after its start runs past midnight and belongs to the day on which it starts; an end of
    00:00 is that day's midnight, and an end equal to the start makes 24 hours.
    """
    moment = in_utc(at)
    today, clock = moment.isoweekday(), moment.time()
    if window.start < window.end:
        return today in window.weekdays and window.start <= clock < window.end
    yesterday = (today - 2) % 7 + 1
    return (today in window.weekdays and clock >= window.start) or (yesterday in window.weekdays and clock < window.end)


def blended(rates: Rates) -> Decimal | None:
    """One figure to compare models by: US dollars per million tokens at an input-to-output ratio of 3:1; ``None`` when
    either rate is unknown.
    """
    read, written = rates.cost_input_per_million, rates.cost_output_per_million
    return None if read is None or written is None else (3 * read + written) / 4


def price_order(model: Model) -> tuple[bool, Decimal, str]:
    """Sort key: models by blended price, the cheapest first, unpriced ones last."""
    price = blended(model.price)
    return price is None, price or Decimal(0), model.reference


def saved_by_cache(usage: Usage, rates: Rates) -> Decimal | None:
    """What caching saved on the input, unrounded; negative when cache writes cost more than they saved, ``None`` when a
    rate is unknown.
    """
    _, cached, written, written_1h, _ = billed_tokens(usage)
    plain, rate, rate_written, rate_1h = input_rates(rates)
    kept = cached, written, written_1h
    cost, without = _sum(kept, (rate, rate_written, rate_1h)), _sum([sum(kept)], [plain])
    return None if cost is None or without is None else EXACT.subtract(without, cost)


def caching_pays(rates: Rates, uses: int) -> bool:
    """Whether input sent ``uses`` times costs less if it is written to the provider's cache once and then read."""
    plain, cached, written, _ = input_rates(rates)
    if plain is None or cached is None or written is None:
        return False
    return written + (uses - 1) * cached < uses * plain


def default_rates(provider: Provider) -> Rates | None:
    """The provider's default costs as a ``fallback``; ``None`` when it has none."""
    if provider.default_cost_input_per_million is None and provider.default_cost_output_per_million is None:
        return None
    return Rates(
        cost_input_per_million=provider.default_cost_input_per_million,
        cost_output_per_million=provider.default_cost_output_per_million,
    )


def total(amounts: Iterable[Decimal | None]) -> Decimal:
    """The exact sum of the amounts that are known."""
    with localcontext(EXACT):
        return sum((amount for amount in amounts if amount is not None), Decimal(0))


def split(usage: Usage, rates: Rates) -> tuple[Decimal | None, ...]:
    """The parts of a cost, unrounded: plain input, cached input, cache writes, output without reasoning, reasoning.

    ``None`` where there are tokens and no rate.
    """
    plain, cached, written, written_1h, output = billed_tokens(usage)
    rate, rate_cached, rate_written, rate_1h = input_rates(rates)
    reasoning = _clamp(usage.reasoning_tokens, output)
    return (
        _sum((plain,), (rate,)),
        _sum((cached,), (rate_cached,)),
        _sum((written, written_1h), (rate_written, rate_1h)),
        _sum((output - reasoning,), (rates.cost_output_per_million,)),
        _sum((reasoning,), (rates.cost_output_per_million,)),
    )


# --- the arithmetic -------------------------------------------------------------------------------------------------


def billed_tokens(usage: Usage) -> tuple[int, int, int, int, int]:
    """Tokens by rate: plain input, cached, written for 5 minutes, written for an hour, output.

    A provider's counts can contradict each other. The whole input then takes precedence, followed by cached reads and
    writes, so that the kinds of input always add up to the whole input and no token is billed twice or below zero.
    """
    whole = max(usage.input_tokens or 0, 0)
    cached = _clamp(usage.cached_input_tokens, whole)
    written = _clamp(usage.cache_write_tokens, whole - cached)
    written_1h = _clamp(usage.cache_write_1h_tokens, written)
    return whole - cached - written, cached, written - written_1h, written_1h, max(usage.output_tokens or 0, 0)


def _clamp(count: int, most: int) -> int:
    return min(max(count, 0), most)


def input_rates(rates: Rates) -> tuple[Decimal | None, Decimal | None, Decimal | None, Decimal | None]:
    """The rates for plain input, cached input, 5-minute and 1-hour cache writes, with their substitutes filled in."""
    plain = rates.cost_input_per_million
    cached = _first(rates.cost_cached_input_per_million, plain)
    written = _first(rates.cost_cache_write_per_million, plain)
    return plain, cached, written, _first(rates.cost_cache_write_1h_per_million, written)


def _amount(usage: Usage, rates: Rates) -> Decimal | None:
    if usage.total_tokens is None:
        required = rates.cost_input_per_million, rates.cost_output_per_million
        return None if None in required or any(_each_rate(rates)) else Decimal(0)
    return _sum(billed_tokens(usage), (*input_rates(rates), rates.cost_output_per_million))


def _dearest_input(rates: Rates) -> Decimal | None:
    plain, *others = input_rates(rates)
    return None if plain is None else max(rate for rate in (plain, *others) if rate is not None)


def _sum(counts: Sequence[int], rates: Sequence[Decimal | None]) -> Decimal | None:
    """Σ tokens × rate, unrounded; ``None`` when a required rate is unknown."""
    amount = Decimal(0)
    for count, rate in zip(counts, rates, strict=True):
        if count and rate is None:
            return None
        if count and rate:
            amount = EXACT.fma(rate, count, amount)
    return EXACT.divide(amount, MILLION)


def _rounded(amount: Decimal, rounding: str = ROUND_HALF_EVEN) -> Decimal:
    return amount.quantize(QUANTUM, rounding=rounding, context=EXACT)


def _overlaid(price: Price, *overlays: Rates | None) -> Rates:
    """The base rates, overridden by each overlay's known rates in turn."""
    values = _each_rate(price)
    for overlay in filter(None, overlays):
        values = tuple(map(_first, _each_rate(overlay), values))
    return Rates(**dict(zip(RATE_COLUMNS, values, strict=True)))


def with_fallback(rates: _Rates, fallback: Rates | None) -> _Rates:
    """The rates, with unknown input and output rates taken from ``fallback``."""
    if fallback is None:
        return rates
    return replace(
        rates,
        cost_input_per_million=_first(rates.cost_input_per_million, fallback.cost_input_per_million),
        cost_output_per_million=_first(rates.cost_output_per_million, fallback.cost_output_per_million),
    )


def _first(rate: Decimal | None, other: Decimal | None) -> Decimal | None:
    return other if rate is None else rate


def in_utc(at: datetime) -> datetime:
    """The moment in UTC."""
    if at.tzinfo is None:
        raise ValidationError(
            "A price depends on the hour, so a time needs its zone: use datetime.now(UTC).", field="at"
        )
    return at.astimezone(UTC)
