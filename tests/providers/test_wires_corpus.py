"""Every recorded answer of a provider becomes what the golden corpus says."""

from __future__ import annotations

import pytest
from mutate_classifier import survey
from wire_corpus import Case, cases

from llmkit.providers.wires import WIRES

CASES = list(cases())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_recorded_response_becomes_what_it_means(case: Case) -> None:
    """Code, retryability, wait, scope, billing and usage are those that the case states."""
    assert case.differences() == {}


def test_corpus_is_as_large_as_promised() -> None:
    """At least 120 failures, from every wire."""
    failures = [case for case in CASES if case.is_failure]
    assert len(failures) >= 120
    assert {case.wire for case in failures} == set(WIRES)


@pytest.mark.soak
def test_every_line_of_the_classifier_is_needed_and_every_case_rests_on_one() -> None:
    """No rule or condition can go without a case failing, and no failure stands without its rule."""
    _, unnoticed, untouched = survey([case for case in CASES if case.is_failure])
    assert unnoticed == []
    assert untouched == set()
