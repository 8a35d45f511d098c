"""xAI's batches: an OpenAI-style file, no status field, and results in pages (xai-sdk 1.21.0)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmkit.providers.wires.batch_api import (
    CANCELLED,
    EXPIRED,
    LOST,
    BatchItem,
    BatchState,
    Reply,
    Results,
    http_status,
    opened,
    reply,
)
from llmkit.providers.wires.openai_batches import OpenAIBatches, rejected
from llmkit.providers.wires.values import count, dig, items, moment, string
from llmkit.records import Failure, HttpResponse, Request

_PAGE = 1_000


class XaiBatches(OpenAIBatches):
    """``POST /files``, ``POST /batches``."""

    cancel_path = ":cancel"
    list_key = "batches"
    next_key = next_param = "pagination_token"

    def create(self, name: str, batch: Sequence[BatchItem], file_id: str) -> Request:
        """See ``BatchApi.create``."""
        return Request(path="/batches", body={"name": name, "input_file_id": file_id})

    def results(self, state: BatchState) -> Sequence[Request]:
        """See ``BatchApi.results``."""
        return [self._get(self._results(state))]

    def read_results(self, state: BatchState, response: HttpResponse) -> Results | Failure:
        """See ``BatchApi.read_results``."""
        body, failure = opened(response)
        lines = items(body.get("results"))
        replies = ((string(dig(line, "batch_request_id")), self._reply(response, line)) for line in lines)
        return failure or Results.of(replies, self._next_page(self._results(state), body))

    def _reply(self, response: HttpResponse, line: Any) -> Reply:
        answer, error = (dig(line, "batch_result", name) for name in ("response", "error"))
        if isinstance(answer, dict) and answer:  # under the name of its endpoint: chat_get_completion
            return reply(response, 200, next(iter(answer.values())))
        if not isinstance(error, dict):
            return LOST
        code, text = error.get("code"), string(error.get("message")) or "no answer"
        return reply(response, http_status(code), {"code": str(code), "error": text})

    def _results(self, state: BatchState) -> str:
        return f"{self._path(state.batch_id)}/results?limit={_PAGE}"

    def _state(self, body: Any) -> BatchState:
        names = ("num_requests", "num_pending", "num_success", "num_error")
        total, pending, answered, failed = (count(dig(body, "state", name)) or 0 for name in names)
        by_xai = string(dig(body, "cancel_by_xai_message"))
        given_up = CANCELLED if dig(body, "cancel_time") or by_xai else EXPIRED
        return BatchState(
            batch_id=string(dig(body, "batch_id")) or string(dig(body, "id")),
            ended=bool(by_xai) or (total > 0 and pending == 0),
            name=string(dig(body, "name")) or None,
            total=total,
            created_at=moment(dig(body, "create_time")),
            rejection=rejected(400, {"message": by_xai}) if by_xai and not answered else None,
            unanswered=given_up if answered + failed < total else LOST,
        )
