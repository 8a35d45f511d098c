"""When prices change between two moments: announced prices, and hours with prices of their own."""

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from money import flat_prices, moments, prices

from llmkit.money.price_changes import price_changes
from llmkit.money.pricing import rates_at
from llmkit.records import DatedPrice, Price, PriceWindow, price_on

MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
PEAK = PriceWindow(weekdays=(1, 2, 3, 4, 5), start=time(6), end=time(10), cost_input_per_million=Decimal(2))
PRICE = Price(cost_input_per_million=Decimal(1), cost_output_per_million=Decimal(4), price_windows=(PEAK,))


def test_the_hours_of_a_day_are_met_where_the_run_reaches_them():
    """Peak hours begin at 6; a run that has ended by then, or that goes on at a weekend, does not."""

    def met(begins, hours):
        return [moment for moment, _ in price_changes(PRICE, (), begins, begins + timedelta(hours=hours))]

    assert met(MONDAY, 6) == []
    assert met(MONDAY, 7) == [MONDAY + timedelta(hours=6)]
    assert met(MONDAY + timedelta(hours=7), 4) == [MONDAY + timedelta(hours=10)]
    saturday = MONDAY + timedelta(days=5)
    assert met(saturday, 40) == []
    assert met(saturday, 100) == [MONDAY + timedelta(days=7, hours=6)]


@given(
    price=prices,
    later=flat_prices,
    begins=moments,
    hours=st.integers(1, 400),
    after=st.integers(1, 400),
    at=st.floats(0, 1),
)
def test_no_rates_hold_that_are_not_told(price, later, begins, hours, after, at):
    """At any time of the run the rates are those of its beginning or of one of the changes."""
    begins = begins.replace(microsecond=0)
    ends = begins + timedelta(hours=hours)
    entries = [DatedPrice(reference="a:b", valid_from=begins + timedelta(hours=after), price=later)]
    changes = price_changes(price, entries, begins, ends)
    assert all(begins < moment < ends for moment, _ in changes)
    moment = begins + at * (ends - begins) * 0.999
    now = price_on(entries, moment)
    told = {rates_at(each, 0, when) for when, each in [(begins, price), *changes]}
    assert rates_at(now.price if now else price, 0, moment) in told
