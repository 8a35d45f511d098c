"""Scenarios, and the calls made from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from llmkit.errors import ValidationError
from llmkit.records.checks import shapes
from llmkit.records.entries import Model
from llmkit.records.typed_questions import Question

# one for all, and not checked again each time: a run may have a million scenarios
_NOTHING: tuple[Any, ...] = ()
_NO_DIMENSIONS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation; the system prompt is kept separately."""

    role: Literal["user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class Scenario:
    """One thing to ask: a prompt, an optional system prompt, follow-up prompts, and the dimension values behind it.

    ``dimensions`` become columns of ``run.probes``. ``scenario_id`` defaults to the scenario's position. ``template``
    identifies the template it was made from: estimates rely on answers to prompts of one template being similar in
    length. ``messages`` are turns before the prompt, such as few-shot examples: alternating questions and answers, as
    ``{"role": "user", "content": ...}`` and ``{"role": "assistant", "content": ...}``. ``question`` defines the form of
    the answer; make it with :mod:`llmkit.question`.
    """

    prompt: str
    system: str | None = None
    followups: tuple[str, ...] = _NOTHING
    scenario_id: str | None = None
    dimensions: Mapping[str, Any] = field(default_factory=lambda: _NO_DIMENSIONS, hash=False)
    template: str | None = None
    messages: tuple[Message, ...] = _NOTHING
    question: Question | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.prompt, str) or not self.prompt.strip():
            what = "empty" if isinstance(self.prompt, str) else shapes.kind(self.prompt)
            raise ValidationError(f"A scenario needs a prompt that is text; this one is {what}.", field="prompt")
        if self.system is not None and not isinstance(self.system, str):
            raise ValidationError(
                f"A scenario's system prompt is text, or None; this one is {shapes.kind(self.system)}.", field="system"
            )
        for name, nothing, checked in _CHECKED:
            if (value := getattr(self, name)) is not nothing:
                object.__setattr__(self, name, checked(value))
        if self.question is not None and self.followups:
            raise ValidationError("A question of a type is asked alone, without follow-ups.", field="followups")

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompts of all turns, in order."""
        return (self.prompt, *self.followups)


def _later(texts: Any) -> tuple[str, ...]:
    """Check the prompts after the first one."""
    return () if isinstance(texts, str) and not texts else shapes.strings(texts, "followups")


def _levels(dimensions: Any) -> Mapping[str, Any]:
    """Check the dimensions, and freeze a copy."""
    if not isinstance(dimensions, Mapping):
        raise ValidationError("A scenario's dimensions are a dict such as {'City': 'Rome'}.", field="dimensions")
    return MappingProxyType(dict(dimensions)) if dimensions else _NO_DIMENSIONS


def _earlier(messages: Any) -> tuple[Message, ...]:
    """Check the turns before the prompt: a question, its answer, and so on."""
    if messages is None or isinstance(messages, str | Mapping) or not isinstance(messages, Iterable):
        if not messages:
            return ()
        raise ValidationError(_TURNS, field="messages")
    turns = []
    for place, message in enumerate(messages):
        turn = Message(**message) if isinstance(message, Mapping) and message.keys() == _TURN else message
        role = ("user", "assistant")[place % 2]
        if not isinstance(turn, Message) or turn.role != role:
            raise ValidationError(f"Message {place + 1} is not from the {role}. {_TURNS}", field="messages")
        if not isinstance(turn.content, str) or not turn.content.strip():
            raise ValidationError(f"Message {place + 1} has no text.", field="messages")
        turns.append(turn)
    if len(turns) % 2:
        raise ValidationError(f"The last message has no answer: put it into the prompt. {_TURNS}", field="messages")
    return tuple(turns)


_CHECKED: tuple[tuple[str, Any, Callable[[Any], Any]], ...] = (
    ("dimensions", _NO_DIMENSIONS, _levels),
    ("followups", _NOTHING, _later),
    ("messages", _NOTHING, _earlier),
)
_TURN = {"role", "content"}
_TURNS = (
    "messages are questions and answers in turn, [{'role': 'user', 'content': '...'}, "
    "{'role': 'assistant', 'content': '...'}]; a system prompt goes into system=."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """Request parameters; ``None`` leaves one to the provider. ``strict`` raises for parameters the model rejects.

    ``schema`` is a JSON schema that the answer must match. ``service_tier`` is ``"standard"`` or a tier for which the
    model's price has a variant. ``extra_body`` is merged into the request unchanged.
    """

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    reasoning_effort: str | None = None
    schema: Mapping[str, Any] | None = None
    service_tier: str | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    strict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Everything a wire needs to build the request for one turn."""

    model: Model
    messages: tuple[Message, ...]
    system: str | None = None
    params: Params = Params()
    marks: tuple[int, ...] = ()
    """Lengths of prefixes shared with other calls, in characters of system prompt plus messages, shortest first: for
    providers that cache only marked prefixes."""

    def answered(self, text: str, next_prompt: str) -> Call:
        """The call for the next turn: the conversation so far plus one more prompt."""
        grown = (*self.messages, Message("assistant", text), Message("user", next_prompt))
        return replace(self, messages=grown)
