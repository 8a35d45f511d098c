"""Earlier answers: select those most like the coming ones, and turn them into arrays."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal, Self

import numpy as np

from llmkit.money.cut_answers import Floats, uncut
from llmkit.money.pricing import billed_tokens, input_rates
from llmkit.records import Model, Rates, Usage

Basis = Literal["model × template", "model", "provider", "all", "constant", "reused"]

MIN_OBSERVATIONS = 5
"""A level of history with fewer answers is not used."""
HISTORY_LIMIT = 500
"""The latest answers used from each level, at most."""
CHARS_PER_TOKEN = 4.0
"""Without history: the rule of thumb for English text in OpenAI's help article 4936856 on tokens."""
ANSWER_TOKENS = 400.0
"""Without history: mean length of an answer without its reasoning. An assumption: three or four paragraphs."""
REASONING_TOKENS: Mapping[str, float] = {
    "none": 0,
    "minimal": 100,
    "low": 400,
    "medium": 1200,
    "high": 3500,
    "xhigh": 6000,
    "max": 10000,
}
"""Mean reasoning tokens of an answer by effort. Assumptions; their ratios carry history over to another effort."""

SECONDS, TOKENS_PER_SECOND = 1.0, 60.0
"""Without history: the time to the first token of an answer, and how fast the others follow. Assumptions."""

SPREAD: Mapping[Basis, float] = {"model": 0.3, "provider": 0.5, "all": 0.7, "constant": 1.0}
"""Standard deviation of the log cost when estimating from answers to other prompts or of other models. Assumptions.
It is 0 for the same model and the same template (or no template in both)."""

ALL_PLAIN: Floats = np.eye(1, len(input_rates(Rates())))[0]
"""Shares of input by kind when all of it is plain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One answer of an earlier run, including what was billed for its failed attempts.

    ``input_chars`` counts the bytes of UTF-8 sent: system prompt, conversation so far and prompt. Bytes per token are
    about the same in every script; characters per token are not. ``template`` is the prompt's scenario template, if
    any; ``seconds`` the duration; ``is_cut`` whether ``max_tokens`` ended it; ``turn`` its place in the conversation.
    ``scenario`` and ``run`` identify the groups it belongs to; ``None`` where unknown.
    """

    provider: str
    model: str
    template: str | None = None
    effort: str | None = None
    input_chars: int
    usage: Usage
    seconds: float | None = None
    is_cut: bool = False
    turn: int = 1
    scenario: Hashable = None
    run: Hashable = None


class History:
    """Earlier answers, indexed by similarity. Built once, then read for any number of estimates."""

    def __init__(self, observations: Iterable[Observation] = ()) -> None:
        """``observations`` come oldest first, without simulated answers and answers without usage."""
        self._levels: dict[Hashable, deque[Observation]] = {}
        for each in observations:
            for key in ((each.model, each.template), each.model, ("provider", each.provider), None):
                self._levels.setdefault(key, deque(maxlen=HISTORY_LIMIT)).append(each)

    def nearest(
        self, model: Model, template: str | None, effort: str | None, turns: Collection[int]
    ) -> tuple[Basis, Sequence[Observation], float]:
        """Return the answers of the first level that has enough of them, and how far the coming ones may differ from
        them (see :data:`SPREAD`).

        Within a level, answers at the same reasoning effort are preferred if there are enough, and among those the
        answers to the same ``turns`` of a conversation.
        """
        same_kind: Basis = "model" if template is None else "model × template"
        ladder: tuple[tuple[Basis, Hashable, float], ...] = (
            (same_kind, (model.reference, template), 0.0),
            ("model", model.reference, SPREAD["model"]),
            ("provider", ("provider", model.provider), SPREAD["provider"]),
            ("all", None, SPREAD["all"]),
        )
        for basis, key, spread in ladder:
            level = self._levels.get(key, ())
            same_effort = [each for each in level if each.effort == effort]
            for candidates in (same_effort, level):
                for observations in ([each for each in candidates if each.turn in turns], candidates):
                    if len(observations) >= MIN_OBSERVATIONS:
                        return basis, tuple(observations), spread
        return "constant", (), SPREAD["constant"]


@dataclass(frozen=True, slots=True)
class Sample:
    """Earlier answers as arrays, one entry per answer.

    ``visible`` is the output sent back in a conversation (all but reasoning); ``excess`` the deviation of the input
    from what its length predicts, as a share of the mean input; ``mix`` the shares of input by kind.
    """

    tokens_per_char: float
    output: Floats
    visible: Floats
    excess: Floats
    mix: Floats
    guessed: float = 0.0
    """The share of the output that was never observed because answers were cut."""
    doubt: float = 0.0
    """Standard deviation of the logarithm of the mean that the guess about cut answers adds."""

    @classmethod
    def of(cls, observations: Sequence[Observation], effort: str | None) -> Self:
        """The answers as observed, with reasoning rescaled to ``effort``."""
        chars = np.array([each.input_chars for each in observations], dtype=float)
        kinds = np.array([billed_tokens(each.usage) for each in observations], dtype=float)
        whole, output = kinds[:, :-1].sum(axis=1), kinds[:, -1]
        reasoning = np.minimum([max(each.usage.reasoning_tokens, 0) for each in observations], output)
        visible = output - reasoning
        scaled = [_at_effort(tokens, each.effort, effort) for tokens, each in zip(reasoning, observations, strict=True)]
        has_input = chars.sum() > 0 and whole.sum() > 0
        per_char = whole.sum() / chars.sum() if has_input else 1 / CHARS_PER_TOKEN
        return cls(
            tokens_per_char=per_char,
            output=visible + np.array(scaled),
            visible=visible,
            excess=(whole - per_char * chars) / whole.mean() if has_input else np.zeros(len(observations)),
            mix=kinds[:, :-1].sum(axis=0) / whole.sum() if has_input else ALL_PLAIN,
        )

    @classmethod
    def constant(cls, effort: str | None) -> Self:
        """Sixteen artificial answers around the constants, with the usual spread of answers (log-normal, sigma 1)."""
        shape = np.exp([NormalDist().inv_cdf((rank + 0.5) / 16) for rank in range(16)])
        shape /= shape.mean()
        return cls(
            tokens_per_char=1 / CHARS_PER_TOKEN,
            output=shape * (ANSWER_TOKENS + _reasoning(effort or "none")),
            visible=shape * ANSWER_TOKENS,
            excess=np.zeros(16),
            mix=ALL_PLAIN,
        )

    def uncut(self, observations: Sequence[Observation], most: int | None, effort: str | None) -> Self:
        """Return a copy in which answers cut before ``most`` tokens have their probable full length."""
        cut = np.array(
            [each.is_cut and (most is None or (each.usage.output_tokens or 0) < most) for each in observations]
        )
        if not cut.any():
            return self
        output, guessed, doubt = uncut(self.output, cut, ANSWER_TOKENS + _reasoning(effort or "none"))
        return replace(self, output=output, visible=self.visible + output - self.output, guessed=guessed, doubt=doubt)

    def capped(self, most: int) -> Self:
        """Return a copy with answers cut off at ``most`` tokens."""
        output = np.minimum(self.output, most)
        return replace(self, output=output, visible=np.minimum(self.visible, output))


def _reasoning(effort: str) -> float:
    return REASONING_TOKENS.get(effort, REASONING_TOKENS["medium"])


def _at_effort(tokens: float, old: str | None, new: str | None) -> float:
    """Rescale an answer's reasoning tokens to another effort; unchanged when either effort is unknown."""
    if old is None or new is None or old == new:
        return tokens
    return tokens * _reasoning(new) / _reasoning(old) if tokens and _reasoning(old) else _reasoning(new)
