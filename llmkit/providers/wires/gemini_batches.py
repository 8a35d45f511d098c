"""Google's batches: requests and responses inside a long-running operation (google-genai 3.4.0, batches.py)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from llmkit.providers.wires.batch_api import (
    CANCELLED,
    EXPIRED,
    LISTED,
    LONGEST_RESULTS,
    LOST,
    BatchApi,
    BatchItem,
    BatchState,
    Reply,
    Results,
    http_status,
    opened,
    reply,
)
from llmkit.providers.wires.openai_batches import rejected
from llmkit.providers.wires.values import dig, items, moment, string
from llmkit.records import Failure, HttpResponse, Request

_GIVEN_UP = {"CANCELLED": CANCELLED, "EXPIRED": EXPIRED}
_ENDED = ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED")


class GeminiBatches(BatchApi):
    """``POST /v1beta/models/{model}:batchGenerateContent``."""

    most_requests = 20_000
    most_bytes = 19_000_000  # the body of one request must stay below 20 MB
    hours = 48
    root = "/v1beta/batches"
    cancel_path = ":cancel"
    list_query = f"pageSize={LISTED}"
    list_key = "operations"
    next_key = "nextPageToken"
    next_param = "pageToken"
    longest_state = LONGEST_RESULTS  # results come with it

    def create(self, name: str, batch: Sequence[BatchItem], file_id: str) -> Request:
        """See ``BatchApi.create``."""
        requests = [{"request": item.request.body, "metadata": {"key": item.custom_id}} for item in batch]
        return Request(
            path=batch[0].request.path.replace(":generateContent", ":batchGenerateContent"),
            body={"batch": {"displayName": name, "inputConfig": {"requests": {"requests": requests}}}},
        )

    def results(self, state: BatchState) -> Sequence[Request]:
        """See ``BatchApi.results``. They are part of the state."""
        return [self.poll(state.batch_id)]

    def read_results(self, state: BatchState, response: HttpResponse) -> Results | Failure:
        """See ``BatchApi.read_results``."""
        body, failure = opened(response)
        output = dig(body, "metadata", "output") or dig(body, "response")
        lines = items(dig(output, "inlinedResponses", "inlinedResponses"))
        return failure or Results.of(
            (string(dig(line, "metadata", "key")), self._reply(response, line)) for line in lines
        )

    def _reply(self, response: HttpResponse, line: Any) -> Reply:
        answer, error = dig(line, "response"), dig(line, "error")
        if isinstance(answer, dict):
            return reply(response, 200, answer)
        if not isinstance(error, dict):
            return LOST
        status = http_status(error.get("code"))
        return reply(response, status, {"error": {**error, "code": status}})

    def _path(self, batch_id: str) -> str:
        return f"/v1beta/{quote(batch_id)}"

    def _state(self, body: Any) -> BatchState:
        status = string(dig(body, "metadata", "state")).removeprefix("BATCH_STATE_")
        error, total = dig(body, "error"), string(dig(body, "metadata", "batchStats", "requestCount"))
        return BatchState(
            batch_id=string(dig(body, "name")),
            ended=status in _ENDED,
            name=string(dig(body, "metadata", "displayName")) or None,
            total=int(total) if re.fullmatch("[0-9]{1,9}", total) else None,
            created_at=moment(dig(body, "metadata", "createTime")),
            rejection=rejected(http_status(dig(error, "code")), error) if status == "FAILED" else None,
            unanswered=_GIVEN_UP.get(status, LOST),
        )
