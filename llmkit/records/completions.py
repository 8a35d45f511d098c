"""What providers return: answers, failures, rate limits and lists of models."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any, Literal

from llmkit.errors import Code
from llmkit.records.prices import Price
from llmkit.records.rows import Row, as_json, field_names

Scope = Literal["attempt", "probe", "model", "provider", "run"]
FinishReason = Literal["stop", "length", "content_filter", "tool_calls", "other"]
MAYBE_BILLED = "; it may have been billed"
"""What the message of a failure says, besides its ``maybe_billed``, of an answer that was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage(Row):
    """Billed tokens of one answer, counted the same way for every provider.

    ``input_tokens`` is the whole input, including cache reads and writes; ``output_tokens`` is everything billed as
    output, including reasoning; ``reasoning_tokens`` is the reasoning part of it. ``cache_write_1h_tokens`` is the part
    of ``cache_write_tokens`` kept for an hour. ``reported_cost`` is the cost in US dollars as reported by the provider,
    if it reports one; input and output are ``None``, unknown, when it reports nothing else.

    ``searches`` counts calls of the provider's own search tool. ``other_calls`` counts what is billed in addition to
    these tokens and that no price here covers: other tools of the provider, steps of another model.
    """

    input_tokens: int | None = None
    cached_input_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int | None = None
    reasoning_tokens: int = 0
    reported_cost: Decimal | None = None
    searches: int = 0
    other_calls: int = 0

    @property
    def total_tokens(self) -> int | None:
        """Input and output together, if known."""
        read, written = self.input_tokens, self.output_tokens
        return None if read is None or written is None else read + written

    def to_row(self) -> dict[str, Any]:
        """The usage as JSON-ready values; call counts of 0 are left out."""
        row = {name: value for name in field_names(Usage) if (value := getattr(self, name)) or name not in _CALL_COUNTS}
        return row if self.reported_cost is None else {**row, "reported_cost": as_json(self.reported_cost)}


_CALL_COUNTS = ("searches", "other_calls")
"""The counts of a ``Usage`` that are not tokens."""

TOKEN_COLUMNS: tuple[str, ...] = tuple(
    name for name in field_names(Usage) if name.endswith("_tokens") and name != "cache_write_1h_tokens"
)
"""The counts that are columns of tables: all but ``cache_write_1h_tokens``, which is part of another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A usable answer. ``usage`` is ``None`` when the provider reported none (then the cost is unknown, not 0).

    ``service_tier`` is the tier that served it, by our names (``"standard"``, ``"priority"``, ``"fast+us"``);
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
    """Why a request gave no usable answer, and how to proceed.

    ``scope`` says what is affected: only this attempt, every attempt of this probe, every probe of the model or of the
    provider, or the run, which ends with this message. ``retry_after`` is the wait in seconds that the server asked
    for. A failure can have been billed: then ``usage`` holds the tokens, and ``service_tier`` is as in a completion.
    ``maybe_billed`` marks a request that may have been billed at an unknown cost. ``rejected_param`` is our name for a
    request parameter that the model does not accept.
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
    def unbilled(self) -> Failure:
        """The same of a request to a free model: whatever happened to it, nothing was billed."""
        return replace(self, maybe_billed=False, message=self.message.replace(MAYBE_BILLED, ""))

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.code.retryable


@dataclass(frozen=True, slots=True, kw_only=True)
class RateInfo:
    """Rate limits as the provider reports them; ``*_reset`` is seconds until the full allowance is restored."""

    requests_limit: int | None = None
    requests_remaining: int | None = None
    requests_reset: float | None = None
    tokens_limit: int | None = None
    tokens_remaining: int | None = None
    tokens_reset: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteModel:
    """A model as described by the provider's own list; ``None`` for facts the list does not give."""

    model_id: str
    display_name: str | None = None
    context_window: int | None = None
    max_output_tokens: int | None = None
    retires_on: date | None = None
    price: Price | None = None
