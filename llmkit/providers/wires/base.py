"""What every wire does: a provider's HTTP format as pure functions over records, without I/O."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from llmkit.providers.wires import headers
from llmkit.providers.wires.answer import Answer, body_or_failure, conclude
from llmkit.providers.wires.batch_api import BatchApi
from llmkit.records import (
    BATCH_TIER,
    STANDARD,
    STANDARD_TIER,
    Call,
    Completion,
    Dialect,
    Failure,
    HttpResponse,
    RateInfo,
    RemoteModel,
    Request,
)
from llmkit.records.entries import WireName


@dataclass(frozen=True)
class Wire(ABC):
    """A provider's HTTP format, in one of its dialects. Nothing here waits or sends."""

    name: ClassVar[WireName]
    caches_what_is_marked: ClassVar[bool] = False
    """Whether the provider's prompt cache keeps what a request marks, and not every beginning on its own."""
    dialect: Dialect = STANDARD

    @abstractmethod
    def build(self, call: Call) -> Request:
        """The request for one turn.

        Parameters that the model does not take are left out and named in ``Request.left_out``.

        Raises:
            ValidationError: a parameter would be left out and ``call.params.strict`` is set.
        """

    def parse(self, call: Call, response: HttpResponse) -> Completion | Failure:
        """The answer, or why there is none. Total: any status, headers and body give one of the two."""
        body, failure = body_or_failure(response, self._read)
        return failure or conclude(response, self._read(body))

    @abstractmethod
    def asked_tier(self, body: Mapping[str, Any]) -> str | None:
        """The service tier that a request asks for, in our words; ``None`` where it leaves that to the provider."""

    def may_serve(self, body: Mapping[str, Any], listed: Collection[str]) -> frozenset[str]:
        """The tiers at which a request may be served: the standard one (a provider need not have what was asked for),
        the one asked for; where none was, those of ``listed`` that a setting of the account can choose.
        """
        asked = self.asked_tier(body)
        return frozenset({STANDARD_TIER, *([asked] if asked else self._by_account(listed))})

    def _by_account(self, listed: Collection[str]) -> Iterable[str]:
        """Those of the tiers that a request gets without asking where the account is set so."""
        return ()

    def batches(self) -> BatchApi | None:
        """How many requests are handed in at once; ``None`` where the provider has no such way."""
        return None

    def batch_tiers(self, body: Mapping[str, Any], listed: Collection[str]) -> frozenset[str]:
        """The tiers at which a request in a batch may be served."""
        return frozenset({BATCH_TIER})

    @abstractmethod
    def _read(self, body: Any) -> Answer:
        """What the JSON of a 2xx body says, whatever it is."""

    def rate_info(self, response: HttpResponse) -> RateInfo | None:
        """What the response's headers say about the limits, if anything."""
        return headers.rate_info(response)

    @abstractmethod
    def auth(self, key: str) -> dict[str, str]:
        """The headers that carry the key."""

    @abstractmethod
    def list_models(self) -> Request:
        """The request for the provider's own list of models."""

    @abstractmethod
    def parse_models(self, response: HttpResponse) -> list[RemoteModel] | Failure:
        """The models of a ``list_models`` response; chat-capable ones only where the list tells."""
