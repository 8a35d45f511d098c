"""The server side of OpenAI's batches, and of Mistral's and xAI's, which share its file format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llmkit.simulator.formats.body_values import Body
from llmkit.simulator.formats.served_batches import GIVEN_UP, Action, Batch, Item, ServedBatches, iso, routes_at
from llmkit.simulator.questions import Rejected

_UPLOAD: tuple[str, str, Action] = ("POST", r"/files$", "upload")
_CONTENT: tuple[str, str, Action] = ("GET", r"/files/([^/]+)/content$", "results")
_FAILED = ("refused", *GIVEN_UP)


class OpenAIServed(ServedBatches):
    """``/files`` and ``/batches``."""

    routes = routes_at("/batches", _UPLOAD, _CONTENT)

    def read(self, body: Body, files: Mapping[str, bytes], path: str) -> Batch:
        """See ``ServedBatches.read``."""
        items = _lines_of(files, body)
        if body.get("completion_window") != "24h":
            raise Rejected("Invalid value for 'completion_window': must be '24h'.", "completion_window")
        if any(item.url != body.get("endpoint") for item in items):
            raise Rejected("The URL of each request must be the endpoint of the batch.", "endpoint")
        if len({Body(item.body, "body").text("model") for item in items}) > 1:
            raise Rejected("All requests of a batch must be for the same model.", "model")
        return Batch(_name_in(body), items)

    def state(self, batch: Batch) -> dict[str, Any]:
        """The state of a batch."""
        answered, failed = len(batch.ended("answered")), len(batch.ended(*_FAILED))
        return {
            "id": batch.batch_id,
            "object": "batch",
            "endpoint": batch.endpoint,
            "errors": None,
            "input_file_id": f"file-in-{batch.batch_id}",
            "completion_window": "24h",
            "status": batch.status,
            "output_file_id": f"file-out-{batch.batch_id}" if answered else None,
            "error_file_id": f"file-err-{batch.batch_id}" if failed else None,
            "created_at": int(batch.created_at),
            "request_counts": {"total": len(batch.items), "completed": answered, "failed": failed},
            "metadata": {"llmkit": batch.name} if batch.name else None,
        }

    def listing(self, states: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """A page of batches."""
        return {"object": "list", "has_more": False, "data": states, "last_id": states[-1]["id"] if states else None}

    def results(self, batch: Batch, reference: str) -> Any:
        """The lines of the output file, or of the error file."""
        return list(map(_line, batch.ended("answered") if reference.startswith("file-out-") else batch.ended(*_FAILED)))


class MistralServed(OpenAIServed):
    """``/batch/jobs``; results are files."""

    routes = routes_at("/batch/jobs", _CONTENT)

    def read(self, body: Body, files: Mapping[str, bytes], path: str) -> Batch:
        """See ``ServedBatches.read``."""
        endpoint, model = body.text("endpoint") or "", {"model": body.get("model")}
        requests = body.objects("requests")
        items = [Item(str(each.get("custom_id")), endpoint, model | each.object("body")) for each in requests]
        return Batch(_name_in(body), items)

    def state(self, batch: Batch) -> dict[str, Any]:
        """The state of a batch."""
        answered, failed = len(batch.ended("answered")), len(batch.ended(*_FAILED))
        words = {"completed": "SUCCESS", "expired": "TIMEOUT_EXCEEDED", "cancelled": "CANCELLED"}
        return {
            "id": batch.batch_id,
            "object": "batch",
            "endpoint": batch.endpoint,
            "model": batch.items[0].body["model"],
            "input_files": [],
            "errors": [],
            "metadata": {"llmkit": batch.name},
            "status": words.get(batch.status, "RUNNING"),
            "output_file": f"file-out-{batch.batch_id}" if answered else None,
            "error_file": f"file-err-{batch.batch_id}" if failed else None,
            "created_at": int(batch.created_at),
            "total_requests": len(batch.items),
            "completed_requests": answered + failed,
            "succeeded_requests": answered,
            "failed_requests": failed,
        }

    def listing(self, states: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """A page of batches."""
        return {"object": "list", "data": states, "total": len(states)}


class XaiServed(ServedBatches):
    """``/files`` and ``/batches`` without a status; a fifth off."""

    routes = routes_at("/batches", _UPLOAD, ("GET", r"/batches/([^/]+)/results$", "results"), cancel=":cancel")

    def read(self, body: Body, files: Mapping[str, bytes], path: str) -> Batch:
        """See ``ServedBatches.read``."""
        return Batch(body.text("name"), _lines_of(files, body))

    def state(self, batch: Batch) -> dict[str, Any]:
        """The state of a batch."""
        return {
            "batch_id": batch.batch_id,
            "name": batch.name,
            "create_time": iso(batch.created_at),
            "cancel_time": iso(batch.cancelled_at),
            "state": {
                "num_requests": len(batch.items),
                "num_pending": 0 if batch.ended_at else len(batch.items),
                "num_success": len(batch.ended("answered")),
                "num_error": len(batch.ended("refused")),
                "num_cancelled": len(batch.ended("cancelled")),
            },
        }

    def listing(self, states: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """A page of batches."""
        return {"batches": states, "pagination_token": None}

    def results(self, batch: Batch, reference: str) -> dict[str, Any]:
        """All results in one page, without requests that were given up."""
        ended = batch.ended("answered", "refused")
        lines = [{"batch_request_id": item.custom_id, "batch_result": _xai_result(item)} for item in ended]
        return {"results": lines, "pagination_token": None}


def _name_in(body: Body) -> str | None:
    """The name that llmkit gave a batch, in its metadata."""
    return body.object("metadata").text("llmkit")


def _lines_of(files: Mapping[str, bytes], body: Body) -> list[Item]:
    """The requests of a stored file."""
    file = files.get(body.text("input_file_id") or "")
    if file is None:
        raise Rejected(f"No such File object: {body.get('input_file_id')}", "input_file_id")
    try:
        lines = [json.loads(line) for line in file.splitlines() if line.strip()]
        return [Item(str(line["custom_id"]), str(line["url"]), line["body"]) for line in lines]
    except (ValueError, KeyError, TypeError):
        raise Rejected("The file is not JSON lines with custom_id, method, url and body.", "input_file_id") from None


def _line(item: Item) -> dict[str, Any]:
    response = error = None
    if item.outcome in GIVEN_UP:
        error = {"code": f"batch_{item.outcome}", "message": "This request could not be executed in time."}
    else:
        response = {"status_code": item.status, "request_id": f"req_{item.custom_id}", "body": item.reply}
    return {"id": f"batch_req_{item.custom_id}", "custom_id": item.custom_id, "response": response, "error": error}


def _xai_result(item: Item) -> dict[str, Any]:
    if item.outcome == "refused":
        return {"response": None, "error": {"code": item.status, "message": item.reply.get("error")}}
    usage = item.reply["usage"]
    ticks = usage["cost_in_usd_ticks"] * 8 // 10
    return {"response": {"chat_get_completion": {**item.reply, "usage": {**usage, "cost_in_usd_ticks": ticks}}}}
