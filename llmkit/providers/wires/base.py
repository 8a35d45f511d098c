"""What every wire does: a provider's HTTP format as pure functions over records, without I/O."""

from __future__ import annotations

from typing import Protocol

from llmkit.records import Call, Completion, Failure, HttpResponse, RateInfo, RemoteModel, Request


class Wire(Protocol):
    """A provider's HTTP format. Implementations are stateless modules or objects; nothing here waits or sends."""

    name: str

    def build(self, call: Call) -> Request:
        """The request for one turn.

        Parameters that the model does not take are left out and named in ``Request.left_out``.

        Raises:
            ValidationError: a parameter would be left out and ``call.params.strict`` is set.
        """

    def parse(self, call: Call, response: HttpResponse) -> Completion | Failure:
        """The answer, or why there is none. Total: any status, headers and body give one of the two."""

    def rate_info(self, response: HttpResponse) -> RateInfo | None:
        """What the response's headers say about the limits, if anything."""

    def auth(self, key: str) -> dict[str, str]:
        """The headers that carry the key."""

    def list_models(self) -> Request:
        """The request for the provider's own list of models."""

    def parse_models(self, response: HttpResponse) -> list[RemoteModel] | Failure:
        """The models of a ``list_models`` response; chat-capable ones only where the list tells."""
