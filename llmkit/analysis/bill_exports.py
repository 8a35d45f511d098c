"""Read the billing exports of OpenAI, Anthropic and OpenRouter: CSV, JSON or DataFrame.

The formats are those documented in November 2026:

* OpenAI: the costs API (``/v1/organization/costs``; dollars, ``line_item`` begins with the model) and its CSV; usage of
  completions (API or CSV), which has tokens and no amounts;
* Anthropic: the cost report (``/v1/organizations/cost_report``; ``amount`` in cents) and the CSV of the Console;
* OpenRouter: activity (``/api/v1/activity`` or CSV), ``usage`` and ``byok_usage_inference`` in dollars.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import pandas as pd

from llmkit.errors import ValidationError
from llmkit.records import Usage, columns
from llmkit.records.checks import shapes, texts
from llmkit.records.user_warnings import warn

_DAYS = ("start_time_iso", "start_time", "starting_at", "usage_date_utc", "date", "day", "created_at")
_MODELS = ("model_permaslug", "model", "line_item")
_AMOUNTS = ("amount_value", "cost_usd", "usage", "cost_total", "amount")
_LARGEST = 10**15  # tokens or dollars in one line; no bill has more
_CURRENCIES = ("amount_currency", "currency")
_OWN_KEY = "byok_usage_inference"
_CENTS = Decimal(100)
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_DOLLAR = re.compile(r"^\$|(?<=^-)\$")  # refunds are "-$5.00"
_WITH_COMMA = re.compile(r"^\s*(-?\d+),(\d+)\s*$")


@dataclass(frozen=True, slots=True)
class BillLine:
    """A line of a bill: ``amount`` in US dollars, or else the billed tokens; ``model`` is the provider's name for it,
    ``None`` when the line covers all models. ``copies`` counts identical lines.
    """

    day: str
    model: str | None
    amount: Decimal | None
    usage: Usage | None = None
    tier: str | None = None
    copies: int = 1


def read_bill(source: Any) -> list[BillLine]:
    """Read the lines of an export: a path to a CSV or JSON file, or its table as a DataFrame."""
    rows = _records(source)
    texts_of = [json.dumps(row, sort_keys=True, default=str) for row in rows]
    copies = Counter(texts_of)
    return [_line(row, copies[text]) for row, text in zip(rows, texts_of, strict=True)]


def _records(source: Any) -> list[Mapping[str, Any]]:
    if isinstance(source, pd.DataFrame):
        return list(map(_with_amount, columns.rows(source)))
    file = shapes.path(source, "path_or_frame")
    with shapes.reaching(file, "read", "path_or_frame"):
        content = file.read_bytes()
    try:
        text = content.decode("utf-16" if content[:2] in _UTF_16 else "utf-8-sig")
        return list(_pages(json.loads(text))) if text.lstrip()[:1] in ("{", "[") else list(_table(text))
    except (ValueError, AttributeError, TypeError, csv.Error):
        raise ValidationError(
            f"{file.name} is neither a CSV nor a JSON file of a bill.", field="path_or_frame"
        ) from None


def _table(text: str) -> Iterable[Mapping[str, Any]]:
    """The rows of a CSV; a spreadsheet may have saved it with semicolons or tabs and with decimal commas."""
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    for row in csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, restkey="", restval=""):
        values = {name.strip(): value for name, value in row.items()}
        if separator != ",":
            values = {name: _WITH_COMMA.sub(r"\1.\2", str(value)) for name, value in values.items()}
        yield values


def _pages(bill: Any) -> Iterable[Mapping[str, Any]]:
    """The results of a page, or of a list of them; says so if the last one is not there."""
    if bill and all(page.get("has_more") for page in (bill if isinstance(bill, list) else [bill])):
        warn(
            "The export goes on on another page (has_more), whose days count as missing: fetch all pages, or more days "
            "a page (limit=31), and give them as a list in one file."
        )
    return _flat(bill)


def _flat(page: Any) -> Iterable[Mapping[str, Any]]:
    """The results of pages and buckets, each with the start of its bucket."""
    for entry in page if isinstance(page, list) else page.get("data", [page]):
        if "data" in entry:
            yield from _flat(entry)
        elif "results" in entry:
            begins = {name: entry[name] for name in _DAYS if name in entry}
            yield from ({**begins, **_with_amount(result)} for result in entry["results"])
        else:
            yield dict(entry)


def _with_amount(result: Mapping[str, Any]) -> dict[str, Any]:
    amount = result.get("amount")
    if not isinstance(amount, Mapping):
        return dict(result)
    return {**result, "amount_value": amount.get("value"), "currency": amount.get("currency")}


def _line(row: Mapping[str, Any], copies: int) -> BillLine:
    known = {name: value for name, value in row.items() if value is not None and value == value and str(value).strip()}
    day, model = _first(known, _DAYS), _first(known, _MODELS)
    amount, usage = (None, None) if day is None else (_amount(known), _usage(known))
    if amount is None and usage is None:
        raise ValidationError(
            f"This is not an export that llmkit knows: of the columns {', '.join(row)}, a line has no value for a day "
            f"({', '.join(_DAYS)}), or neither an amount ({', '.join(_AMOUNTS)}) nor input_tokens.",
            field="path_or_frame",
        )
    tier = "batch" if str(known.get("batch")).lower() in ("true", "1") else known.get("service_tier")
    name = None if model is None else str(model).partition(",")[0].strip()  # of "gpt-5.4-2026-03-05, cached input"
    return BillLine(_day(day), name, amount, usage, None if tier is None else str(tier), copies)


def _amount(row: Mapping[str, Any]) -> Decimal | None:
    if (currency := str(_first(row, _CURRENCIES) or "USD").strip().upper()) != "USD":
        raise ValidationError(
            f"The export is in {currency}, and our costs are in US dollars: convert its amounts first.",
            field="path_or_frame",
        )
    if "starting_at" in row and "amount" in row:
        return _number(row["amount"]) / _CENTS  # Anthropic's cost report
    value = _first(row, _AMOUNTS)
    return None if value is None else _number(value) + _number(row.get(_OWN_KEY, 0))


def _usage(row: Mapping[str, Any]) -> Usage | None:
    if "input_tokens" not in row:
        return None
    names = ("input_tokens", "input_cached_tokens", "output_tokens")
    whole, cached, output = (int(_number(row.get(name, 0))) for name in names)
    return Usage(input_tokens=whole, cached_input_tokens=cached, output_tokens=output)


def _first(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((row[name] for name in names if name in row), None)


def _number(value: Any) -> Decimal:
    try:
        number = Decimal(_DOLLAR.sub("", str(value).strip()))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or abs(number) > _LARGEST:
        raise ValidationError(f"{value!r} in the export is not a number.", field="path_or_frame")
    return number


def _day(value: Any) -> str:
    text = str(value).strip()
    if re.fullmatch(r"\d{9,11}(\.0)?", text):
        return datetime.fromtimestamp(float(text), UTC).strftime("%Y-%m-%d")
    for part in (text, text[:10]):  # a time with its zone, or a day with a suffix
        with contextlib.suppress(ValidationError):
            return texts.moment(part, "path_or_frame").strftime("%Y-%m-%d")
    raise ValidationError(f"{value!r} in the export is not a date.", field="path_or_frame")
