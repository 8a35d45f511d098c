"""The server side of OpenAI's batches, and of Mistral's and xAI's, which share its file format."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from llmkit.simulator.formats.body_values import mapping, text_or_none
from llmkit.simulator.formats.served_batches import Action, Batch, Item, Result, ServedBatches, iso, routes_at
from llmkit.simulator.problems import Rejected

_LISTS = {"object": "list", "has_more": False}
_UPLOAD: tuple[str, str, Action] = ("POST", r"/files$", "upload")
_CONTENT: tuple[str, str, Action] = ("GET", r"/files/([^/]+)/content$", "results")


class OpenAIServed(ServedBatches):
    """``/files`` and ``/batches``."""

    routes = routes_at("/batches", _UPLOAD, _CONTENT)

    def read(self, body: Mapping[str, Any], files: Mapping[str, bytes], path: str) -> Batch:
        """See ``ServedBatches.read``."""
        items = lines_of(files, body.get("input_file_id"))
        if body.get("completion_window") != "24h":
            raise Rejected("Invalid value for 'completion_window': must be '24h'.", "completion_window")
        if any(item.url != body.get("endpoint") for item in items):
            raise Rejected("The URL of each request must be the endpoint of the batch.", "endpoint")
        if len({mapping(item.body, "body").get("model") for item in items}) > 1:
            raise Rejected("All requests of a batch must be for the same model.", "model")
        return Batch(name=name_in(body), items=items, endpoint=str(body["endpoint"]))

    def state(self, batch: Batch) -> dict[str, Any]:
        """The state of a batch."""
        answered = batch.count("answered")
        failed = len(batch.results) - answered
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

    def listing(self, batches: Sequence[Batch]) -> dict[str, Any]:
        """A page of batches."""
        data = [self.state(batch) for batch in batches]
        return {**_LISTS, "data": data, "last_id": data[-1]["id"] if data else None}

    def results(self, batch: Batch, reference: str) -> list[dict[str, Any]]:
        """The lines of the output file, or of the error file."""
        wants_answers = reference.startswith("file-out-")
        lines = batch.results.items()
        return [_line(key, each) for key, each in lines if (each.outcome == "answered") is wants_answers]


class MistralServed(OpenAIServed):
    """``/batch/jobs``; results are files."""

    routes = routes_at("/batch/jobs", _CONTENT)

    def read(self, body: Mapping[str, Any], files: Mapping[str, bytes], path: str) -> Batch:
        """See ``ServedBatches.read``."""
        requests = [mapping(each, "requests") for each in body.get("requests") or ()]
        endpoint, model = str(body.get("endpoint")), body.get("model")
        items = [Item(str(each.get("custom_id")), endpoint, {"model": model, **each["body"]}) for each in requests]
        return Batch(name=name_in(body), items=items, endpoint=endpoint)

    def state(self, batch: Batch) -> dict[str, Any]:
        """The state of a batch."""
        answered = batch.count("answered")
        failed = len(batch.results) - answered
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
            "completed_requests": len(batch.results),
            "succeeded_requests": answered,
            "failed_requests": failed,
        }

    def listing(self, batches: Sequence[Batch]) -> dict[str, Any]:
        """A page of batches."""
        return {"object": "list", "data": [self.state(batch) for batch in batches], "total": len(batches)}


class XaiServed(OpenAIServed):
    """``/files`` and ``/batches`` without a status; a fifth off."""

    routes = routes_at("/batches", _UPLOAD, ("GET", r"/batches/([^/]+)/results$", "results"), cancel=":cancel")

    def read(self, body: Mapping[str, Any], files: Mapping[str, bytes], path: str) -> Batch:
        """See ``ServedBatches.read``."""
        return Batch(name=text_or_none(body.get("name")), items=lines_of(files, body.get("input_file_id")))

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
                "num_success": batch.count("answered"),
                "num_error": batch.count("refused"),
                "num_cancelled": batch.count("cancelled"),
            },
        }

    def listing(self, batches: Sequence[Batch]) -> dict[str, Any]:
        """A page of batches."""
        return {"batches": [self.state(batch) for batch in batches], "pagination_token": None}

    def results(self, batch: Batch, reference: str) -> Any:
        """All results in one page, without requests that were given up."""
        ended = {key: _xai_result(each) for key, each in batch.results.items() if each.given_up is None}
        lines = [{"batch_request_id": key, "batch_result": result} for key, result in ended.items()]
        return {"results": lines, "pagination_token": None}


def name_in(body: Mapping[str, Any]) -> str | None:
    """The name that llmkit gave a batch, in its metadata."""
    return text_or_none(mapping(body.get("metadata"), "metadata").get("llmkit"))


def lines_of(files: Mapping[str, bytes], file_id: Any) -> list[Item]:
    """The requests of a stored file."""
    if file_id not in files:
        raise Rejected(f"No such File object: {file_id}", "input_file_id")
    try:
        lines = [json.loads(line) for line in files[file_id].splitlines() if line.strip()]
        return [Item(str(line["custom_id"]), str(line["url"]), line["body"]) for line in lines]
    except (ValueError, KeyError, TypeError):
        raise Rejected("The file is not JSON lines with custom_id, method, url and body.", "input_file_id") from None


def _line(custom_id: str, result: Result) -> dict[str, Any]:
    if result.given_up is not None:
        error = {"code": f"batch_{result.given_up}", "message": "This request could not be executed in time."}
        return {"id": f"batch_req_{custom_id}", "custom_id": custom_id, "response": None, "error": error}
    response = {"status_code": result.status, "request_id": f"req_{custom_id}", "body": result.body}
    return {"id": f"batch_req_{custom_id}", "custom_id": custom_id, "response": response, "error": None}


def _xai_result(result: Result) -> dict[str, Any]:
    if result.outcome != "answered":
        return {"response": None, "error": {"code": result.status, "message": result.body.get("error")}}
    usage = result.body["usage"]
    ticks = usage["cost_in_usd_ticks"] * 8 // 10
    return {"response": {"chat_get_completion": {**result.body, "usage": {**usage, "cost_in_usd_ticks": ticks}}}}
