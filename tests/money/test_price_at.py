"""Which price holds at which moment."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.errors import ValidationError
from llmkit.money.price_changes import next_change
from llmkit.money.pricing import cost, rates_at
from llmkit.records import DatedPrice, Price, PriceTier, PriceWindow, Usage, price_on

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
BASE, PEAK, TIER = Decimal(1), Decimal(2), Decimal(5)


def window(days: tuple[int, ...], start: str, end: str, **rates: Decimal) -> PriceWindow:
    """A window that doubles the input rate unless told otherwise."""
    rates = rates or {"cost_input_per_million": PEAK}
    return PriceWindow(weekdays=days, start=time.fromisoformat(start), end=time.fromisoformat(end), **rates)


def price(*windows: PriceWindow, tiers: tuple[PriceTier, ...] = ()) -> Price:
    """A price of 1 for input and output."""
    return Price(cost_input_per_million=BASE, cost_output_per_million=BASE, price_windows=windows, price_tiers=tiers)


def is_peak(priced: Price, day: int, clock: str) -> bool:
    """Whether the input rate is doubled on an ISO weekday at an hour."""
    at = datetime.combine((MONDAY + timedelta(days=day - 1)).date(), time.fromisoformat(clock), tzinfo=UTC)
    return rates_at(priced, 10, at).cost_input_per_million == PEAK


@pytest.mark.parametrize(
    ("days", "start", "end", "day", "clock", "expected"),
    [
        ((1, 2, 3, 4, 5), "01:00", "04:00", 1, "00:59:59.999999", False),
        ((1, 2, 3, 4, 5), "01:00", "04:00", 1, "01:00", True),
        ((1, 2, 3, 4, 5), "01:00", "04:00", 1, "03:59:59.999999", True),
        ((1, 2, 3, 4, 5), "01:00", "04:00", 1, "04:00", False),
        ((1, 2, 3, 4, 5), "01:00", "04:00", 5, "02:00", True),
        ((1, 2, 3, 4, 5), "01:00", "04:00", 6, "02:00", False),
        ((1, 2, 3, 4, 5), "01:00", "04:00", 7, "02:00", False),
        ((1,), "10:00", "00:00", 1, "23:59:59", True),  # 00:00 is the day's own midnight
        ((1,), "10:00", "00:00", 2, "00:00", False),
        ((6, 7), "00:00", "00:00", 6, "00:00", True),  # the whole day
        ((6, 7), "00:00", "00:00", 7, "23:59:59", True),
        ((6, 7), "00:00", "00:00", 1, "00:00", False),
        ((7,), "22:00", "02:00", 7, "22:00", True),  # past midnight, and past the end of the week
        ((7,), "22:00", "02:00", 1, "01:59:59", True),
        ((7,), "22:00", "02:00", 1, "02:00", False),
        ((7,), "22:00", "02:00", 7, "01:00", False),  # Saturday's night is not in it
        ((1,), "06:00", "06:00", 2, "05:59", True),  # 24 hours from its start
        ((1,), "06:00", "06:00", 2, "06:00", False),
        ((1,), "06:00", "06:00", 1, "05:59", False),
    ],
)
def test_a_window_holds_from_its_start_up_to_its_end(
    days: tuple[int, ...], start: str, end: str, day: int, clock: str, expected: bool
) -> None:
    """Hours are UTC, weekdays ISO, the end exclusive; a window past midnight belongs to the day it starts on."""
    assert is_peak(price(window(days, start, end)), day, clock) is expected


def test_the_hour_is_read_in_utc_whatever_zone_the_clock_is_in() -> None:
    """09:30 in Shanghai on a Monday is 01:30 UTC: DeepSeek's peak."""
    shanghai = timezone(timedelta(hours=8))
    peak = price(window((1, 2, 3, 4, 5), "01:00", "04:00"))
    usage = Usage(input_tokens=1_000_000, output_tokens=0)
    assert cost(usage, peak, datetime(2026, 11, 23, 9, 30, tzinfo=shanghai)).amount == PEAK
    assert cost(usage, peak, datetime(2026, 11, 23, 1, 30, tzinfo=shanghai)).amount == BASE


def test_a_time_without_a_zone_is_refused() -> None:
    """A naive time could be off by hours, so nothing is computed from it."""
    with pytest.raises(ValidationError, match="zone"):
        cost(Usage(input_tokens=1, output_tokens=1), price(), datetime(2026, 11, 23))


def test_a_window_replaces_only_what_it_names() -> None:
    """A window that names the input rate leaves the output rate at base."""
    rates = rates_at(price(window((1,), "00:00", "00:00")), 10, MONDAY)
    assert (rates.cost_input_per_million, rates.cost_output_per_million) == (PEAK, BASE)


def test_the_first_of_overlapping_windows_holds() -> None:
    """Windows are read in order."""
    first = window((1,), "00:00", "12:00")
    second = window((1,), "00:00", "00:00", cost_input_per_million=Decimal(9))
    assert rates_at(price(first, second), 10, MONDAY).cost_input_per_million == PEAK
    assert rates_at(price(first, second), 10, MONDAY.replace(hour=13)).cost_input_per_million == Decimal(9)


def test_a_tier_wins_over_a_window_where_both_name_a_rate() -> None:
    """Long context at peak hours: the tier's input rate, the window's output rate."""
    peak = window((1,), "00:00", "00:00", cost_input_per_million=PEAK, cost_output_per_million=PEAK)
    long = price(peak, tiers=(PriceTier(above=100, cost_input_per_million=TIER),))
    rates = rates_at(long, 101, MONDAY)
    assert (rates.cost_input_per_million, rates.cost_output_per_million) == (TIER, PEAK)


def entry(valid_from: datetime | None, amount: int) -> DatedPrice:
    """A dated price of ``amount`` per million input tokens."""
    return DatedPrice(reference="acme:one", valid_from=valid_from, price=Price(cost_input_per_million=Decimal(amount)))


def test_an_announced_price_takes_effect_on_its_day() -> None:
    """Until the moment of the change the old price holds, from that moment on the new one."""
    new_year = datetime(2027, 1, 1, tzinfo=UTC)
    entries = [entry(new_year, 2), entry(None, 1)]
    assert price_on(entries, new_year - timedelta(microseconds=1)) == entries[1]
    assert price_on(entries, new_year) == entries[0]
    assert next_change(entries, MONDAY) == entries[0]
    assert next_change(entries, new_year) is None


def test_a_later_entry_corrects_an_earlier_one_of_the_same_day() -> None:
    """Nothing is overwritten: of entries with the same start, the one appended last holds."""
    entries = [entry(None, 1), entry(MONDAY, 2), entry(MONDAY, 3), entry(None, 4)]
    before = MONDAY - timedelta(days=1)
    assert price_on(entries, MONDAY) == entries[2]
    assert price_on(entries, before) == entries[3]
    assert next_change(entries, before) == entries[2]


def test_before_the_first_entry_there_is_no_price() -> None:
    """A model whose first price begins later has none yet; neither has one without entries."""
    assert price_on([entry(MONDAY, 1)], MONDAY - timedelta(seconds=1)) is None
    assert price_on([], MONDAY) is None
    assert next_change([], MONDAY) is None


@given(st.lists(st.none() | st.datetimes(timezones=st.just(UTC)), min_size=1), st.datetimes(timezones=st.just(UTC)))
def test_the_price_in_force_and_the_next_one_leave_no_gap(starts: list[datetime | None], at: datetime) -> None:
    """No entry begins between the one in force and the next change; the order of entries does not matter."""
    entries = [entry(start, number) for number, start in enumerate(starts)]
    now, coming = price_on(entries, at), next_change(entries, at)
    assert now is None or now.valid_from is None or now.valid_from <= at
    assert coming is None or coming.valid_from > at
    for start in starts:
        begun = start is None or start <= at
        chosen = now if begun else coming
        assert chosen is not None
        if start is not None and chosen.valid_from is not None:
            assert start <= chosen.valid_from if begun else start >= chosen.valid_from
