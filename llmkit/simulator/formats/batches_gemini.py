"""The server side of Google's batches: a long-running operation that contains everything."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from llmkit.simulator.formats.body_values import mapping, text_or_none
from llmkit.simulator.formats.served_batches import Batch, Item, Result, Routes, ServedBatches, iso

_STATES = {"in_progress": "RUNNING", "completed": "SUCCEEDED", "expired": "EXPIRED", "cancelled": "CANCELLED"}
_VERSION = "(?:/v1beta|/google/v1)"  # OpenAI's paths have v1 too


class GeminiServed(ServedBatches):
    """``:batchGenerateContent`` and ``/v1beta/batches``."""

    routes: ClassVar[Routes] = (
        ("POST", r":batchGenerateContent$", "create"),
        ("GET", rf"{_VERSION}/batches$", "list"),
        ("POST", rf"{_VERSION}/(batches/[^/:]+):cancel$", "cancel"),
        ("GET", rf"{_VERSION}/(batches/[^/:]+)$", "poll"),
    )

    def read(self, body: Mapping[str, Any], files: Mapping[str, bytes], path: str) -> Batch:
        """See ``ServedBatches.read``."""
        batch = mapping(body.get("batch"), "batch")
        requests = mapping(mapping(batch.get("inputConfig"), "input_config").get("requests"), "requests")
        url = re.sub(r"^.*(/v1(?:beta)?/models/.*):batchGenerateContent$", r"\1:generateContent", path)
        items = [
            Item(str(mapping(each.get("metadata"), "metadata").get("key", number)), url, each.get("request"))
            for number, each in enumerate(requests.get("requests") or ())
        ]
        return Batch(name=text_or_none(batch.get("displayName")), items=items, endpoint=url)

    def state(self, batch: Batch) -> dict[str, Any]:
        """The state of a batch, with its results once it has ended."""
        counts = {"requestCount": str(len(batch.items)), "successfulRequestCount": str(batch.count("answered"))}
        metadata: dict[str, Any] = {
            "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
            "model": batch.endpoint.removeprefix("/v1beta/").removesuffix(":generateContent"),
            "name": batch.batch_id,
            "displayName": batch.name,
            "state": f"BATCH_STATE_{_STATES[batch.status]}",
            "createTime": iso(batch.created_at),
            "batchStats": counts,
        }
        if batch.ended_at is None:
            return {"name": batch.batch_id, "metadata": metadata}
        lines = [_line(key, each) for key, each in batch.results.items() if each.given_up is None]
        output = {"inlinedResponses": {"inlinedResponses": lines}}
        return {"name": batch.batch_id, "metadata": {**metadata, "output": output}, "done": True, "response": output}

    def listing(self, batches: Sequence[Batch]) -> dict[str, Any]:
        """A page of batches."""
        return {"operations": [self.state(batch) for batch in batches]}


def _line(custom_id: str, result: Result) -> dict[str, Any]:
    content = {"response": result.body} if result.outcome == "answered" else {"error": result.body["error"]}
    return {**content, "metadata": {"key": custom_id}}
