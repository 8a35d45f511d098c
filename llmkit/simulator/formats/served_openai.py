"""The common part of OpenAI's two formats: the provider's dialect."""

from __future__ import annotations

from collections.abc import Mapping

from llmkit.simulator.formats.deepseek_dialect import DeepSeek
from llmkit.simulator.formats.mistral_dialect import Mistral
from llmkit.simulator.formats.openai_dialect import OpenAI, ServedDialect
from llmkit.simulator.formats.served_format import Format
from llmkit.simulator.formats.xai_dialect import Xai

DIALECTS: Mapping[str, type[ServedDialect]] = {"openai": OpenAI, "xai": Xai, "deepseek": DeepSeek, "mistral": Mistral}
"""Dialects by provider; all others speak OpenAI's formats without changes."""


class OpenAIFormat(Format):
    """Either of OpenAI's formats, in the dialect of a provider."""

    usual = "openai"
    server: ServedDialect

    def __init__(self, provider: str) -> None:
        self.server = DIALECTS.get(provider, ServedDialect)(provider)
