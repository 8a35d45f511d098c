"""The server side of Anthropic's message batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmkit.simulator.formats.body_values import mapping
from llmkit.simulator.formats.served_batches import Batch, Item, Result, ServedBatches, iso, routes_at

_DAY = 86_400


class AnthropicServed(ServedBatches):
    """``/v1/messages/batches``. Batches have no names."""

    routes = routes_at("/messages/batches", ("GET", r"/messages/batches/([^/]+)/results$", "results"))

    def read(self, body: Mapping[str, Any], files: Mapping[str, bytes], path: str) -> Batch:
        """See ``ServedBatches.read``."""
        requests = [mapping(each, "requests") for each in body.get("requests") or ()]
        items = [Item(str(each.get("custom_id")), "/v1/messages", each.get("params")) for each in requests]
        return Batch(name=None, items=items)

    def state(self, batch: Batch) -> dict[str, Any]:
        """The state of a batch; its counts stay at 0 until it has ended."""
        has_ended = batch.ended_at is not None
        return {
            "id": batch.batch_id,
            "type": "message_batch",
            "processing_status": "ended" if has_ended else "in_progress",
            "request_counts": {
                "processing": 0 if has_ended else len(batch.items),
                "succeeded": batch.count("answered"),
                "errored": batch.count("refused"),
                "canceled": batch.count("cancelled"),
                "expired": batch.count("expired"),
            },
            "created_at": iso(batch.created_at),
            "expires_at": iso(batch.created_at + _DAY),
            "ended_at": iso(batch.ended_at),
            "archived_at": None,
            "cancel_initiated_at": iso(batch.cancelled_at),
            "results_url": f"/v1/messages/batches/{batch.batch_id}/results" if has_ended else None,
        }

    def listing(self, batches: Sequence[Batch]) -> dict[str, Any]:
        """A page of batches."""
        return page([self.state(batch) for batch in batches])

    def results(self, batch: Batch, reference: str) -> list[dict[str, Any]]:
        """The lines of the results."""
        return [{"custom_id": key, "result": _result(each)} for key, each in batch.results.items()]


def page(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The only page of a list of Anthropic's."""
    first, last = (entries[0]["id"], entries[-1]["id"]) if entries else (None, None)
    return {"data": entries, "has_more": False, "first_id": first, "last_id": last}


def _result(result: Result) -> dict[str, Any]:
    if result.given_up is not None:
        return {"type": "expired" if result.given_up == "expired" else "canceled"}
    if result.outcome != "answered":
        return {"type": "errored", "error": result.body}
    usage = {**result.body["usage"], "service_tier": "batch"}
    return {"type": "succeeded", "message": {**result.body, "usage": usage}}
