"""Exports as they come from people's hands: saved again by a spreadsheet, in other zones, or no export at all."""

import json
import warnings
from decimal import Decimal

import pandas as pd
import pytest

import llmkit
from llmkit.analysis.bill_exports import read_bill

ROWS = (("2026-11-26", "one", "0.0055"), ("2026-11-27", "two", "12.5"))
PLAIN = "date,model,cost_usd\n" + "".join(f"{','.join(row)}\n" for row in ROWS)


def lines(source):
    """Day, model and amount of each line."""
    return [(line.day, line.model, line.amount) for line in read_bill(source)]


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode(),
        PLAIN.encode("utf-8-sig"),
        PLAIN.encode("utf-16"),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace(",", "\t").encode(),
        PLAIN.replace(",", ";").replace("0.0055", "0,0055").replace("12.5", "12,5").encode(),
        PLAIN.replace("date,model", "date , model").encode(),
        "".join(f"{','.join(reversed(row.split(',')))}\n" for row in PLAIN.splitlines()).encode(),
        PLAIN.replace("one,0.0055", '"one, ""input""\nand more",$0.0055').encode(),
        PLAIN.replace("12.5", "12.5,,").encode(),
        PLAIN.replace("2026-11-26", "2026-11-25T16:30:00-08:00").encode(),
        PLAIN.replace("2026-11-26", "2026-11-26 10:00:00 UTC").encode(),
    ],
    ids=[
        "plain", "BOM", "UTF-16", "CRLF", "tabs", "semicolons", "blanks", "order", "quoted", "ragged", "zone", "UTC"
    ],
)  # fmt: skip
def test_the_same_bill_in_other_clothes_is_the_same(tmp_path, content):
    """Separators, encodings, the order of columns and time zones change nothing."""
    file = tmp_path / "bill.csv"
    file.write_bytes(content)
    assert lines(file) == [(day, model, Decimal(amount)) for day, model, amount in ROWS]


@pytest.mark.parametrize("amount", [1.5, "$1.50", {"value": 1.5, "currency": "usd"}])
def test_an_amount_in_a_frame_counts_whatever_tokens_are_beside_it(amount):
    """A bill written by hand, or the results of the costs API as they are: its amount, not our price of its tokens."""
    row = {"date": "2026-11-26", "model": "one", "amount": amount, "input_tokens": 10, "output_tokens": 20}
    assert lines(pd.DataFrame([row])) == [("2026-11-26", "one", Decimal("1.5"))]


def test_a_frame_with_times_in_a_zone_counts_by_days_in_utc():
    """As the provider bills them."""
    day = pd.Timestamp("2026-11-26T20:00", tz="US/Pacific")
    assert lines(pd.DataFrame({"date": [day], "model": "one", "cost_usd": 1.5})) == [("2026-11-27", "one", 1.5)]


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xff\x00", b"date,model\n2026-11-26,one\n", b"x,y\n1,2\n", b"{", b"[1, 2]", b'["x"]', b'[["x"]]',
        b'{"data": 5}', b'{"data": [{"results": [5]}]}', b'{"results": 5}', PLAIN.replace("12.5", "NaN").encode(),
        PLAIN.replace("12.5", "inf").encode(), PLAIN.replace("12.5", "1e999").encode(),
        PLAIN.replace("2026-11-27", "27.11.2026").encode(), PLAIN.replace("2026-11-27", "2026-99-99").encode(),
        b"date,input_tokens\n2026-11-26,inf\n", PLAIN.replace(",", "|").encode(),
    ],
)  # fmt: skip
def test_what_is_no_export_is_refused_in_a_sentence(tmp_path, content):
    """Never a traceback, and never an amount that is none."""
    file = tmp_path / "bill.csv"
    file.write_bytes(content)
    with pytest.raises(llmkit.ValidationError) as refused:
        read_bill(file)
    assert refused.value.field == "path_or_frame"


def test_a_tier_that_is_a_number_is_read_as_its_text(tmp_path):
    """Like every other value of a line, which may be of any type in JSON."""
    file = tmp_path / "bill.json"
    file.write_text(json.dumps([{"date": "2026-11-26", "model": "one", "cost_usd": 1, "service_tier": 2}]))
    assert [line.tier for line in read_bill(file)] == ["2"]


@pytest.mark.parametrize("source", [None, 5, "", "nowhere.csv", ["x"], b"x", float("nan"), json])
def test_what_is_no_file_is_refused_in_a_sentence(source):
    """With what to give instead."""
    with pytest.raises(llmkit.ValidationError):
        read_bill(source)


def test_an_export_whose_last_page_is_not_there_says_so(tmp_path):
    """OpenAI and Anthropic give seven days a page unless asked for more: the others would seem to be missing."""
    file = tmp_path / "bill.json"
    first, last = ({"data": [], "has_more": more} for more in (True, False))
    file.write_text(json.dumps(first))
    with pytest.warns(UserWarning, match="another page"):
        assert lines(file) == []
    for whole in (last, [first, last], [last, first], []):
        file.write_text(json.dumps(whole))
        with warnings.catch_warnings(action="error"):
            assert lines(file) == []


def test_an_empty_export_holds_nothing(tmp_path):
    """Neither an empty file nor an empty frame is an error: nothing was billed."""
    (tmp_path / "bill.csv").write_text("")
    assert read_bill(tmp_path / "bill.csv") == read_bill(pd.DataFrame()) == []


@pytest.mark.parametrize(
    "row",
    [
        {"date": "2026-11-26", "cost_usd": 1, "amount_currency": "eur"},
        {"starting_at": "2026-11-26T00:00:00Z", "amount": "1", "currency": "EUR"},
        {"data": [{"start_time": 1795651200, "results": [{"amount": {"value": 1, "currency": "eur"}}]}]},
    ],
)
def test_a_bill_in_another_currency_is_not_read_as_dollars(tmp_path, row):
    """Wherever the export says so."""
    file = tmp_path / "bill.json"
    file.write_text(json.dumps([row]))
    with pytest.raises(llmkit.ValidationError, match="in EUR"):
        read_bill(file)
