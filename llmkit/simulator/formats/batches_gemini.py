"""The server side of Google's batches: a long-running operation that contains everything."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from llmkit.simulator.formats.body_values import Body
from llmkit.simulator.formats.served_batches import Batch, Item, Routes, ServedBatches, iso

_STATES = {"in_progress": "RUNNING", "completed": "SUCCEEDED", "expired": "EXPIRED", "cancelled": "CANCELLED"}
_VERSION = "(?:/v1beta|/google/v1)"  # OpenAI's paths have v1 too


class GeminiServed(ServedBatches):
    """``:batchGenerateContent`` and ``/v1beta/batches``."""

    prefix = "batches/"
    routes: ClassVar[Routes] = (
        ("POST", r":batchGenerateContent$", "create"),
        ("GET", rf"{_VERSION}/batches$", "list"),
        ("POST", rf"{_VERSION}/(batches/[^/:]+):cancel$", "cancel"),
        ("GET", rf"{_VERSION}/(batches/[^/:]+)$", "poll"),
    )

    def read(self, body: Body, files: Mapping[str, bytes], path: str) -> Batch:
        """See ``ServedBatches.read``."""
        batch = body.object("batch")
        url = re.sub(r"^.*(/v1(?:beta)?/models/.*):batchGenerateContent$", r"\1:generateContent", path)
        requests = enumerate(batch.object("inputConfig").object("requests").objects("requests"))
        keys = ((str(each.object("metadata").get("key", number)), each.get("request")) for number, each in requests)
        return Batch(batch.text("displayName"), [Item(key, url, request) for key, request in keys])

    def state(self, batch: Batch) -> dict[str, Any]:
        """The state of a batch, with its results once it has ended."""
        metadata: dict[str, Any] = {
            "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
            "model": batch.endpoint.removeprefix("/v1beta/").removesuffix(":generateContent"),
            "name": batch.batch_id,
            "displayName": batch.name,
            "state": f"BATCH_STATE_{_STATES[batch.status]}",
            "createTime": iso(batch.created_at),
            "batchStats": {
                "requestCount": str(len(batch.items)),
                "successfulRequestCount": str(len(batch.ended("answered"))),
            },
        }
        if batch.ended_at is None:
            return {"name": batch.batch_id, "metadata": metadata}
        output = {"inlinedResponses": {"inlinedResponses": list(map(_line, batch.ended("answered", "refused")))}}
        return {"name": batch.batch_id, "metadata": {**metadata, "output": output}, "done": True, "response": output}

    def listing(self, states: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """A page of batches."""
        return {"operations": states}


def _line(item: Item) -> dict[str, Any]:
    content = {"response": item.reply} if item.outcome == "answered" else {"error": item.reply["error"]}
    return {**content, "metadata": {"key": item.custom_id}}
