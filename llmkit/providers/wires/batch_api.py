"""The interface of batch APIs: many requests submitted at once, answered later at a discount. Pure functions."""

from __future__ import annotations

import json
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Self
from urllib.parse import quote

from llmkit.errors import Code
from llmkit.providers.wires.answer import body_or_failure
from llmkit.providers.wires.values import items, string
from llmkit.records import MAYBE_BILLED, Failure, HttpResponse, Request
from llmkit.records.rows import dumps

EXPIRED = Failure(code=Code.TIMEOUT, message="The batch ended before this request was answered; it was not billed.")
CANCELLED = Failure(
    code=Code.CANCELLED, message="The batch was cancelled before this request was answered.", scope="probe"
)
LOST = Failure(
    code=Code.UNKNOWN,
    message=f"The provider has no result for this request{MAYBE_BILLED}.",
    scope="probe",
    maybe_billed=True,
)
LONGEST_RESULTS = 1024**3
LISTED = 100
"""Batches per page of a list."""
# gRPC's codes as HTTP statuses (google.rpc.Code)
_HTTP_OF_GRPC = {1: 499, 3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 9: 400, 13: 500, 14: 503, 16: 401}

Reply = HttpResponse | Failure


@dataclass(frozen=True, slots=True)
class BatchItem:
    """A request as it would be sent alone, with an id that its result will carry."""

    custom_id: str
    request: Request

    @property
    def size(self) -> int:
        """Its approximate size in a file, in bytes."""
        return len(self.request.content) + 300


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchState:
    """A batch as reported by the provider.

    ``name`` is ours, if the provider stores it; ``total`` is its number of requests, if reported. ``rejection`` is why
    it was refused as a whole, in the form of a response to a single request. ``files`` are the ids of its result files.
    ``unanswered`` is the failure of a request for which it has no result once it has ended.
    """

    batch_id: str
    ended: bool = False
    name: str | None = None
    total: int | None = None
    created_at: datetime | None = None
    rejection: HttpResponse | None = None
    files: tuple[str, ...] = ()
    unanswered: Failure = LOST


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of the account's batches, latest first, and the request for the next page."""

    states: Sequence[BatchState] = ()
    more: Request | None = None


@dataclass(frozen=True, slots=True)
class Results:
    """Replies by custom id, and the request for the next page."""

    replies: Mapping[str, Reply] = field(default_factory=dict)
    more: Request | None = None

    @classmethod
    def of(cls, replies: Iterable[tuple[str, Reply]], more: Request | None = None) -> Self:
        """The results in these lines; of several for one request an answer counts, else the last."""
        return cls(dict(sorted(replies, key=lambda line: line[1].status == 200)), more)


class BatchApi(ABC):
    """A provider's batch API. Does no I/O.

    ``most_requests`` and ``most_bytes`` are the provider's limits per batch, ``hours`` its time limit. Batches are at
    ``root``; a page of their list has them under ``list_key``, and under ``next_key`` the value of the next page's
    parameter ``next_param``. ``longest_state`` is the limit in bytes for a state or a page of the list, where they can
    contain results.
    """

    most_requests: ClassVar[int]
    most_bytes: ClassVar[int]
    hours: ClassVar[int] = 24
    root: ClassVar[str] = "/batches"
    cancel_path: ClassVar[str] = "/cancel"
    list_query: ClassVar[str] = f"limit={LISTED}"
    list_key: ClassVar[str] = "data"
    next_key: ClassVar[str] = "last_id"
    next_param: ClassVar[str] = "after"
    longest_state: ClassVar[int | None] = None
    headers: ClassVar[Mapping[str, str]] = {}

    def split(self, items: Sequence[BatchItem]) -> Iterator[list[BatchItem]]:
        """Split the items, in order, into as few batches as the provider's limits allow."""
        batch: list[BatchItem] = []
        size = 0
        for item in items:
            if batch and (len(batch) == self.most_requests or size + item.size > self.most_bytes):
                yield batch
                batch, size = [], 0
            batch.append(item)
            size += item.size
        if batch:
            yield batch

    def upload(self, items: Sequence[BatchItem]) -> Request | None:
        """The request that uploads the items as a file; ``None`` if the batch request itself contains them."""
        return None

    def read_upload(self, response: HttpResponse) -> str | Failure:
        """The id of the uploaded file."""
        body, failure = opened(response)
        return failure or string(body.get("id")) or refusal(response)

    @abstractmethod
    def create(self, name: str, items: Sequence[BatchItem], file_id: str) -> Request:
        """The request that submits the batch; ``name`` serves to find it again."""

    def poll(self, batch_id: str) -> Request:
        """The request for the state of a batch."""
        return self._get(self._path(batch_id), self.longest_state)

    def cancel(self, batch_id: str) -> Request:
        """The request that cancels a batch."""
        return Request(path=f"{self._path(batch_id)}{self.cancel_path}", body={}, headers=self.headers)

    def listing(self) -> Request:
        """The request for the account's latest batches."""
        return self._get(f"{self.root}?{self.list_query}", self.longest_state)

    def read(self, response: HttpResponse) -> BatchState | Failure:
        """The state from a response to ``create``, ``poll`` or ``cancel``."""
        body, failure = opened(response)
        state = self._state(body)
        return failure or (state if state.batch_id else refusal(response))

    def read_list(self, response: HttpResponse) -> Listed | Failure:
        """The batches on a page."""
        body, failure = opened(response)
        states = [self._state(each) for each in items(body.get(self.list_key))]
        return failure or Listed(states, self._next_page(f"{self.root}?{self.list_query}", body, self.longest_state))

    @abstractmethod
    def results(self, state: BatchState) -> Sequence[Request]:
        """The requests for the results of an ended batch."""

    def read_results(self, state: BatchState, response: HttpResponse) -> Results | Failure:
        """The replies in a response to one of them, each in the form of a response to a single request; by default the
        lines of a file.
        """
        if not 200 <= response.status < 300:
            return refusal(response)
        lines = [line for line in map(_object, response.body.splitlines()) if line is not None]
        if not lines and response.body.strip():  # a gateway's page: the answers are still at the provider
            return refusal(response)
        return Results.of((string(line.get("custom_id")), self._reply(response, line)) for line in lines)

    @abstractmethod
    def _reply(self, response: HttpResponse, line: Any) -> Reply:
        """The reply in one of the results."""

    @abstractmethod
    def _state(self, body: Any) -> BatchState:
        """The state described by a JSON object."""

    def _path(self, batch_id: str) -> str:
        return f"{self.root}/{quote(batch_id, safe='')}"

    def _get(self, path: str, longest: int | None = LONGEST_RESULTS) -> Request:
        return Request(path=path, method="GET", headers=self.headers, longest_reply=longest)

    def _next_page(self, path: str, body: Mapping[str, Any], longest: int | None = LONGEST_RESULTS) -> Request | None:
        token = string(body.get(self.next_key)) if body.get("has_more", True) else ""
        return self._get(f"{path}&{self.next_param}={quote(token, safe='')}", longest) if token else None


def opened(response: HttpResponse) -> tuple[dict[str, Any], Failure | None]:
    """The JSON object of a 2xx body, or the failure that a response reports."""
    body = _object(response.body) if 200 <= response.status < 300 else None
    return ({}, refusal(response)) if body is None else (body, None)


def refusal(response: HttpResponse) -> Failure:
    """The failure that a response reports in place of an object."""
    _, failure = body_or_failure(response)
    words = "The reply does not describe a batch or its results."
    return failure or Failure(code=Code.INVALID_RESPONSE, message=words, maybe_billed=True)


def reply(response: HttpResponse, status: int, body: Any, request_id: Any = None) -> HttpResponse:
    """One entry of a results file, in the form of a response to a single request."""
    request_id = string(request_id)
    return HttpResponse(
        status=status,
        headers={"x-request-id": request_id} if request_id else {},
        body=dumps(body),
        received_at=response.received_at,
    )


def http_status(code: Any) -> int:
    """The HTTP status for an error's code, which may be HTTP's or gRPC's; 500 for any other code."""
    number = int(code) if isinstance(code, str) and re.fullmatch("[0-9]{1,3}", code) else code
    if type(number) is not int:
        return 500
    return number if 400 <= number < 600 else _HTTP_OF_GRPC.get(number, 500)


def form(fields: Mapping[str, str], filename: str, content: bytes) -> tuple[dict[str, str], bytes]:
    """Headers and content of a multipart form with a file in the field ``file`` (RFC 7578)."""
    boundary = secrets.token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{v}\r\n' for name, v in fields.items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
    body = ("".join(parts) + head + "Content-Type: application/jsonl\r\n\r\n").encode() + content
    return {"content-type": f"multipart/form-data; boundary={boundary}"}, body + f"\r\n--{boundary}--\r\n".encode()


def _object(text: bytes) -> dict[str, Any] | None:
    """A JSON object of any length, which holds thousands of answers; a damaged character costs none of them."""
    try:
        value = json.loads(text.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
