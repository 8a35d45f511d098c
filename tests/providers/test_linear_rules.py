"""Patterns that read what a server wrote take no longer than in proportion to it, whatever it is."""

from datetime import UTC, datetime
from re import _parser as parser

import pytest

from llmkit.providers.wires import failure_rules, problem, rejected
from llmkit.records import HttpResponse

CONDITIONS = sorted(
    {rule.phrases for rule in failure_rules.RULES} | {rejected._UNSUPPORTED},
)
WHOLE = sorted({each for rule in failure_rules.RULES for each in (rule.signs, rule.statuses, rule.headers)})


def loops(pattern):
    """The unbounded repetitions of a pattern that may be tried again with another length: all but one at its end. Those
    in an atomic group, which is not tried again, are counted by themselves, and the larger number is returned.
    """
    return _loops(parser.parse(pattern), is_last=True)


def _loops(items, is_last):
    here, most = 0, 0
    for place, (kind, about) in enumerate(items):
        at_end = is_last and place == len(items) - 1
        if kind in (parser.MAX_REPEAT, parser.MIN_REPEAT):
            inner = _loops(about[2], is_last=False)
            here += inner + (about[1] == parser.MAXREPEAT and not at_end)
            assert not (inner and about[1] == parser.MAXREPEAT), "a repetition in a repetition"
        elif kind is parser.SUBPATTERN:
            here += _loops(about[3], at_end)
        elif kind is parser.BRANCH:
            here += max(_loops(branch, at_end) for branch in about[1])
        elif kind is parser.ATOMIC_GROUP:
            most = max(most, _loops(about, is_last=False))
    return max(here, most)


@pytest.mark.parametrize("pattern", CONDITIONS)
def test_what_is_searched_for_repeats_nothing(pattern):
    """A search begins at each character of an error body, so that a repetition would multiply its length."""
    assert loops(pattern) == 0


@pytest.mark.parametrize("pattern", WHOLE)
def test_what_must_match_as_a_whole_tries_one_length_at_most(pattern):
    """Two repetitions that may both be tried again take the square of a hostile sign's length."""
    assert loops(pattern) <= 1


def test_the_measure_knows_slow_patterns_from_fast_ones():
    """The pattern that was once too slow counts two, its atomic form one, and one repetition in another is refused."""
    assert (loops(".*perday.*permodel.*"), loops("(?>.*?perday).*permodel.*"), loops(".*perday.*")) == (2, 1, 1)
    assert loops("a?b{2,3}") == 0
    with pytest.raises(AssertionError, match="repetition"):
        loops("(a+)+b")


def test_texts_are_cut_before_patterns_read_them():
    """Whatever is left of a body has at most as many words and characters as are examined."""
    body = {"error": {"message": "retry in 1" * 100_000, "details": [{"reason": "perday" * 50_000}] * 500}}
    found = problem.read_problem(
        HttpResponse(status=429, headers={}, body=b"", received_at=datetime.now(UTC)), body, body["error"]
    )
    assert len(found.message) <= problem._LONGEST_MESSAGE
    assert sum(map(len, found.signs)) <= problem._MOST_WORDS * problem._LONGEST_MESSAGE
    assert all(sign.startswith("perday") for sign in found.signs)
