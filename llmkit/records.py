"""The frozen records that travel through llmkit, and nothing else.

Money is :class:`decimal.Decimal` in US dollars; prices are per million tokens. An unknown price is ``None``, never 0.
Times are timezone-aware UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime, time
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Literal, Self

from llmkit.errors import Code, ValidationError

ModelStatus = Literal["ACTIVE", "DEPRECATED"]
Scope = Literal["attempt", "probe", "model", "provider"]
CostSource = Literal["computed", "provider_reported", "provider_default", "unpriced"]
FinishReason = Literal["stop", "length", "content_filter", "tool_calls", "other"]


# --- prices ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """US dollars per million tokens, by kind of token; ``None`` where unknown.

    ``cost_cached_input_per_million`` and ``cost_cache_write_per_million`` of ``None`` mean that the provider bills
    those tokens as plain input (it publishes no other price).
    """

    cost_input_per_million: Decimal | None = None
    cost_output_per_million: Decimal | None = None
    cost_cached_input_per_million: Decimal | None = None
    cost_cache_write_per_million: Decimal | None = None
    cost_cache_write_1h_per_million: Decimal | None = None

    def to_row(self) -> dict[str, Any]:
        """The rates as JSON-ready column values; decimals as strings."""
        return {name: _text(getattr(self, name)) for name in RATE_COLUMNS}


RATE_COLUMNS: tuple[str, ...] = tuple(f.name for f in fields(Rates))


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTier(Rates):
    """Rates of a whole request whose input has more than ``above`` tokens."""

    above: int

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read a tier as ``to_row`` wrote it."""
        return cls(above=int(row["above"]), **_rates(row))

    def to_row(self) -> dict[str, Any]:
        """The tier as JSON-ready values; rates that are unknown are left out."""
        return {"above": self.above, **_known(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceWindow(Rates):
    """Rates of requests made at certain hours (UTC): ``weekdays`` are ISO (Monday is 1), ``end`` is exclusive."""

    weekdays: tuple[int, ...]
    start: time
    end: time

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read a window as ``to_row`` wrote it."""
        return cls(
            weekdays=tuple(int(day) for day in row["weekdays"]),
            start=time.fromisoformat(row["start"]),
            end=time.fromisoformat(row["end"]),
            **_rates(row),
        )

    def to_row(self) -> dict[str, Any]:
        """The window as JSON-ready values; rates that are unknown are left out."""
        return {
            "weekdays": list(self.weekdays),
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            **_known(self),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Price(Rates):
    """All that decides what a request to a model costs at one moment: base rates, long-context tiers, peak hours."""

    price_tiers: tuple[PriceTier, ...] = ()
    price_windows: tuple[PriceWindow, ...] = ()

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read a price from column values as the store, the journal or a TOML file holds them."""
        return cls(
            price_tiers=tuple(PriceTier.from_row(tier) for tier in row.get("price_tiers") or ()),
            price_windows=tuple(PriceWindow.from_row(window) for window in row.get("price_windows") or ()),
            **_rates(row),
        )

    def to_row(self) -> dict[str, Any]:
        """The price as JSON-ready column values; tiers and windows are ``None`` when there are none."""
        return {
            **{name: _text(getattr(self, name)) for name in RATE_COLUMNS},
            "price_tiers": [tier.to_row() for tier in self.price_tiers] or None,
            "price_windows": [window.to_row() for window in self.price_windows] or None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedPrice:
    """One entry of a model's price history: in force from ``valid_from`` (``None``: always) until the next entry."""

    reference: str
    valid_from: datetime | None
    price: Price
    source: str | None = None
    read_on: date | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read an entry from column values."""
        return cls(
            reference=row["reference"],
            valid_from=_datetime(row.get("valid_from")),
            price=Price.from_row(row),
            source=row.get("source"),
            read_on=_date(row.get("read_on")),
        )

    def to_row(self) -> dict[str, Any]:
        """The entry as JSON-ready column values."""
        return {
            "reference": self.reference,
            "valid_from": _text(self.valid_from),
            **self.price.to_row(),
            "source": self.source,
            "read_on": _text(self.read_on),
        }


# --- the catalog ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """A company or endpoint with one API key and one rate limit."""

    name: str
    display_name: str
    wire: str
    base_url: str
    api_key_env: str | None = None
    max_parallel_requests: int = 1
    requests_per_minute: int = 60
    tokens_per_minute: int | None = None
    is_enabled: bool = True
    default_cost_input_per_million: Decimal | None = None
    default_cost_output_per_million: Decimal | None = None
    balance: Decimal | None = None
    id: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read a provider from column values as the store or the journal holds them."""
        decimals = ("default_cost_input_per_million", "default_cost_output_per_million", "balance")
        return cls(**_row(cls, row, decimals=decimals, datetimes=("created_at", "updated_at")))

    def to_row(self) -> dict[str, Any]:
        """The provider as JSON-ready column values; decimals and times as strings."""
        return {f.name: _text(getattr(self, f.name)) for f in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A priced model of a provider. ``model_id`` is what the API is sent."""

    provider: str
    model_id: str
    display_name: str
    price: Price = field(default_factory=Price)
    batch_discount: Decimal | None = None
    status: ModelStatus = "ACTIVE"
    is_default: bool = False
    context_window: int | None = None
    max_output_tokens: int | None = None
    retires_on: date | None = None
    api_config: Mapping[str, Any] = field(default_factory=dict)
    id: int = 0
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def reference(self) -> str:
        """``provider:model_id``."""
        return f"{self.provider}:{self.model_id}"

    ref = reference

    @property
    def is_active(self) -> bool:
        """Whether new runs may use it."""
        return self.status == "ACTIVE"

    @property
    def cost_input_per_million(self) -> Decimal | None:
        """US dollars per million input tokens."""
        return self.price.cost_input_per_million

    @property
    def cost_output_per_million(self) -> Decimal | None:
        """US dollars per million output tokens, reasoning included."""
        return self.price.cost_output_per_million

    @property
    def cost_cached_input_per_million(self) -> Decimal | None:
        """US dollars per million input tokens that were read from the provider's cache."""
        return self.price.cost_cached_input_per_million

    @property
    def cost_cache_write_per_million(self) -> Decimal | None:
        """US dollars per million input tokens that were written to the provider's cache."""
        return self.price.cost_cache_write_per_million

    @property
    def price_tiers(self) -> tuple[PriceTier, ...]:
        """The long-context tiers, lowest first."""
        return self.price.price_tiers

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read a model from column values as the store or the journal holds them."""
        values = _row(
            cls,
            row,
            decimals=("batch_discount",),
            datetimes=("created_at", "updated_at"),
            skip=("price", "retires_on", "api_config"),
        )
        api_config = MappingProxyType(dict(row.get("api_config") or {}))
        retires_on = _date(row.get("retires_on"))
        return cls(price=Price.from_row(row), retires_on=retires_on, api_config=api_config, **values)

    def to_row(self) -> dict[str, Any]:
        """The model as JSON-ready column values; decimals, dates and times as strings."""
        row = {f.name: _text(getattr(self, f.name)) for f in fields(self) if f.name not in ("price", "api_config")}
        return {**row, **self.price.to_row(), "api_config": dict(self.api_config)}


def split_reference(reference: str) -> tuple[str, str]:
    """``provider:model_id`` as a pair. Model ids may hold colons (``ollama:llama3:8b``); provider names may not."""
    provider, colon, model_id = str(reference).partition(":")
    if not (colon and provider.strip() and model_id.strip()):
        raise ValidationError(
            f"{reference!r} is not a model reference. Write it as provider:model_id, for example openai:gpt-6-luna.",
            field="ref",
        )
    return provider.strip(), model_id.strip()


# --- what is asked --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing to ask: a prompt, an optional system prompt, follow-up prompts, and the dimension values behind it.

    ``dimensions`` become columns of ``run.probes``. ``scenario_id`` is given by position when it is left out.
    ``template`` identifies the template that it was made from: answers to prompts of one template are alike in length,
    which estimates rest on.
    """

    prompt: str
    system: str | None = None
    followups: tuple[str, ...] = ()
    scenario_id: str | None = None
    dimensions: Mapping[str, Any] = field(default_factory=dict)
    template: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.prompt, str) or not self.prompt.strip():
            raise ValidationError("A scenario needs a prompt that is a non-empty string.", field="prompt")
        given: Any = self.followups or ()
        followups = (given,) if isinstance(given, str) else tuple(given)
        if not all(isinstance(text, str) and text.strip() for text in followups):
            raise ValidationError("Follow-up prompts must be non-empty strings.", field="followups")
        object.__setattr__(self, "followups", followups)
        object.__setattr__(self, "dimensions", MappingProxyType(dict(self.dimensions)))

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompts of all turns, in order."""
        return (self.prompt, *self.followups)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation; the system prompt travels apart from it."""

    role: Literal["user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """How to ask; ``None`` leaves a parameter to the provider. ``strict`` refuses what a model rejects.

    ``schema`` is a JSON schema that the answer must match. ``extra_body`` is merged into the request as it is.
    """

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    reasoning_effort: str | None = None
    schema: Mapping[str, Any] | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    strict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """All that a wire needs to build the request of one turn."""

    model: Model
    messages: tuple[Message, ...]
    system: str | None = None
    params: Params = Params()

    def answered(self, text: str, next_prompt: str) -> Call:
        """The call of the next turn: the conversation so far and one more prompt."""
        grown = (*self.messages, Message("assistant", text), Message("user", next_prompt))
        return replace(self, messages=grown)


# --- what travels over HTTP -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An HTTP request without origin and without key. ``path`` is appended to the provider's ``base_url``.

    ``left_out`` names the parameters that were asked for and that the model does not take.
    """

    path: str
    body: Mapping[str, Any] | None = None
    method: Literal["GET", "POST"] = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An HTTP response as it arrived. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    received_at: datetime


# --- what comes back ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Billed tokens of one answer, counted the same way for every provider.

    ``input_tokens`` is the whole input, cached reads and cache writes included; ``output_tokens`` is all that is
    billed as output, reasoning included; ``reasoning_tokens`` is the part of it that was reasoning.
    ``cache_write_1h_tokens`` is the part of ``cache_write_tokens`` kept for an hour. ``reported_cost`` is what the
    provider itself says that the answer cost, in US dollars, where it says so.
    """

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    reported_cost: Decimal | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read a usage from the values that ``to_row`` wrote."""
        return cls(**_row(cls, row, decimals=("reported_cost",)))

    def to_row(self) -> dict[str, Any]:
        """The usage as JSON-ready values."""
        return {f.name: _text(getattr(self, f.name)) for f in fields(self)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A usable answer. ``usage`` is ``None`` when the provider did not say (then the cost is unknown, not 0)."""

    text: str
    finish_reason: FinishReason
    usage: Usage | None
    model_version: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a request gave no usable answer, and what may be done about it.

    ``scope`` says what is affected: this attempt only, this probe whatever is tried, every probe of the model, or
    every probe of the provider. ``retry_after`` is the wait in seconds that the server asked for. A failure can have
    been billed: then ``usage`` holds the tokens. ``maybe_billed`` marks a request that was sent and whose answer never
    came. ``rejected_param`` names a request parameter (in our words) that the model does not take.
    """

    code: Code
    message: str
    scope: Scope = "attempt"
    retry_after: float | None = None
    status: int | None = None
    usage: Usage | None = None
    finish_reason: FinishReason | None = None
    model_version: str | None = None
    request_id: str | None = None
    rejected_param: str | None = None
    maybe_billed: bool = False

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.code.retryable


@dataclass(frozen=True, slots=True, kw_only=True)
class RateInfo:
    """What a provider says about what is left of its limits; ``*_reset`` is seconds until the allowance is whole."""

    requests_limit: int | None = None
    requests_remaining: int | None = None
    requests_reset: float | None = None
    tokens_limit: int | None = None
    tokens_remaining: int | None = None
    tokens_reset: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteModel:
    """A model as a provider's own list describes it; ``None`` where the list does not say."""

    model_id: str
    display_name: str | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    retires_on: date | None = None
    price: Price | None = None


# --- small helpers for rows -----------------------------------------------------------------------------------------


def _text(value: Any) -> Any:
    """Decimals, dates and times as strings; everything else as it is."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    return value


def _known(rates: Rates) -> dict[str, str]:
    return {name: _text(value) for name in RATE_COLUMNS if (value := getattr(rates, name)) is not None}


def _rates(row: Mapping[str, Any]) -> dict[str, Decimal | None]:
    return {name: _decimal(row.get(name)) for name in RATE_COLUMNS}


def _decimal(value: Any) -> Decimal | None:
    return None if value is None else value if isinstance(value, Decimal) else Decimal(str(value))


def _datetime(value: Any) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _date(value: Any) -> date | None:
    return date.fromisoformat(value) if isinstance(value, str) else value


def _row(
    cls: type,
    row: Mapping[str, Any],
    *,
    decimals: Sequence[str] = (),
    datetimes: Sequence[str] = (),
    skip: Sequence[str] = (),
) -> dict[str, Any]:
    values = {f.name: row[f.name] for f in fields(cls) if f.name in row and f.name not in skip}
    for name in decimals:
        values[name] = _decimal(values.get(name))
    for name in datetimes:
        values[name] = _datetime(values.get(name))
    return values
