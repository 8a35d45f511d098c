"""The sentences of simulated answers. ``{topic}`` is a word or two of the prompt."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from random import Random

OPENINGS = (
    "The short answer about {topic} is that it depends on what you want to achieve.",
    "There are several ways to look at {topic}.",
    "Most people underestimate how much {topic} matters here.",
    "I would start with {topic}, because everything else follows from it.",
    "Thinking about {topic}, the evidence is more mixed than it seems.",
    "Let us take {topic} one step at a time.",
    "In practice, {topic} comes down to a few simple choices.",
    "A good first step is to say clearly what {topic} means.",
)
SENTENCES = (
    "The costs of {topic} are easy to see, while the benefits take longer to show.",
    "Small changes to {topic} often do more than one large reform.",
    "Experience elsewhere suggests that {topic} works best when people are asked early.",
    "It helps to compare {topic} with what would happen without it.",
    "One caveat is that {topic} affects some groups far more than others.",
    "Measured over several years, {topic} makes a modest but steady difference.",
    "A careful reader would ask who decides about {topic}, and how.",
    "There is also a question of fairness, which {topic} raises again and again.",
    "Numbers on {topic} should be read with their margin of error.",
    "If time is short, I would leave {topic} as it is and come back to it later.",
    "The strongest argument concerns {topic} itself rather than its side effects.",
    "Two studies of {topic} disagree, mostly because they ask different questions.",
    "For most households, {topic} is a matter of habit more than of money.",
    "It would be wise to test {topic} on a small scale first.",
    "What matters in the end is whether {topic} is still wanted in ten years.",
    "Nothing about {topic} is settled, and a reasonable person may see it differently.",
)
CLOSINGS = (
    "On balance I would go ahead, but slowly.",
    "That is my view, though I hold it loosely.",
    "If I had to choose today, I would choose the simpler option.",
    "More data would change my mind.",
    "In short: begin small, measure, and adjust.",
)
QUESTIONS = (
    "How would you decide about {topic} if money were no object?",
    "What would change your mind about {topic}?",
    "Who should pay for {topic}, and why?",
    "How has {topic} affected your everyday life in the past year?",
    "A neighbour complains about {topic}. What do you answer?",
    "What is the fairest way to settle a dispute over {topic}?",
    "Would you recommend {topic} to a friend with less experience?",
    "Imagine {topic} twenty years from now. What has gone well?",
    "Which part of {topic} is hardest to explain to a child?",
    "When is it reasonable to do without {topic} altogether?",
)
REFUSAL = "I'm sorry, but I can't help with that request."

_COMMON_WORDS = """
about after again answer also because been before being below between cannot could does doing down each exactly every
five four from give given have having here into just know like make many more most much must name none only other over
please question questions same scenario scenarios second sentence short should shall some steps such than that their
hello them then there these they think this three through under until very version want well were what when where which
while whom whose will with word words would write year your yours explain describe tell compare suggest rewrite
show fully first both feels costs
"""
_STOP_WORDS = frozenset(_COMMON_WORDS.split())
_TELLING = re.compile(r"[^\W\d_][\w'’-]{3,}")
_LOOKED_AT = 4_000  # characters at the end of a prompt
_MOST_TOPICS = 8


def topics(text: str) -> list[str]:
    """Content words of a prompt for an answer to echo, in order, adjacent ones in pairs. Never empty."""
    text = text[-_LOOKED_AT:]
    words: list[str] = []
    end = -1
    for word in _TELLING.finditer(text):
        if word[0].lower() in _STOP_WORDS:
            continue
        if words and word.start() == end + 1 and text[end] == " " and " " not in words[-1]:
            words[-1] += f" {_plain(word[0])}"
        else:
            words.append(_plain(word[0]))
        end = word.end()
    unique = list(dict.fromkeys(words))
    paired = [each for each in unique if " " in each]
    return (paired or unique)[:_MOST_TOPICS] or ["the question"]


def sentence(templates: Sequence[str], about: Sequence[str], rng: Random) -> str:
    """One sentence about one of the topics."""
    return rng.choice(templates).format(topic=f"“{rng.choice(about)}”")


def sentences(about: Sequence[str], rng: Random) -> Iterator[str]:
    """Endless sentences; none repeats before all have been used."""
    while True:
        for template in rng.sample(SENTENCES, len(SENTENCES)):
            yield sentence((template,), about, rng)


def _plain(word: str) -> str:
    """A word without a possessive ending, and in lower case unless it is mixed case."""
    word = word.removesuffix("'s").removesuffix("’s").rstrip("'’-")
    return word.lower() if word[1:].islower() else word
