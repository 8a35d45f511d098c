"""OpenAI's batches: a JSON Lines file and a job that answers it; Mistral and xAI have variants of this.

Formats and limits: openai 3.54.0 (types/batch*.py), mistralai 3.7.0 (client/models), xai-sdk 1.21.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from llmkit.providers.wires.batch_api import (
    CANCELLED,
    EXPIRED,
    LISTED,
    LOST,
    BatchApi,
    BatchItem,
    BatchState,
    Reply,
    Results,
    form,
    http_status,
    opened,
    reply,
)
from llmkit.providers.wires.values import count, dig, items, moment, string
from llmkit.records import Failure, HttpResponse, Request
from llmkit.records.rows import dumps

_ENDED = ("completed", "failed", "expired", "cancelled", "success", "timeout_exceeded")
_FILES = ("output_file_id", "error_file_id", "output_file", "error_file")
_GIVEN_UP = {"batch_expired": EXPIRED, "batch_cancelled": CANCELLED, "batch_timeout_exceeded": EXPIRED}
_XAI_PAGE = 1_000
_WAITS = ("token_limit_exceeded",)  # the account's queue is full; the same batch may be accepted later


class OpenAIBatches(BatchApi):
    """``POST /files``, ``POST /batches``."""

    most_requests = 50_000
    most_bytes = 200_000_000

    def upload(self, batch: Sequence[BatchItem]) -> Request | None:
        """See ``BatchApi.upload``."""
        lines = [
            {"custom_id": item.custom_id, "method": "POST", "url": _url(item.request), "body": item.request.body}
            for item in batch
        ]
        content = b"".join(dumps(line) + b"\n" for line in lines)
        headers, content = form({"purpose": "batch"}, "llmkit.jsonl", content)
        return Request(path="/files", headers=headers, raw=content)

    def create(self, name: str, batch: Sequence[BatchItem], file_id: str) -> Request:
        """See ``BatchApi.create``."""
        body = {
            "input_file_id": file_id,
            "endpoint": _url(batch[0].request),
            "completion_window": "24h",
            "metadata": {"llmkit": name},
        }
        return Request(path=self.root, body=body)

    def results(self, state: BatchState) -> Sequence[Request]:
        """See ``BatchApi.results``."""
        return [self._get(f"/files/{quote(file, safe='')}/content") for file in state.files]

    def _reply(self, response: HttpResponse, line: Any) -> Reply:
        answer, error = dig(line, "response"), dig(line, "error")
        if isinstance(answer, dict) and (answer.get("body") is not None or not error):
            status = answer.get("status_code")
            return reply(response, status if type(status) is int else 200, answer.get("body"), answer.get("request_id"))
        code = dig(error, "code")
        return _GIVEN_UP.get(string(code)) or (reply(response, http_status(code), {"error": error}) if error else LOST)

    def _state(self, body: Any) -> BatchState:
        """OpenAI's or Mistral's, who name the same differently."""
        status, error = string(dig(body, "status")).lower(), dig(body, "errors", "data", 0) or dig(body, "errors", 0)
        files = tuple(filter(None, (string(dig(body, name)) for name in _FILES)))
        total = count(dig(body, "request_counts", "total"))
        code = 429 if dig(error, "code") in _WAITS else 400
        return BatchState(
            batch_id=string(dig(body, "id")),
            ended=status in _ENDED,
            name=string(dig(body, "metadata", "llmkit")) or None,
            total=count(dig(body, "total_requests")) if total is None else total,
            created_at=moment(dig(body, "created_at")),
            rejection=rejected(code, error) if status == "failed" and not files else None,
            files=files,
            unanswered=_GIVEN_UP.get(f"batch_{status}", LOST),
        )


class MistralBatches(OpenAIBatches):
    """``POST /batch/jobs``, which contains the requests; results are files like OpenAI's."""

    most_requests = 10_000  # for requests within the job (docs.mistral.ai, batch processing)
    root = "/batch/jobs"
    list_query = f"page=0&page_size={LISTED}&order_by=-created"  # one page, latest first

    def upload(self, batch: Sequence[BatchItem]) -> Request | None:
        """See ``BatchApi.upload``. Not needed."""
        return None

    def create(self, name: str, batch: Sequence[BatchItem], file_id: str) -> Request:
        """See ``BatchApi.create``. The model is set for the job; the bodies still contain it, as if sent alone."""
        body = {
            "endpoint": _url(batch[0].request),
            "model": dig(dict(batch[0].request.body or {}), "model"),
            "requests": [{"custom_id": item.custom_id, "body": item.request.body} for item in batch],
            "metadata": {"llmkit": name},
            "timeout_hours": self.hours,
        }
        return Request(path=self.root, body=body)


class XaiBatches(OpenAIBatches):
    """The same file and paths, but no status field, and results in pages."""

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
        return f"{self._path(state.batch_id)}/results?limit={_XAI_PAGE}"

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


def rejected(status: int, error: Any) -> HttpResponse:
    """The reason why a batch was refused as a whole, in the form of a response."""
    error = error if isinstance(error, dict) else {"message": "The batch was refused."}
    return HttpResponse(status=status, headers={}, body=dumps({"error": error}), received_at=datetime.now(UTC))


def _url(request: Request) -> str:
    """The endpoint as written in a file, whatever the base URL ends with."""
    return f"/v1{request.path}"
