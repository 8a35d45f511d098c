"""What every batch API does: many requests handed in at once, answered within a day for less. Pure functions."""

from __future__ import annotations

import json
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, ClassVar
from urllib.parse import quote

from llmkit.errors import Code
from llmkit.providers.wires.answer import body_or_failure
from llmkit.providers.wires.values import decode, items, string
from llmkit.records import Failure, HttpResponse, Request

EXPIRED = Failure(code=Code.TIMEOUT, message="The batch ended before this was answered; it was not billed.")
CANCELLED = Failure(code=Code.CANCELLED, message="The batch was cancelled before this was answered.", scope="probe")
LONGEST_RESULTS = 1024**3
LISTED = 100
"""Batches of one page of a list."""
# gRPC's codes as HTTP statuses (google.rpc.Code)
_HTTP_OF_GRPC = {1: 499, 3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 9: 400, 13: 500, 14: 503, 16: 401}

Reply = HttpResponse | Failure


@dataclass(frozen=True, slots=True)
class BatchItem:
    """A request as it would be sent alone, under an id that its answer will bear."""

    custom_id: str
    request: Request

    @property
    def size(self) -> int:
        """About how many bytes of a file it takes."""
        return len(self.request.content) + 300


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchState:
    """A batch as the provider describes it.

    ``name`` is ours, where the provider keeps one; ``total`` counts its requests, where it says so. ``rejection`` is
    why it was refused as a whole, as the response that one request would have got. ``files`` hold its results.
    """

    batch_id: str
    ended: bool = False
    is_cancelled: bool = False
    name: str | None = None
    total: int | None = None
    created_at: datetime | None = None
    rejection: HttpResponse | None = None
    files: tuple[str, ...] = ()

    def unanswered(self) -> Failure:
        """What became of a request that an ended batch has no result for."""
        return CANCELLED if self.is_cancelled else EXPIRED


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of the account's batches, the latest first, and the request for the next one."""

    states: Sequence[BatchState] = ()
    more: Request | None = None


@dataclass(frozen=True, slots=True)
class Results:
    """Replies by custom id, and the request for the next page of them."""

    replies: Mapping[str, Reply] = field(default_factory=dict)
    more: Request | None = None


class BatchApi(ABC):
    """A provider's way to hand in many requests at once. Nothing here waits or sends.

    ``most_requests`` and ``most_bytes`` are the provider's limits of one batch, ``hours`` its promise. Batches are at
    ``root``; a page of their list has them under ``list_key``, and under ``next_key`` what the request for the next
    page names as ``next_param``.
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
    headers: Mapping[str, str] = MappingProxyType({})

    def split(self, items: Sequence[BatchItem]) -> Iterator[list[BatchItem]]:
        """The items in as few batches as the provider's limits allow, in their order."""
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
        """The request that stores the items in a file; ``None`` where the batch itself carries them."""
        return None

    def read_upload(self, response: HttpResponse) -> str | Failure:
        """The id of the stored file."""
        body, failure = opened(response)
        return failure or string(body.get("id"))

    @abstractmethod
    def create(self, name: str, items: Sequence[BatchItem], file_id: str) -> Request:
        """The request that hands the items in; ``name`` is for finding it again."""

    def poll(self, batch_id: str) -> Request:
        """The request for the state of a batch."""
        return self._get(self._path(batch_id))

    def cancel(self, batch_id: str) -> Request:
        """The request that ends a batch early."""
        return Request(path=f"{self._path(batch_id)}{self.cancel_path}", body={}, headers=self.headers)

    def listing(self) -> Request:
        """The request for the latest batches of the account."""
        return self._get(f"{self.root}?{self.list_query}")

    def read(self, response: HttpResponse) -> BatchState | Failure:
        """The state in a response to ``create``, ``poll`` or ``cancel``."""
        body, failure = opened(response)
        return failure or self._state(body)

    def read_list(self, response: HttpResponse) -> Listed | Failure:
        """The batches of a page."""
        body, failure = opened(response)
        states = [self._state(each) for each in items(body.get(self.list_key))]
        return failure or Listed(states, self._next_page(f"{self.root}?{self.list_query}", body))

    @abstractmethod
    def results(self, state: BatchState) -> Sequence[Request]:
        """The requests for the results of an ended batch."""

    @abstractmethod
    def read_results(self, state: BatchState, response: HttpResponse) -> Results | Failure:
        """The replies in a response to one of them, each as a request sent alone would have got it."""

    @abstractmethod
    def _state(self, body: Any) -> BatchState:
        """The state that a JSON object tells."""

    def _path(self, batch_id: str) -> str:
        return f"{self.root}/{quote(batch_id, safe='')}"

    def _get(self, path: str) -> Request:
        return Request(path=path, method="GET", headers=self.headers, longest_reply=LONGEST_RESULTS)

    def _next_page(self, path: str, body: Mapping[str, Any]) -> Request | None:
        token = string(body.get(self.next_key)) if body.get("has_more", True) else ""
        return self._get(f"{path}&{self.next_param}={quote(token, safe='')}") if token else None


def opened(response: HttpResponse) -> tuple[dict[str, Any], Failure | None]:
    """The JSON object of a 2xx body, or the failure that a response reports."""
    body = decode(response.body) if 200 <= response.status < 300 else None
    if isinstance(body, dict):
        return body, None
    _, failure = body_or_failure(response)
    words = "The answer about a batch is not a JSON object."
    return {}, failure or Failure(code=Code.INVALID_RESPONSE, message=words, maybe_billed=True)


def json_lines(response: HttpResponse) -> list[dict[str, Any]] | Failure:
    """The objects of a file of JSON lines; a line that is none is left out."""
    if not 200 <= response.status < 300:
        return body_or_failure(response)[1] or opened(response)[1] or EXPIRED
    values = map(_object, response.body.splitlines())
    return [value for value in values if value is not None]


def reply(response: HttpResponse, status: int, body: Any, request_id: Any = None) -> HttpResponse:
    """One entry of a file of results, as the response that a request sent alone would have got."""
    request_id = string(request_id)
    return HttpResponse(
        status=status,
        headers={"x-request-id": request_id} if request_id else {},
        body=encoded(body),
        received_at=response.received_at,
    )


def encoded(body: Any) -> bytes:
    """JSON in UTF-8, or in ASCII where a text holds half a surrogate pair."""
    try:
        return json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(body).encode()


def http_status(code: Any) -> int:
    """The HTTP status of an error's code: that itself, or gRPC's; 500 where it tells nothing."""
    number = int(code) if isinstance(code, str) and code.isdecimal() else code
    if type(number) is not int:
        return 500
    return number if 400 <= number < 600 else _HTTP_OF_GRPC.get(number, 500)


def form(fields: Mapping[str, str], filename: str, content: bytes) -> tuple[dict[str, str], bytes]:
    """Headers and content of a form with a file in its field ``file`` (RFC 7578)."""
    boundary = secrets.token_hex(16)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{v}\r\n' for name, v in fields.items()
    ]
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
    body = ("".join(parts) + head + "Content-Type: application/jsonl\r\n\r\n").encode() + content
    return {"content-type": f"multipart/form-data; boundary={boundary}"}, body + f"\r\n--{boundary}--\r\n".encode()


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
