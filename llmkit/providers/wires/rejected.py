"""Which request parameter a model does not accept, read from its error."""

from __future__ import annotations

import re

from llmkit.providers.wires.problem import Problem

_STATUSES = (400, 422)
_CODES = frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter", "extra_forbidden"})
# Patterns are compiled on demand, in re's own cache: most studies see no such error, and compiling takes a while.
_UNSUPPORTED = (
    r"(?i)unsupported|not supported|does not support|doesn't support|not enabled|deprecated|not permitted|not allowed"
    r"|unrecognized|unknown (name|parameter|field|argument)|cannot both be specified|may only be set"
    r"|only works in thinking mode"
)
_THIS_SCHEMA = r"(?i)json schema (error|contains)"  # llama.cpp, vLLM: the model takes others, without what it has
# The providers' names for each of our parameters, in order of precedence: if a message says that top_p and temperature
# exclude each other, top_p is dropped.
_WORDS = {
    "top_p": r"top_?p",
    "temperature": r"temperature",
    "seed": r"(random_)?seed",
    "reasoning_effort": r"reasoning([_. ]?effort)?|effort|thinking([_. ]?(config|level|budget|mode|type|enabled))*",
    "schema": r"response_?format|text\.format|output_config\.format|output_format|response_?(json_)?schema"
    r"|response_?mime_?type|json[_ ](schema|mode)|structured outputs?",
    "max_tokens": r"max_?(completion_?|output_?)?tokens",
    "stop": r"stop(_?sequences?)?",
}
_PATTERNS = {name: rf"(?i)(?<![A-Za-z_])({words})(?![A-Za-z_])" for name, words in _WORDS.items()}


def rejected_param(problem: Problem) -> str | None:
    """Our name for the parameter that the model does not accept, or ``None``.

    The error's parameter field takes precedence over its message. A value that is merely out of range is the caller's
    mistake and rejects no parameter, nor does a schema with something in it that the server cannot enforce.
    """
    if problem.status not in _STATUSES or re.search(_THIS_SCHEMA, problem.message):
        return None
    if not (problem.signs & _CODES or re.search(_UNSUPPORTED, problem.message)):
        return None
    return _our_name(problem.param) or _first_named(problem.message)


def _our_name(words: str) -> str | None:
    return next((name for name, pattern in _PATTERNS.items() if re.search(pattern, words)), None)


def _first_named(message: str) -> str | None:
    """The parameter mentioned first; of two that exclude each other (see ``_WORDS``), the first in the table."""
    if "cannot both" in message:
        return _our_name(message)
    places = {name: match.start() for name, pattern in _PATTERNS.items() if (match := re.search(pattern, message))}
    return min(places, key=lambda name: places[name]) if places else None
