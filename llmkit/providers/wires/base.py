"""The interface of wires: a provider's HTTP format as pure functions over records, without I/O."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from llmkit.providers.wires.answer import Answer, body_or_failure, conclude
from llmkit.providers.wires.batch_api import BatchApi
from llmkit.providers.wires.served import asked_tier
from llmkit.records import (
    STANDARD,
    STANDARD_TIER,
    Call,
    Completion,
    Dialect,
    Failure,
    HttpResponse,
    Request,
)
from llmkit.records.entries import WireName


@dataclass(frozen=True)
class Wire(ABC):
    """A provider's HTTP format, in one of its dialects. Does no I/O."""

    name: ClassVar[WireName]
    caches_what_is_marked: ClassVar[bool] = False
    """Whether the provider caches only the prefixes marked in a request, instead of any prefix automatically."""
    models_path: ClassVar[str]
    """Where the provider lists its models, as many on a page as it allows."""
    headers: ClassVar[Mapping[str, str]] = {}
    """The headers of requests for that list."""
    key_header: ClassVar[str | None] = None
    """The header that carries the key; without one it is a bearer token."""
    batch_api: ClassVar[BatchApi | None] = None
    """The batch API of all providers that use the format, if any."""
    dialect: Dialect = STANDARD

    @abstractmethod
    def build(self, call: Call) -> Request:
        """The request for one turn.

        Parameters that the model does not accept are left out and named in ``Request.left_out``.

        Raises:
            ValidationError: a parameter would be left out and ``call.params.strict`` is set.
        """

    def parse(self, call: Call, response: HttpResponse) -> Completion | Failure:
        """The answer or a failure. Total: any status, headers and body give one of the two."""
        body, failure = body_or_failure(response, self._read)
        return failure or conclude(response, self._read(body))

    def may_serve(self, body: Mapping[str, Any], listed: Collection[str]) -> frozenset[str]:
        """The tiers at which a request may be served: the standard one (the requested one may not be available), and
        the requested one, or without one those of ``listed`` that an account setting can select.
        """
        asked = asked_tier(body)
        return frozenset({STANDARD_TIER, *([asked] if asked else self._by_account(listed))})

    def _by_account(self, listed: Collection[str]) -> Iterable[str]:
        """Those of ``listed`` that an account setting can select for requests that ask for none."""
        return ()

    def batches(self) -> BatchApi | None:
        """The provider's batch API; ``None`` if it has none."""
        return self.batch_api

    @abstractmethod
    def _read(self, body: Any) -> Answer:
        """Read the JSON of a 2xx body, whatever it contains."""

    def auth(self, key: str) -> dict[str, str]:
        """The headers that carry the key."""
        return {self.key_header: key} if self.key_header else {"authorization": f"Bearer {key}"}

    def list_models(self) -> Request:
        """The request for the provider's own list of models."""
        return Request(path=self.models_path, method="GET", headers=self.headers)
