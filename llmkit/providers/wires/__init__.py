"""The wires: each provider's HTTP format as pure functions, by name.

A model's ``api_config`` declares what its API accepts; ``options`` documents the keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from llmkit.errors import ValidationError
from llmkit.providers.wires.answer_limit import answer_limit, answers_asked
from llmkit.providers.wires.anthropic_messages import AnthropicMessages
from llmkit.providers.wires.base import Wire
from llmkit.providers.wires.batch_api import EXPIRED, LOST, BatchApi, BatchItem, BatchState, Listed
from llmkit.providers.wires.gemini import Gemini
from llmkit.providers.wires.headers import rate_info
from llmkit.providers.wires.model_lists import parse_models
from llmkit.providers.wires.openai_chat import OpenAIChat
from llmkit.providers.wires.openai_responses import OpenAIResponses
from llmkit.providers.wires.served import asked_tier
from llmkit.records import DIALECTS, STANDARD, WIRE_NAMES, Model, Provider
from llmkit.records.checks import texts

WIRES: Mapping[str, Wire] = MappingProxyType(
    {wire.name: wire for wire in (OpenAIChat(), OpenAIResponses(), AnthropicMessages(), Gemini())}
)

__all__ = [
    "EXPIRED", "LOST", "WIRES", "BatchApi", "BatchItem", "BatchState", "Listed", "Wire", "answer_limit",
    "answers_asked", "asked_tier", "parse_models", "rate_info", "wire_for",
]  # fmt: skip


def wire_for(provider: Provider, model: Model) -> Wire:
    """The model's own wire (``api_config["wire"]``) or its provider's, in the provider's dialect.

    Raises:
        ValidationError: there is no wire or dialect of that name.
    """
    name = model.api_config.get("wire") or provider.wire
    if name not in WIRES:
        raise ValidationError(f"There is no wire {name!r}. Known wires: {', '.join(WIRE_NAMES)}.", field="wire")
    dialect = texts.dialect(provider.dialect)
    return replace(WIRES[name], dialect=DIALECTS[dialect] if dialect else STANDARD)
