"""The simulator's batches: submitted, answered after a delay, polled and downloaded."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from llmkit.simulator.formats.body_values import json_object
from llmkit.simulator.formats.routes import Route
from llmkit.simulator.formats.served_batches import Batch, Item
from llmkit.simulator.questions import Rejected
from llmkit.simulator.stats import Received


class Batches:
    """All files and batches. ``answer`` answers one of a provider; a batch is answered when it is next asked for."""

    def __init__(self, answer: Callable[[str, Item], None]) -> None:
        self._answer = answer
        self._files: dict[str, bytes] = {}
        self.all: dict[str, Batch] = {}

    def serve(self, route: Route, received: Received, raw: bytes, delay: float) -> Any:
        """Serve a request: return an object, or the objects of JSON lines. ``delay`` is how long a batch takes.

        Raises:
            Rejected: the provider would reject it, or there is no such batch.
        """
        action, api, now = route.action, route.server.batches, received.at
        assert api is not None
        if action == "upload":
            return self._stored(received.headers.get("content-type", ""), raw)
        if action == "create":
            batch = api.read(json_object(received.body), self._files, received.path)
            batch.batch_id = f"{api.prefix}{len(self.all) + 1:08d}"
            batch.provider, batch.created_at = received.provider, now
            self.all[batch.batch_id] = batch
            return api.state(batch)
        own = {key: batch for key, batch in self.all.items() if batch.provider == received.provider}
        for batch in own.values():
            if batch.ended_at is None and now >= batch.created_at + delay:
                self._end(batch, now)
        if action == "list":
            return api.listing([api.state(batch) for batch in reversed(own.values())])
        if (batch_id := re.sub(r"^file-(in|out|err)-", "", route.reference)) not in own:
            raise Rejected(kind="not_found", model=route.reference)
        batch = own[batch_id]
        if action == "cancel" and batch.ended_at is None:
            batch.cancelled_at = now
            self._end(batch, now, share=min(1.0, (now - batch.created_at) / delay) if delay else 1.0)
        return api.results(batch, route.reference) if action == "results" else api.state(batch)

    def listed(self) -> list[dict[str, Any]]:
        """See ``Simulator.batches``."""
        names = ("batch_id", "provider", "name", "status")
        return [
            {name: getattr(batch, name) for name in names} | {"custom_ids": [item.custom_id for item in batch.items]}
            for batch in self.all.values()
        ]

    def _stored(self, content_type: str, raw: bytes) -> dict[str, Any]:
        content, file_id = _file_of(content_type, raw), f"file-{len(self._files) + 1:08d}"
        self._files[file_id] = content
        return {
            "id": file_id,
            "object": "file",
            "bytes": len(content),
            "created_at": 1_788_220_800,
            "filename": "batch.jsonl",
            "purpose": "batch",
            "status": "processed",
        }

    def _end(self, batch: Batch, now: float, share: float = 1.0) -> None:
        """Answer the first ``share`` of the requests; the rest is cancelled."""
        done = math.floor(len(batch.items) * share)
        for item in batch.items[:done]:
            self._answer(batch.provider, item)
        for item in batch.items[done:]:
            item.outcome = "cancelled"
        batch.ended_at = now


def _file_of(content_type: str, raw: bytes) -> bytes:
    """The content of the field ``file`` of a form."""
    boundary = re.search(r'boundary="?([^";]+)', content_type)
    for part in raw.split(b"--" + boundary[1].encode()) if boundary else ():
        head, _, content = part.partition(b"\r\n\r\n")
        if b'name="file"' in head:
            return content.removesuffix(b"\r\n")
    raise Rejected("Missing required parameter: 'file'.", "file")
