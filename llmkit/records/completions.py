"""What comes back: answers, failures, and what a provider says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Literal

from llmkit.errors import Code
from llmkit.records.prices import Price
from llmkit.records.rows import Row, as_json, field_names

Scope = Literal["attempt", "probe", "model", "provider"]
FinishReason = Literal["stop", "length", "content_filter", "tool_calls", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage(Row):
    """Billed tokens of one answer, counted the same way for every provider.

    ``input_tokens`` is the whole input, cached reads and cache writes included; ``output_tokens`` is all that is
    billed as output, reasoning included; ``reasoning_tokens`` is the part of it that was reasoning.
    ``cache_write_1h_tokens`` is the part of ``cache_write_tokens`` kept for an hour. ``reported_cost`` is what the
    provider itself says that the answer cost, in US dollars, where it says so.

    ``searches`` counts those of the provider's own search tool. ``other_calls`` counts what is billed apart from these
    tokens by nothing that a price here covers: other tools of the provider, steps of another model.
    """

    input_tokens: int
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int
    reasoning_tokens: int = 0
    reported_cost: Decimal | None = None
    searches: int = 0
    other_calls: int = 0

    def to_row(self) -> dict[str, Any]:
        """The usage as JSON-ready values; calls are left out where there were none."""
        row = {name: value for name in field_names(Usage) if (value := getattr(self, name)) or name not in CALL_COUNTS}
        return row if self.reported_cost is None else {**row, "reported_cost": as_json(self.reported_cost)}


CALL_COUNTS = ("searches", "other_calls")
"""The counts of a ``Usage`` that are not tokens."""

TOKEN_COLUMNS: tuple[str, ...] = tuple(
    name for name in field_names(Usage) if name.endswith("_tokens") and name != "cache_write_1h_tokens"
)
"""The counts that tables have a column for: all but ``cache_write_1h_tokens``, which is part of another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A usable answer. ``usage`` is ``None`` when the provider did not say (then the cost is unknown, not 0).

    ``service_tier`` is the one that it was served at, in our words (``"standard"``, ``"priority"``, ``"fast+us"``);
    ``None`` when the provider did not say.
    """

    text: str
    finish_reason: FinishReason
    usage: Usage | None
    service_tier: str | None = None
    model_version: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a request gave no usable answer, and what may be done about it.

    ``scope`` says what is affected: this attempt only, this probe whatever is tried, every probe of the model, or
    every probe of the provider. ``retry_after`` is the wait in seconds that the server asked for. A failure can have
    been billed: then ``usage`` holds the tokens, and ``service_tier`` is as in a completion. ``maybe_billed`` marks a
    request that was sent and whose answer never came. ``rejected_param`` names a request parameter (in our words) that
    the model does not take.
    """

    code: Code
    message: str
    scope: Scope = "attempt"
    retry_after: float | None = None
    status: int | None = None
    usage: Usage | None = None
    service_tier: str | None = None
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
