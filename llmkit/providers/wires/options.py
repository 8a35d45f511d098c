"""Which of the caller's parameters a model accepts: the one place where parameters are left out or refused.

What a model's API accepts is data: ``Model.api_config``. Every key is optional; an explicit ``null`` is a value.

``wire``
    name of the wire, instead of the provider's
``rejects``, ``learned_rejects``
    lists of our parameter names that the model never accepts (``temperature``, ``top_p``, ``max_tokens``, ``seed``,
    ``stop``, ``reasoning_effort``, ``schema``); the second is written when an error shows it at run time
``sampling``
    ``true``, ``false``, or ``"without_reasoning"``: temperature and top_p only while the reasoning effort is ``none``
``default_reasoning_effort``
    the effort that the model uses when none is asked for
``reasoning_efforts``
    list of the efforts that it accepts; empty if it accepts none; absent if unknown (then any effort is sent)
``reasoning_style``
    how effort is sent: openai_chat ``"effort"``, ``"object"``, ``"thinking"``; anthropic_messages ``"adaptive"``,
    ``"budget"``, ``"none"``; gemini ``"level"``, ``"budget"``
``structured``
    how a schema is sent: ``"json_schema"``, ``"json_object"``, or ``null`` if it is not sent
``max_tokens_param``, ``seed_param``
    name of the parameter in an openai_chat body; a ``null`` seed_param means that there is none
``anthropic_version``
    value of the ``anthropic-version`` header
``reasoning``, ``cache_min_tokens``
    whether the model reasons, and the smallest prompt that the provider caches; not read by wires
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from llmkit.errors import ValidationError
from llmkit.records import Call, Model, Params

SAMPLING = ("temperature", "top_p")
PARAMETERS = (*SAMPLING, "max_tokens", "seed", "stop", "reasoning_effort", "schema")
_UNSET = {name: getattr(Params(), name) for name in PARAMETERS}


def settle(
    call: Call,
    *,
    untaken: Iterable[str] = (),
    indispensable: Iterable[str] = (),
    defaults: Mapping[str, Any] | None = None,
) -> tuple[Params, tuple[str, ...]]:
    """The parameters to send, and the names of requested ones that are left out because the model does not accept them.

    ``untaken`` names parameters that are not part of the wire's format; ``indispensable`` those that it sends even if
    an answer once refused them (in another form, if any); ``defaults`` replace keys missing from ``api_config``. See
    ``Wire.build`` for what is raised.
    """
    config = {**(defaults or {}), **call.model.api_config}
    names = [name for name, unset in _UNSET.items() if getattr(call.params, name) != unset]
    refused = {*untaken, *_names(config.get("rejects")), *learned_rejects(call.model) - {*indispensable}}
    refused.update(_refused_by_reasoning(call.params, config, refused))
    left_out = tuple(name for name in names if name in refused)
    if left_out and call.params.strict:
        raise ValidationError(
            f"{call.model.reference} does not accept {', '.join(left_out)} as given. Change or remove it, "
            "or unset strict to have it left out.",
            field=left_out[0],
        )
    unset = {name: _UNSET[name] for name in left_out}
    return replace(call.params, **unset) if unset else call.params, left_out


def named(params: Params, **names: str) -> dict[str, Any]:
    """The parameters that are set, under a format's names. ``names`` maps ours to these, in the order of the body."""
    values = {theirs: getattr(params, ours) for ours, theirs in names.items() if getattr(params, ours) != _UNSET[ours]}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def learned_rejects(model: Model) -> frozenset[str]:
    """The parameters that the model has been found to refuse."""
    return frozenset(_names(model.api_config.get("learned_rejects")))


def merged(body: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """The body with the caller's ``extra_body``: objects are merged, everything else is replaced."""
    result = dict(body)
    for key, value in extra.items():
        inner = result.get(key)
        both = isinstance(inner, Mapping) and isinstance(value, Mapping)
        result[key] = merged(inner, value) if both else value  # type: ignore[arg-type]
    return result


def _refused_by_reasoning(params: Params, config: Mapping[str, Any], refused: set[str]) -> Iterator[str]:
    effort, accepted = params.reasoning_effort, config.get("reasoning_efforts")
    if effort is not None and isinstance(accepted, list | tuple) and effort not in accepted:
        yield "reasoning_effort"
        effort = None
    if effort is None or "reasoning_effort" in refused:
        effort = config.get("default_reasoning_effort")
    sampling = config.get("sampling", True)
    if sampling is False or (sampling == "without_reasoning" and effort != "none"):
        yield from SAMPLING
    if config.get("structured", "json_schema") is None:
        yield "schema"


def _names(value: Any) -> tuple[str, ...]:
    return tuple(str(name) for name in value) if isinstance(value, list | tuple) else ()
