"""What OpenAI's two formats share: service tiers, and the list of models, to which compatible providers add context
windows, prices and retirement dates in their own ways.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from decimal import Decimal
from typing import Any

from llmkit.providers.wires.base import Wire
from llmkit.providers.wires.batch_api import BatchApi
from llmkit.providers.wires.openai_batches import MistralBatches, OpenAIBatches, XaiBatches
from llmkit.providers.wires.values import dig, first_count, first_day, items, money, string
from llmkit.records import BATCH_TIER, EXACT, STANDARD_TIER, Params, Price, RemoteModel

_BATCHES: Mapping[str, BatchApi] = {"openai": OpenAIBatches(), "mistral": MistralBatches(), "xai": XaiBatches()}
_MILLION = Decimal(1_000_000)
_OTHER_TYPES = frozenset({"audio", "embedding", "image", "moderation", "rerank", "transcribe", "video"})  # Together


class OpenAIWire(Wire):
    """The common part of the chat completions and responses wires."""

    models_path = "/models"

    def _by_account(self, listed: Collection[str]) -> Iterable[str]:
        return (name for name in listed if name != BATCH_TIER)

    def _tier(self, params: Params) -> dict[str, str]:
        """The service tier's field in a body."""
        word = self.dialect.standard_tier if params.service_tier == STANDARD_TIER else params.service_tier
        return {} if word is None else {"service_tier": word}

    def batches(self) -> BatchApi | None:
        """See ``Wire.batches``. The dialect decides."""
        return _BATCHES.get(self.dialect.batches or "")

    @staticmethod
    def _remote_model(entry: Any) -> RemoteModel | None:
        model_id = string(dig(entry, "id"))
        if not model_id or not _can_chat(entry):
            return None
        return RemoteModel(
            model_id=model_id,
            display_name=string(dig(entry, "display_name")) or string(dig(entry, "name")) or None,
            # Mistral, OpenRouter and Together, Groq, vLLM
            context_window=first_count(
                entry, "max_context_length", "context_length", "context_window", "max_model_len"
            ),
            max_output_tokens=first_count(dig(entry, "top_provider"), "max_completion_tokens")
            or first_count(entry, "max_completion_tokens"),
            # OpenAI, Mistral, OpenRouter
            retires_on=first_day(entry, "shutdown_date", "deprecation", "expiration_date"),
            price=_price(dig(entry, "pricing")),
        )


def _can_chat(entry: Any) -> bool:
    outputs = items(dig(entry, "architecture", "output_modalities"))
    return (
        dig(entry, "capabilities", "completion_chat") is not False
        and dig(entry, "type") not in _OTHER_TYPES
        and (not outputs or "text" in outputs)
    )


def _price(pricing: Any) -> Price | None:
    """OpenRouter's prices: US dollars per token as text; -1 means variable, hence unknown."""
    names = ("prompt", "completion", "input_cache_read", "input_cache_write")
    rates = [money(dig(pricing, name)) for name in names]
    plain, output, read, write = (None if rate is None else EXACT.multiply(rate, _MILLION) for rate in rates)
    if plain is None and output is None:
        return None
    return Price(
        cost_input_per_million=plain,
        cost_output_per_million=output,
        cost_cached_input_per_million=read,
        cost_cache_write_per_million=write,
    )
