"""The golden corpus: responses as providers send them, and what each must become."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from wire_requests import spoken

from llmkit.records import Call, Completion, Failure, HttpResponse, Message, Model, Usage

FOLDER = Path(__file__).parent.parent / "replies"


@dataclass(frozen=True)
class Case:
    """One file of the corpus: a response, the values that its Completion or Failure must have, and its right bill."""

    name: str
    wire: str
    call: Call
    response: HttpResponse
    expect: dict[str, Any]
    bill: dict[str, Any]

    @property
    def is_failure(self) -> bool:
        """Whether the response must be classified as a failure."""
        return "ok" not in self.expect

    def outcome(self) -> Completion | Failure:
        """What the wire makes of the response now."""
        return spoken(self.wire, self.call.model.provider).parse(self.call, self.response)

    def differences(self) -> dict[str, tuple[Any, Any]]:
        """Expected and actual values where they differ; empty when the case holds."""
        outcome = self.outcome()
        actual = {name: getattr(outcome, name, None) for name in self.expect}
        actual |= {"ok": isinstance(outcome, Completion)} if "ok" in self.expect else {}
        if actual.get("usage") is not None:
            actual["usage"] = actual["usage"].to_row()
        return {name: (value, actual[name]) for name, value in self.expect.items() if actual[name] != value}


def read(path: Path) -> Case:
    """A case from its file. The body is JSON, or a string that is sent as it is."""
    case = json.loads(path.read_text("utf-8"))
    body = case["body"] if isinstance(case["body"], str) else json.dumps(case["body"])
    model = Model(
        provider=case["provider"], model_id="test", display_name="Test", api_config=case.get("api_config", {})
    )
    return Case(
        name=f"{path.parent.name}/{path.stem}",
        wire=path.parent.name,
        call=Call(model=model, messages=(Message("user", "Yes or no?"),)),
        response=HttpResponse(
            status=case["status"],
            headers=case["headers"],
            body=body.encode(),
            received_at=datetime.fromisoformat(case["now"]),
        ),
        expect=case["expect"] | _usage(case["expect"].get("usage")),
        bill=case.get("bill", {}),
    )


def _usage(usage: dict[str, Any] | None) -> dict[str, Any]:
    """The usage that a case states, complete: kinds of token that came later than the case are 0 in it."""
    if usage is None:
        return {}
    reported = usage.get("reported_cost")
    return {"usage": Usage(**usage | {"reported_cost": reported and Decimal(reported)}).to_row()}


def cases() -> Iterator[Case]:
    """All cases, in a fixed order."""
    return (read(path) for path in sorted(FOLDER.glob("*/*.json")))
