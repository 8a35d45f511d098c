"""What providers refuse although it is well-formed: parameters that a model does not take.

Sources: the providers' API references and SDKs as of November 2026; see each function.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llmkit.simulator.formats.problems import Problem, Rejected, invalid, unsupported_parameter, unsupported_value
from llmkit.simulator.questions import Question
from llmkit.simulator.reasoning import is_openai_reasoning_model, resolved_effort

_RESPONSES_ONLY = re.compile(r"^(gpt-5-codex|gpt-5-pro|gpt-5\.\d-(codex|pro)|o\d-pro|o\d(-mini)?-deep-research)")
_CLAUDE_WITH_SAMPLING = re.compile(r"-4-[56](-|$)")  # 4.5 and 4.6: later ones refuse temperature and top_p
_CLAUDE_PREFILL = re.compile(r"-4-5(-|$)")
_CLAUDE_VERSIONS = ("2023-06-01", "2026-10-21")
_CLAUDE_NO_SAMPLING = "2026-10-21"
_GEMINI_FIELDS = frozenset(
    {
        "contents", "systemInstruction", "generationConfig", "safetySettings", "tools", "toolConfig", "cachedContent",
        "serviceTier", "labels", "model", "store",
    }
)  # fmt: skip


def check_chat(question: Question, body: Mapping[str, Any]) -> None:
    """Refuse what the provider of a chat completion refuses.

    Raises:
        Rejected: it does.
    """
    if body.get("stream"):
        raise unsupported_value("Unsupported value: 'stream' must be false here: answers come in one piece.", "stream")
    check = {"openai": _openai_chat, "xai": _xai, "deepseek": _deepseek, "mistral": _mistral}.get(question.provider)
    if check is not None:
        check(question, body)


def check_responses(question: Question, body: Mapping[str, Any]) -> None:
    """Refuse what OpenAI and xAI refuse in the Responses format.

    Raises:
        Rejected: they do.
    """
    for name in ("messages", "max_tokens", "max_completion_tokens", "seed", "stop", "response_format"):
        if name in body:
            raise Rejected(Problem(kind="invalid", message=f"Unknown parameter: '{name}'.", param=name))
    if body.get("stream"):
        raise unsupported_value("Unsupported value: 'stream' must be false here: answers come in one piece.", "stream")
    if question.provider == "openai":
        _openai_sampling(question, body)


def check_anthropic(question: Question, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    """Refuse what Anthropic refuses: sampling by API version and model, prefill, a missing version.

    Raises:
        Rejected: it does.
    """
    version = headers.get("anthropic-version")
    if version not in _CLAUDE_VERSIONS:
        raise invalid(
            "anthropic-version: header is required"
            if version is None
            else f'anthropic-version: "{version}" is not a valid version'
        )
    if body.get("stream"):
        raise invalid("stream: must be false here: answers come in one piece", "stream")
    sampled = [name for name in ("temperature", "top_p", "top_k") if body.get(name) is not None]
    if sampled and version >= _CLAUDE_NO_SAMPLING:
        raise invalid(f"{sampled[0]}: is not supported in API version {version}", sampled[0])
    if sampled and not _CLAUDE_WITH_SAMPLING.search(question.model):
        unusual = [name for name in sampled if body[name] != 1]
        if unusual:
            raise invalid(f"`{unusual[0]}` is deprecated for this model.", unusual[0])
    if "temperature" in sampled and "top_p" in sampled:
        raise invalid("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    if question.messages[-1][0] == "assistant" and not _CLAUDE_PREFILL.search(question.model):
        raise invalid(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )


def check_gemini(body: Mapping[str, Any]) -> None:
    """Refuse fields that Gemini does not know.

    Raises:
        Rejected: there is one.
    """
    for name in body:
        if name not in _GEMINI_FIELDS:
            raise invalid(f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.', name)


def _openai_chat(question: Question, body: Mapping[str, Any]) -> None:
    """OpenAI: reasoning models take neither ``max_tokens`` nor ``stop``; pro and codex models take no chat at all."""
    if _RESPONSES_ONLY.match(question.model):
        message = "This is not a chat model and thus not supported in the v1/chat/completions endpoint."
        raise Rejected(Problem(kind="not_found", message=message, model=question.model, param="model"))
    if is_openai_reasoning_model(question.model):
        if body.get("max_tokens") is not None:
            raise unsupported_parameter(
                "Unsupported parameter: 'max_tokens' is not supported with this model. "
                "Use 'max_completion_tokens' instead.",
                "max_tokens",
            )
        if body.get("stop"):
            raise unsupported_parameter("Unsupported parameter: 'stop' is not supported with this model.", "stop")
    elif body.get("reasoning_effort") is not None:
        raise unsupported_parameter("Unrecognized request argument supplied: reasoning_effort", "reasoning_effort")
    _openai_sampling(question, body)


def _openai_sampling(question: Question, body: Mapping[str, Any]) -> None:
    """Temperature and top_p only while the effort is none, or at their default of 1."""
    if not is_openai_reasoning_model(question.model) or resolved_effort(question) == "none":
        return
    for name in ("temperature", "top_p"):
        if body.get(name) not in (None, 1):
            raise unsupported_value(
                f"Unsupported value: '{name}' does not support {body[name]} with this model. "
                "Only the default (1) value is supported.",
                name,
            )


def _xai(question: Question, body: Mapping[str, Any]) -> None:
    """xAI: reasoning models take neither ``stop`` nor penalties, and grok-4.20 no effort."""
    for name, words in (
        ("stop", "stop"),
        ("presence_penalty", "presencePenalty"),
        ("frequency_penalty", "frequencyPenalty"),
    ):
        if body.get(name):
            raise invalid(f"Model {question.model} does not support parameter {words}.", name)
    if body.get("reasoning_effort") and question.model.startswith("grok-4.20") and "multi-agent" not in question.model:
        raise invalid(f"Model {question.model} does not support parameter reasoningEffort.", "reasoning_effort")


def _deepseek(question: Question, body: Mapping[str, Any]) -> None:
    """DeepSeek: JSON mode takes no schema, and the prompt must say that it wants JSON."""
    form = body.get("response_format") or {}
    if form.get("type") == "json_schema":
        raise invalid("This response_format type is unavailable now", "response_format")
    if form.get("type") == "json_object" and "json" not in question.characters.lower():
        raise invalid("Prompt must contain the word 'json' to use 'response_format' of type 'json_object'.")


def _mistral(question: Question, body: Mapping[str, Any]) -> None:
    """Mistral calls the seed ``random_seed`` and allows no other extra field."""
    for name in ("seed", "max_completion_tokens"):
        if name in body:
            raise unsupported_parameter("Extra inputs are not permitted", name)
