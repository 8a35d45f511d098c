"""The server side of Anthropic's message batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmkit.simulator.formats.body_values import Body
from llmkit.simulator.formats.served_batches import Batch, Item, ServedBatches, iso, routes_at

_DAY = 86_400


class AnthropicServed(ServedBatches):
    """``/v1/messages/batches``. Batches have no names."""

    routes = routes_at("/messages/batches", ("GET", r"/messages/batches/([^/]+)/results$", "results"))

    def read(self, body: Body, files: Mapping[str, bytes], path: str) -> Batch:
        """See ``ServedBatches.read``."""
        requests = body.objects("requests")
        return Batch(None, [Item(str(each.get("custom_id")), "/v1/messages", each.get("params")) for each in requests])

    def state(self, batch: Batch) -> dict[str, Any]:
        """The state of a batch; its counts stay at 0 until it has ended."""
        has_ended = batch.ended_at is not None
        return {
            "id": batch.batch_id,
            "type": "message_batch",
            "processing_status": "ended" if has_ended else "in_progress",
            "request_counts": {
                "processing": 0 if has_ended else len(batch.items),
                "succeeded": len(batch.ended("answered")),
                "errored": len(batch.ended("refused")),
                "canceled": len(batch.ended("cancelled")),
                "expired": len(batch.ended("expired")),
            },
            "created_at": iso(batch.created_at),
            "expires_at": iso(batch.created_at + _DAY),
            "ended_at": iso(batch.ended_at),
            "archived_at": None,
            "cancel_initiated_at": iso(batch.cancelled_at),
            "results_url": f"/v1/messages/batches/{batch.batch_id}/results" if has_ended else None,
        }

    def listing(self, states: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """A page of batches."""
        return page(states)

    def results(self, batch: Batch, reference: str) -> list[dict[str, Any]]:
        """The lines of the results."""
        return [{"custom_id": item.custom_id, "result": _result(item)} for item in batch.items if item.outcome]


def page(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The only page of a list of Anthropic's."""
    first, last = (entries[0]["id"], entries[-1]["id"]) if entries else (None, None)
    return {"data": entries, "has_more": False, "first_id": first, "last_id": last}


def _result(item: Item) -> dict[str, Any]:
    if item.outcome == "answered":
        usage = {**item.reply["usage"], "service_tier": "batch"}
        return {"type": "succeeded", "message": {**item.reply, "usage": usage}}
    if item.outcome == "refused":
        return {"type": "errored", "error": item.reply}
    return {"type": "expired" if item.outcome == "expired" else "canceled"}
