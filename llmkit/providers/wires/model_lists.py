"""Reads the providers' lists of models, which state context windows, prices and retirement dates in their own ways."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from llmkit.providers.wires.answer import Answer, body_or_failure, defective
from llmkit.providers.wires.failure_rules import NO_ANSWER
from llmkit.providers.wires.values import dig, first_count, first_day, items, money, string
from llmkit.records import EXACT, Failure, HttpResponse, Price, RemoteModel

_MILLION = Decimal(1_000_000)
_OTHER_TYPES = frozenset({"audio", "embedding", "image", "moderation", "rerank", "transcribe", "video"})  # Together
_WINDOWS = (  # Mistral, OpenRouter and Together, Groq, vLLM, Anthropic, Google
    "max_context_length", "context_length", "context_window", "max_model_len", "max_input_tokens", "inputTokenLimit",
)  # fmt: skip


def parse_models(response: HttpResponse) -> list[RemoteModel] | Failure:
    """The models of a response to ``Wire.list_models``, without those that it calls retired or unable to chat."""
    body, failure = body_or_failure(response)
    if failure is not None:
        return failure
    lists = (body, dig(body, "data"), dig(body, "models"))  # Together, Google
    entries = next((each for each in lists if isinstance(each, list)), None)
    if entries is None:
        return defective(response, Answer(), NO_ANSWER)
    return [model for entry in entries if (model := _remote_model(entry)) is not None]


def _remote_model(entry: Any) -> RemoteModel | None:
    """A model in the list of any provider; ``None`` if it is not to be shown."""
    name = string(dig(entry, "name")).removeprefix("models/")  # Google
    model_id = string(dig(entry, "id")) or name
    if not model_id or not _can_chat(entry):
        return None
    return RemoteModel(
        model_id=model_id,
        display_name=string(dig(entry, "display_name")) or string(dig(entry, "displayName")) or name or None,
        context_window=first_count(entry, *_WINDOWS) or first_count(dig(entry, "meta"), "n_ctx"),  # llama.cpp
        max_output_tokens=first_count(dig(entry, "top_provider"), "max_completion_tokens")
        or first_count(entry, "max_completion_tokens", "max_tokens", "outputTokenLimit"),
        # OpenAI, Mistral, OpenRouter, Anthropic, Google
        retires_on=first_day(entry, "shutdown_date", "deprecation", "expiration_date", "retires_at")
        or first_day(dig(entry, "modelStatus"), "retirementTime"),
        price=_price(dig(entry, "pricing")),
    )


def _can_chat(entry: Any) -> bool:
    outputs, methods = items(dig(entry, "architecture", "output_modalities")), dig(entry, "supportedGenerationMethods")
    return (
        dig(entry, "lifecycle") != "retired"
        and dig(entry, "capabilities", "completion_chat") is not False
        and dig(entry, "type") not in _OTHER_TYPES
        and (not outputs or "text" in outputs)
        and (not isinstance(methods, list) or "generateContent" in methods)
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
