"""Deterministic answers with plausible token counts."""

from __future__ import annotations

import json
import math
import re
from random import Random

from llmkit.simulator.questions import CHARACTERS_PER_TOKEN, Answer, Question, fraction, number
from llmkit.simulator.reasoning import reasoning_factor
from llmkit.simulator.schema_answers import schema_in, structured
from llmkit.simulator.vocabulary import CLOSINGS, OPENINGS, REFUSAL, sentence, sentences, topics

_MESSAGE_OVERHEAD = 3  # tokens around each message
_MEDIAN_TEXT, _SPREAD_TEXT = 70, 0.75  # log-normal: most answers are short, a few are long
_MEDIAN_REASONING, _SPREAD_REASONING = 120, 0.9
_LONGEST = 4_000
_SCALE = re.compile(r"\bfrom\s+(\d{1,3})\b[^.?!]{0,40}?\bto\s+(\d{1,3})\b", re.IGNORECASE)
_YES_NO = re.compile(r"\byes or no\b|\byes/no\b", re.IGNORECASE)


class Answers:
    """Makes answers, and counts how often each question was asked.

    The text depends on the seed, the conversation, the model, the request's own seed and the sample. The sample comes
    from ``x-llmkit-sample``; without it, it is the number of earlier answers to the same question, except at
    temperature 0, where the answer is always the same.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._asked_before: dict[str, int] = {}

    def answer(self, question: Question, fault: str | None = None) -> Answer:
        """The answer to a request, spoiled by a fault that concerns its text."""
        digest = question.digest()
        rng = Random(number(self._seed, digest, self._sample(question, digest)))
        reasoning = _reasoning_tokens(question, rng)
        limit = None if question.max_tokens is None else max(0, question.max_tokens - reasoning)
        is_refused = fault == "refusal"
        text = "" if fault == "empty" else REFUSAL if is_refused else self._text(question, fault, rng)
        text, stopped = _cut_at_stop(text, question.stop)
        if is_cut := limit is not None and not stopped and tokens(text) > limit:
            text = text[: limit * CHARACTERS_PER_TOKEN].rstrip()
        return Answer(
            text="" if is_refused else text,
            refusal=text if is_refused else None,
            input_tokens=input_tokens(question),
            text_tokens=tokens(text),
            reasoning_tokens=reasoning,
            finish="length" if is_cut else "stop",
        )

    def _sample(self, question: Question, digest: str) -> str:
        if question.sample is not None:
            return question.sample
        before = self._asked_before.get(digest, 0)
        self._asked_before[digest] = before + 1
        return "0" if question.temperature == 0 else str(before)

    def _text(self, question: Question, fault: str | None, rng: Random) -> str:
        if question.schema is None:
            return _prose(question, rng)
        schema = question.schema or schema_in(question.characters) or _ANY_JSON
        text = json.dumps(structured(schema, question.prompt, rng, fault), ensure_ascii=False)
        if fault == "malformed_json":
            return f"Here is the JSON you asked for: {text[: max(1, len(text) // 2)]}"
        return text


_ANY_JSON = {
    "type": "object",
    "properties": {"answer": {"type": "string"}, "confidence": {"type": "number", "minimum": 0, "maximum": 1}},
    "required": ["answer", "confidence"],
}


def tokens(text: str) -> int:
    """The token count of a text, from its length."""
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)


def input_tokens(question: Question) -> int:
    """The token count of a request: its texts, and a few around each message."""
    texts = (question.system, *(text for _, text in question.messages))
    return sum(tokens(text) + _MESSAGE_OVERHEAD for text in texts if text) or 1


def _heavy_tailed(median: float, spread: float, rng: Random) -> int:
    return max(4, min(_LONGEST, round(median * math.exp(rng.gauss(0, spread)))))


def _reasoning_tokens(question: Question, rng: Random) -> int:
    """Tokens of reasoning; like a model that knows its token limit, it leaves room for some text."""
    factor = reasoning_factor(question)
    if factor == 0:
        return 0
    wanted = _heavy_tailed(_MEDIAN_REASONING * factor, _SPREAD_REASONING, rng)
    return wanted if question.max_tokens is None else min(wanted, question.max_tokens * 6 // 10)


def _prose(question: Question, rng: Random) -> str:
    """Sentences about the prompt; their number is heavy-tailed, and some models are more talkative than others."""
    about = topics(question.prompt)
    talkative = 0.6 + fraction("talkative", question.model)
    wanted = _heavy_tailed(_MEDIAN_TEXT * talkative, _SPREAD_TEXT, rng) * CHARACTERS_PER_TOKEN
    parts = [*_verdict(question.prompt, rng), sentence(OPENINGS, about, rng)]
    more = sentences(about, rng)
    while sum(map(len, parts)) < wanted:
        parts.append(next(more))
    if len(parts) > 2:
        parts.append(rng.choice(CLOSINGS))
    return " ".join(parts)


def _verdict(prompt: str, rng: Random) -> list[str]:
    """The number, or the yes or no, that a prompt asks for."""
    if scale := _SCALE.search(prompt):
        low, high = sorted((int(scale[1]), int(scale[2])))
        return [f"{rng.randint(low, high)}."]
    return [rng.choice(("Yes.", "No."))] if _YES_NO.search(prompt) else []


def _cut_at_stop(text: str, stops: tuple[str, ...]) -> tuple[str, bool]:
    ends = [at for stop in stops if stop and (at := text.find(stop)) >= 0]
    return (text[: min(ends)], True) if ends else (text, False)
