"""Prices, amounts and limits: exact values from whatever a form or a script passes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import time
from decimal import ROUND_DOWN, Decimal, InvalidOperation
from numbers import Integral
from typing import Any

from llmkit.errors import ValidationError
from llmkit.records import EXACT, RATE_COLUMNS, STANDARD_TIER, PriceTier, PriceVariant, PriceWindow
from llmkit.records.checks.shapes import is_number, is_real, kind
from llmkit.records.checks.texts import known_names
from llmkit.records.rows import Row
from llmkit.records.user_warnings import warn

MAX_PARALLEL = 1_000
MAX_PER_MINUTE = 1_000_000
MAX_TOKENS = 1_000_000_000
"""The maximum for limits and token counts; more is surely a mistake (and would not fit the database)."""

_PRICE_PLACES, _PRICE_BELOW = 8, Decimal(10) ** 10  # DECIMAL(18, 8)
_AMOUNT_PLACES, _AMOUNT_BELOW = 10, Decimal(10) ** 8  # DECIMAL(18, 10)


def price(value: Any, field: str) -> Decimal | None:
    """US dollars per million tokens: ``None`` (unknown), or from 0 to below 10^10 with at most 8 decimals."""
    if value is None:
        return None
    number = _decimal(value, field, places=_PRICE_PLACES, below=_PRICE_BELOW)
    if number < 0:
        raise ValidationError(f"{field} cannot be negative; a price that is not known is None.", field=field)
    return number


def amount(value: Any, field: str, *, exact: bool = False) -> Decimal:
    """An amount of US dollars, negative for overdrawn accounts: below 10^8, with at most 10 decimals, to which amounts
    such as ``total / 3`` are rounded down unless ``exact``.
    """
    rounding = None if exact else ROUND_DOWN
    return _decimal(value, field, places=_AMOUNT_PLACES, below=_AMOUNT_BELOW, rounding=rounding)


def share(value: Any, field: str) -> Decimal | None:
    """``None`` or a share between 0 and 1; 0.5 is half."""
    number = None if value is None else _decimal(value, field, places=_PRICE_PLACES, below=_PRICE_BELOW)
    if number is not None and not 0 <= number <= 1:
        raise ValidationError(f"{field} is a share between 0 and 1; a half is 0.5.", field=field)
    return number


def _decimal(value: Any, field: str, *, places: int, below: Decimal, rounding: str | None = None) -> Decimal:
    if not is_real(value) and not isinstance(value, Decimal | str):
        raise ValidationError(f"{field} must be a number (or text such as '0.25'), not {kind(value)}.", field=field)
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise ValidationError(f"{field} must be a number such as 0.25, without signs or units.", field=field) from None
    if not number.is_finite():
        raise ValidationError(f"{field} must be a finite number; use None when it is not known.", field=field)
    if number.copy_abs() >= below:
        raise ValidationError(f"{field} must be below {below:,f}.", field=field)
    rounded = number.quantize(Decimal(1).scaleb(-places, EXACT), rounding, context=EXACT)
    if rounded != number and rounding is None:
        raise ValidationError(f"{field} can have at most {places} decimals; round it.", field=field)
    return _plain(rounded)


def _plain(number: Decimal) -> Decimal:
    """Without trailing zeros or an exponent: the same price always has the same text."""
    rounded = number.to_integral_value(context=EXACT)
    if number != rounded:
        return number.normalize(EXACT)
    return rounded.copy_abs() if rounded == 0 else rounded


def price_tiers(value: Any, field: str = "price_tiers") -> tuple[PriceTier, ...]:
    """Long-context tiers, lowest first, from dicts such as ``{"above": 200000, "cost_input_per_million": 4}``."""
    tiers = []
    for row in _rows(value, field, ("above", *RATE_COLUMNS)):
        above = whole(row.get("above"), f"{field}.above", 1, MAX_TOKENS)
        tiers.append(PriceTier(above=above, **_rates(row, field)))
    if len({tier.above for tier in tiers}) < len(tiers):
        raise ValidationError(f"{field}: two tiers begin above the same number of tokens.", field=field)
    return tuple(sorted(tiers, key=lambda tier: tier.above))


def price_windows(value: Any, field: str = "price_windows") -> tuple[PriceWindow, ...]:
    """Peak hours from dicts such as ``{"weekdays": [1, 2], "start": "01:00", "end": "04:00", "cost_...": 0.3}``."""
    windows = []
    for row in _rows(value, field, ("weekdays", "start", "end", *RATE_COLUMNS)):
        days = row.get("weekdays")
        if not isinstance(days, list | tuple) or not days or not all(map(_is_weekday, days)):
            raise ValidationError(f"{field}: 'weekdays' is a list of numbers, Monday is 1 and Sunday 7.", field=field)
        start, end = (_clock(row.get(name), field, name) for name in ("start", "end"))
        days = tuple(sorted(int(day) for day in set(days)))
        windows.append(PriceWindow(weekdays=days, start=start, end=end, **_rates(row, field)))
    return tuple(windows)


def price_variants(value: Any, field: str = "price_variants") -> tuple[PriceVariant, ...]:
    """Rates of other service tiers, from dicts such as ``{"service_tier": "priority", "factor": 2}`` or
    ``{"service_tier": "flex", "cost_input_per_million": 0.5, "cost_output_per_million": 2, "price_tiers": [...]}``.
    They are sorted by name.
    """
    variants = []
    for row in _rows(value, field, ("service_tier", "factor", "price_tiers", *RATE_COLUMNS)):
        name, factor = row.get("service_tier"), price(row.get("factor"), f"{field}.factor")
        if not isinstance(name, str) or not name.strip() or name == STANDARD_TIER:
            raise ValidationError(
                f"{field}: 'service_tier' is the name of a tier other than the standard one, such as 'flex'.",
                field=field,
            )
        if factor is not None and row.keys() - {"service_tier", "factor"}:
            raise ValidationError(f"{field}: {name} has a factor or rates of its own, not both.", field=field)
        tiers = price_tiers(row.get("price_tiers"), f"{field}.price_tiers")
        rates = {} if factor is not None else _rates(row, field)
        variants.append(PriceVariant(service_tier=name, factor=factor, price_tiers=tiers, **rates))
    if len({variant.service_tier for variant in variants}) < len(variants):
        raise ValidationError(f"{field}: one service tier is named twice.", field=field)
    return tuple(sorted(variants, key=lambda variant: variant.service_tier))


def _is_weekday(day: Any) -> bool:
    return is_real(day, Integral) and 1 <= int(day) <= 7


def _rows(value: Any, field: str, allowed: Iterable[str]) -> list[Mapping[str, Any]]:
    if value is not None and not isinstance(value, list | tuple):
        raise ValidationError(f"{field} must be a list of dicts, or None for none.", field=field)
    rows = [row.to_row() if isinstance(row, Row) else row for row in value or ()]
    for row in rows:
        if not isinstance(row, Mapping):
            raise ValidationError(f"{field} must be a list of dicts.", field=field)
        known_names(row, allowed, field)
    return rows


def _rates(row: Mapping[str, Any], field: str) -> dict[str, Decimal | None]:
    rates = {name: price(row[name], f"{field}.{name}") for name in RATE_COLUMNS if row.get(name) is not None}
    if not rates:
        raise ValidationError(f"{field}: name at least one price, such as cost_input_per_million.", field=field)
    return dict(rates)


def _clock(value: Any, field: str, name: str) -> time:
    try:
        clock = value if isinstance(value, time) else time.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValidationError(f"{field}: {name!r} is a UTC time of day such as '01:00'.", field=field) from None
    if clock.tzinfo is not None:
        raise ValidationError(f"{field}: {name!r} is always UTC; leave the zone out.", field=field)
    return clock


def between(value: Any, field: str, low: float, high: float) -> float | None:
    """``None`` or a number within limits; for values that are not money."""
    if value is None:
        return None
    number = float(value) if isinstance(value, Decimal) and value.is_finite() else value
    if not is_number(number) or not low <= number <= high:
        raise ValidationError(f"{field} must be a number from {low} to {high}, not {value!r}.", field=field)
    return int(number) if isinstance(number, Integral) else float(number)


# --- counts ---------------------------------------------------------------------------------------------------------


def whole(value: Any, field: str, least: int | None = None, most: int | None = None) -> int:
    """A whole number within limits; numpy integers are accepted."""
    if not is_real(value, Integral):
        raise ValidationError(f"{field} must be a whole number, not {kind(value)}.", field=field)
    number = int(value)
    if (least is not None and number < least) or (most is not None and number > most):
        limits = f"of at least {least}" if most is None else f"from {least} to {most:,}"
        raise ValidationError(f"{field} must be a whole number {limits}, not {number:,}.", field=field)
    return number


def limit(value: Any, field: str, most: int) -> int:
    """A limit of at least 1. 0 becomes 1 with a warning: it would block the provider for good."""
    number = whole(value, field, 0, most)
    if number == 0:
        warn(f"{field}=0 would stop every request, so 1 is used. To switch a provider off, set is_enabled=False.")
        return 1
    return number


def optional_limit(value: Any, field: str, most: int = MAX_TOKENS) -> int | None:
    """``None`` (no such limit) or a limit of at least 1, as :func:`limit` accepts it."""
    return None if value is None else limit(value, field, most)


def count(value: Any, field: str, most: int = MAX_TOKENS) -> int | None:
    """``None`` (unknown) or a number of at least 1."""
    return None if value is None else whole(value, field, 1, most)
