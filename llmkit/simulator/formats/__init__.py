"""The formats that the simulator speaks, by the name of their wire."""

from __future__ import annotations

from collections.abc import Mapping

from llmkit.records import WireName
from llmkit.simulator.formats.served_anthropic import Anthropic
from llmkit.simulator.formats.served_chat import Chat
from llmkit.simulator.formats.served_format import Format
from llmkit.simulator.formats.served_gemini import Gemini
from llmkit.simulator.formats.served_responses import Responses

__all__ = ["FORMATS", "Format"]

FORMATS: Mapping[WireName, type[Format]] = {each.name: each for each in (Gemini, Anthropic, Responses, Chat)}
