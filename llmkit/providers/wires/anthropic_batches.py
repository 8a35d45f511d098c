"""Anthropic's message batches: the requests in one body, the results as JSON lines (anthropic 2.12.0)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from llmkit.providers.wires.batch_api import CANCELLED, EXPIRED, LOST, BatchApi, BatchItem, BatchState, Reply, reply
from llmkit.providers.wires.values import count, dig, moment, string
from llmkit.records import HttpResponse, Request

# The last version to accept temperature and top_p where a model does: 2026-10-21 rejects both on every model
# (platform.claude.com/docs/en/api/versioning).
VERSION = "2023-06-01"
_COUNTS = ("processing", "succeeded", "errored", "canceled", "expired")
_GIVEN_UP = {"canceled": CANCELLED, "expired": EXPIRED}
_STATUSES = {
    "invalid_request_error": 400, "authentication_error": 401, "billing_error": 402, "permission_error": 403,
    "not_found_error": 404, "rate_limit_error": 429, "api_error": 500, "timeout_error": 504, "overloaded_error": 529,
}  # fmt: skip


class AnthropicBatches(BatchApi):
    """``POST /v1/messages/batches``. Batches have no name: they are found by time and size, and verified by results."""

    most_requests = 100_000
    most_bytes = 256_000_000
    root = "/v1/messages/batches"
    next_param = "after_id"
    headers: ClassVar[Mapping[str, str]] = {"anthropic-version": VERSION}

    def create(self, name: str, batch: Sequence[BatchItem], file_id: str) -> Request:
        """See ``BatchApi.create``."""
        requests = [{"custom_id": item.custom_id, "params": item.request.body} for item in batch]
        return Request(path=self.root, body={"requests": requests}, headers=batch[0].request.headers)

    def results(self, state: BatchState) -> Sequence[Request]:
        """See ``BatchApi.results``. Not at ``results_url``: the key is never sent to an address named in a reply."""
        return [self._get(f"{self._path(state.batch_id)}/results")]

    def _reply(self, response: HttpResponse, line: Any) -> Reply:
        result = dig(line, "result")
        kind = dig(result, "type")
        if kind == "succeeded":
            return reply(response, 200, dig(result, "message"))
        if kind == "errored":
            error = dig(result, "error")
            status = _STATUSES.get(string(dig(error, "error", "type")), 500)
            return reply(response, status, error, dig(error, "request_id"))
        return _GIVEN_UP.get(string(kind)) or reply(response, 200, result)

    def _state(self, body: Any) -> BatchState:
        return BatchState(
            batch_id=string(dig(body, "id")),
            ended=dig(body, "processing_status") == "ended",
            total=sum(count(dig(body, "request_counts", name)) or 0 for name in _COUNTS),
            created_at=moment(dig(body, "created_at")),
            unanswered=LOST if dig(body, "cancel_initiated_at") is None else CANCELLED,
        )
