"""Which numbers, names and dates are accepted, over many made-up ones."""

import contextlib
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.errors import ValidationError
from llmkit.records.checks import addresses, numbers, texts

prices = st.decimals(min_value=0, max_value=Decimal("9999999999"), places=8, allow_nan=False, allow_infinity=False)


@given(prices)
def test_every_price_that_fits_is_kept_exactly(value):
    """A Decimal and its text give the very same number, which the database's column can hold."""
    for given_as in (value, format(value, "f"), f"  {value:f} "):
        assert numbers.price(given_as, "cost") == value
    assert -numbers.price(value, "cost").as_tuple().exponent <= 8


@given(st.floats(min_value=0, max_value=1e6).map(lambda value: round(value, 6)))
def test_a_float_means_what_it_prints(value):
    """0.1 is one tenth, not the binary number nearest to it."""
    assert numbers.price(value, "cost") == Decimal(repr(value))


@given(
    st.one_of(
        st.decimals(max_value=Decimal("-1e-8"), allow_nan=False, allow_infinity=False),
        st.decimals(min_value=Decimal(10) ** 10, allow_nan=False, allow_infinity=False),
        st.decimals(allow_nan=True, allow_infinity=True).filter(lambda value: not value.is_finite()),
        st.decimals(min_value=0, max_value=1, places=12).filter(lambda value: value != round(value, 8)),
        st.booleans(),
        st.text(alphabet="abc$€%,;", min_size=1),
        st.lists(st.integers()),
    )
)
def test_every_other_price_is_refused_by_name(value):
    """Negative, huge, infinite, too fine, and what is no number: the error names the field."""
    with pytest.raises(ValidationError) as caught:
        numbers.price(value, "cost_input_per_million")
    assert caught.value.field == "cost_input_per_million"


def test_extreme_exponents_are_refused_quickly():
    """A number that would not fit any memory is refused, not computed."""
    for value in ("1e999999999", "-1e999999999", "1e-999999999"):
        with pytest.raises(ValidationError):
            numbers.price(value, "cost")


def test_numbers_of_numpy_and_pandas_are_numbers():
    """A value taken out of a DataFrame is accepted; a missing one is not a price."""
    assert numbers.price(np.float64(0.25), "cost") == Decimal("0.25")
    assert numbers.price(np.int64(3), "cost") == 3
    assert numbers.limit(np.int64(3), "limit", 10) == 3
    for missing in (float("nan"), pd.NA, np.nan):
        with pytest.raises(ValidationError):
            numbers.price(missing, "cost")


def test_a_third_of_an_amount_is_rounded_down_unless_it_must_be_exact():
    """``total / 3`` has more decimals than a column; a balance is what the provider shows, to the last digit."""
    assert numbers.amount(Decimal(1) / 3, "budget") == Decimal("0.3333333333")
    with pytest.raises(ValidationError):
        numbers.amount(Decimal(1) / 3, "balance", exact=True)


def test_zero_has_no_sign():
    """-0 is 0, as a price and as an amount."""
    assert str(numbers.price("-0.0", "cost")) == "0"
    assert str(numbers.amount("-0", "amount")) == "0"


@given(st.integers(min_value=1, max_value=1000))
def test_limits_up_to_the_bound_are_kept(value):
    """Every whole number from 1 to the bound is itself."""
    assert numbers.limit(value, "limit", 1000) == value


@given(st.one_of(st.integers(max_value=-1), st.integers(min_value=1001), st.floats(), st.booleans(), st.text()))
def test_other_limits_are_refused(value):
    """The message says the sensible range or the type."""
    with pytest.raises(ValidationError, match=r"between 1 and 1,000|whole number"):
        numbers.limit(value, "limit", 1000)


@pytest.mark.parametrize(
    "tiers",
    [
        "cheap", [5], [{"above": 0, "cost_input_per_million": 1}], [{"cost_input_per_million": 1}], [{"above": 10}],
        [{"above": 10, "cost_input_per_million": -1}], [{"above": 10, "cost": 1}], {"above": 10},
        [{"above": 10, "cost_input_per_million": 1}] * 2,
    ],
)  # fmt: skip
def test_tiers_that_make_no_sense_are_refused(tiers):
    """A tier needs its bound and a price, and two tiers need different bounds."""
    with pytest.raises(ValidationError) as caught:
        numbers.price_tiers(tiers)
    assert str(caught.value.field).split(".")[0] in ("price_tiers", "cost")


def test_tiers_are_sorted():
    """Lowest first, in whatever order they are given."""
    rows = [{"above": above, "cost_input_per_million": above} for above in (300, 100, 200)]
    assert [tier.above for tier in numbers.price_tiers(rows)] == [100, 200, 300]


@pytest.mark.parametrize(
    "change",
    [{"weekdays": []}, {"weekdays": [0]}, {"weekdays": [8]}, {"weekdays": "Mon"}, {"start": "25:00"}, {"end": None},
     {"start": "01:00+02:00"}, {"cost_input_per_million": None}, {"day": 3}],
)  # fmt: skip
def test_windows_that_make_no_sense_are_refused(change):
    """Weekdays are 1 to 7, hours are UTC times of day, and a price is named."""
    row = {"weekdays": [1], "start": "01:00", "end": "04:00", "cost_input_per_million": 1}
    assert len(numbers.price_windows([row])) == 1
    with pytest.raises(ValidationError):
        numbers.price_windows([row | change])


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a\tb", "a\nb", "a\x00b", "\u2028", "a\u202eb", "\u00a0x", "\ud800", "x" * 201, 5, None]
)
def test_model_ids_have_no_spaces(name):
    """What would break a URL, a log line or a table is no model id."""
    with pytest.raises(ValidationError):
        texts.model_id(name)


@pytest.mark.parametrize("name", ["gpt-6-luna", "meta/llama-3:free", "llama3:8b", "ft:gpt-4o:org::id", "模型"])
def test_model_ids_may_have_colons_and_slashes(name):
    """Hugging Face paths, Ollama tags and fine-tunes are model ids."""
    assert texts.model_id(name) == name


def test_moments_are_utc():
    """Dates are their midnight, naive times are UTC, other zones are converted, and text is read."""
    noon = datetime(2026, 12, 1, 12, tzinfo=UTC)
    assert texts.moment(date(2026, 12, 1), "at") == datetime(2026, 12, 1, tzinfo=UTC)
    assert texts.moment("2026-12-01", "at") == datetime(2026, 12, 1, tzinfo=UTC)
    for value in (datetime(2026, 12, 1, 12), "2026-12-01T14:00+02:00", pd.Timestamp(noon), "2026-12-01T12:00Z"):
        assert texts.moment(value, "at") == noon
    for value in ("soon", None, 5, pd.NaT, "2026-13-01"):
        with pytest.raises(ValidationError):
            texts.moment(value, "at")
        if value is not None:
            with pytest.raises(ValidationError):
                texts.day(value, "at")


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_json_values_come_back_the_same(value):
    """A setting is returned as it was given."""
    assert texts.json_value(value, "value") == value


@pytest.mark.parametrize("value", [{1: "a"}, {1, 2}, Decimal(1), float("nan"), object(), {"a": {2: 3}}, b"x"])
def test_what_json_would_change_is_refused(value):
    """Keys that are no text, sets, Decimals and NaN would come back as something else."""
    with pytest.raises(ValidationError):
        texts.json_value(value, "value")


@given(st.one_of(st.text(max_size=60), st.text(max_size=20).map("https://".__add__)))
def test_no_text_is_an_address_by_accident(value):
    """Arbitrary text gives an error in words, or a URL of http or https without a trailing slash."""
    with contextlib.suppress(ValidationError):
        url = addresses.base_url(value)
        assert url.startswith(("https://", "http://"))
        assert not url.endswith("/")
        assert addresses.base_url(url) == url
