"""The formats that the simulator speaks, found by the name of their wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from llmkit.records import WireName
from llmkit.simulator.formats.served_anthropic import Anthropic
from llmkit.simulator.formats.served_chat import Chat
from llmkit.simulator.formats.served_gemini import Gemini
from llmkit.simulator.formats.served_responses import Responses
from llmkit.simulator.questions import Answer, Question

__all__ = ["FORMATS", "Format"]


class Format(Protocol):
    """A format of requests and answers, seen from the server."""

    name: WireName

    def read(self, provider: str, model: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Question:
        """What is asked; ``model`` is the one in the URL, where the format has it there.

        Raises:
            Rejected: the provider would not take it.
        """

    def write(self, question: Question, answer: Answer, request_id: str) -> dict[str, Any]:
        """The body of a 200."""


FORMATS: Mapping[WireName, Format] = {each.name: each for each in (Chat(), Responses(), Anthropic(), Gemini())}
