"""Take the classifier apart line by line, and demand that the golden corpus notices.

Run as a script to see the figures: ``python tests/providers/mutate_classifier.py``. Three demands:

- every rule is needed: without it some case fails;
- every condition of a rule (a status, a sign, a phrase, a header) is needed: without it some case fails;
- every failure of the corpus rests on a rule: there is one without which that case fails. (UNKNOWN is what no rule
  fits, so those cases rest on none.)
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from wire_corpus import Case, cases

from llmkit.errors import Code
from llmkit.providers.wires import failure_rules
from llmkit.providers.wires.failure_rules import Rule

CONDITIONS = ("statuses", "signs", "phrases", "headers")


@dataclass(frozen=True)
class Mutation:
    """The table with one line, or one condition of one line, taken away."""

    description: str
    table: tuple[Rule, ...]
    whole_rule: bool


def mutations() -> Iterator[Mutation]:
    """All tables that lack one rule or one condition."""
    table = failure_rules.RULES
    for at, rule in enumerate(table):
        label = f"rule {at} ({rule.code}, {': '.join(rule.meaning)})"
        yield Mutation(label, table[:at] + table[at + 1 :], whole_rule=True)
        if sum(len(_parts(rule, kind)) for kind in CONDITIONS) == 1:
            continue  # the rule without its only condition is the rule removed
        for kind in CONDITIONS:
            for value in _parts(rule, kind):
                rest = "|".join(other for other in _parts(rule, kind) if other != value)
                # An empty condition would ask nothing and so match all; one that matches nothing asks for it.
                mutant = replace(rule, **{kind: rest or _never(rule, kind)})
                yield Mutation(f"{kind} {value!r} of {label}", (*table[:at], mutant, *table[at + 1 :]), False)


def _parts(rule: Rule, kind: str) -> list[str]:
    return getattr(rule, kind).split("|") if getattr(rule, kind) else []


def _never(rule: Rule, kind: str) -> str:
    other = {"signs": rule.phrases, "phrases": rule.signs}.get(kind)
    return "" if other else "never told"


@contextmanager
def in_force(table: tuple[Rule, ...]) -> Iterator[None]:
    """Classify by another table for a while."""
    kept = failure_rules.RULES
    failure_rules.RULES = table
    try:
        yield
    finally:
        failure_rules.RULES = kept


def survey(failures: list[Case]) -> tuple[int, list[str], set[str]]:
    """How many mutations there are, which of them no case notices, and which cases no removed rule breaks."""
    unnoticed: list[str] = []
    untouched = {case.name for case in failures if case.expect["code"] != Code.UNKNOWN}
    total = 0
    for mutation in mutations():
        total += 1
        with in_force(mutation.table):
            broken = {case.name for case in failures if case.differences()}
        if not broken:
            unnoticed.append(mutation.description)
        if mutation.whole_rule:
            untouched -= broken
    return total, unnoticed, untouched


if __name__ == "__main__":
    failures = [case for case in cases() if case.is_failure]
    total, unnoticed, untouched = survey(failures)
    print(f"{len(failures)} failure cases, {len(failure_rules.RULES)} rules, {total} mutations")
    print(f"mutations that no case notices: {len(unnoticed)}", *unnoticed, sep="\n  ")
    print(f"cases that stand without any rule: {len(untouched)}", *sorted(untouched), sep="\n  ")
    sys.exit(bool(unnoticed or untouched))
