"""What all processes of a catalog have spent and set aside under each shared budget: one small locked file.

The file is a cache of what the journal tells, so losing it loses nothing: whoever starts a run or looks at the budgets
counts anew what ended runs have spent (``refresh``), and runs that go on keep their own entries.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

import orjson
import portalocker

from llmkit.limiter.portions import ZERO, Claim
from llmkit.records import SharedBudget


@dataclass(slots=True)
class Account:
    """The money of one budget: what runs without an entry have spent, and by run what it has spent and set aside."""

    total: Decimal
    before: Decimal = ZERO
    runs: dict[str, tuple[Decimal, Decimal]] = field(default_factory=dict)
    is_alerted: bool = False
    claim: Claim | None = None
    """That of the run which looks, where several machines share the budget. It is not in the file."""

    @property
    def spent(self) -> Decimal:
        """What the requests that are over have cost, those of unknown cost at their worst case."""
        here = sum((spent for spent, _ in self.runs.values()), self.before)
        return here if self.claim is None else max(here, self.claim.total_spent)

    @property
    def reserved(self) -> Decimal:
        """The worst case of the requests under way."""
        return sum((reserved for _, reserved in self.runs.values()), ZERO)

    @property
    def left(self) -> Decimal:
        """What a request may still cost once everything under way is over, at best."""
        return self.total - self.spent

    @property
    def free(self) -> Decimal:
        """What a request may cost now."""
        here = self.left - self.reserved
        return here if self.claim is None else min(here, self.claim.free)

    def change(self, run_id: str, *, spent: Decimal = ZERO, reserved: Decimal = ZERO) -> None:
        """Add to what a run has spent and set aside."""
        before = self.runs.get(run_id, (ZERO, ZERO))
        self.runs[run_id] = before[0] + spent, before[1] + reserved

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """The account that ``to_row`` wrote."""
        runs = {run_id: (Decimal(spent), Decimal(reserved)) for run_id, (spent, reserved) in row["runs"].items()}
        return cls(Decimal(row["total"]), Decimal(row["before"]), runs, row["is_alerted"])

    def to_row(self) -> dict[str, Any]:
        """JSON-ready, amounts as text."""
        runs = {run_id: list(map(str, amounts)) for run_id, amounts in self.runs.items()}
        return {"total": str(self.total), "before": str(self.before), "runs": runs, "is_alerted": self.is_alerted}


class Ledger:
    """The accounts of all shared budgets, by their keys. May be used from any thread."""

    def __init__(self, path: Path, is_live: Callable[[str], bool]) -> None:
        """``is_live`` tells whether some process runs a run now."""
        self._path = path
        self._is_live = is_live

    @contextlib.contextmanager
    def open(self) -> Iterator[dict[str, Account]]:
        """The accounts, to be changed: written when the block ends well. Others wait meanwhile."""
        # opened anew each time: a lock belongs to what was opened, and forked children share that
        with open(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0) as file:
            portalocker.lock(file, portalocker.LockFlags.EXCLUSIVE)
            before = file.readline()
            accounts = _read(before)
            yield accounts
            after = orjson.dumps({key: account.to_row() for key, account in accounts.items()}) + b"\n"
            if after != before:
                file.seek(0)
                file.write(after)  # in one call: a process that is killed leaves either the old line or the new one
                file.truncate()

    def bury(self, account: Account) -> None:
        """What runs have set aside whose processes died: it may have been billed."""
        for run_id, (_, reserved) in tuple(account.runs.items()):
            if reserved and not self._is_live(run_id):
                account.change(run_id, spent=reserved, reserved=-reserved)

    def ended(self, run_ids: Iterable[str] = ()) -> set[str]:
        """The runs that have an entry and that no process runs any more, and ``run_ids``: ask before the journal is
        read, so that nothing is spent by them after.
        """
        with self.open() as accounts:
            entries = {run_id for account in accounts.values() for run_id in account.runs}
        return {run_id for run_id in entries if not self._is_live(run_id)}.union(run_ids)

    def refresh(
        self,
        budgets: Iterable[SharedBudget],
        spent: Callable[[SharedBudget], Mapping[str, Decimal]],
        ended: set[str],
        run_id: str | None = None,
    ) -> dict[str, Account]:
        """Count anew, by what each run has ``spent`` under a budget as the journal has it. ``ended`` runs lose their
        entries, and ``run_id``, which begins, gets one. Returns the accounts.
        """
        with self.open() as accounts:
            known = dict(accounts)
            accounts.clear()
            for budget in budgets:
                stored, old = dict(spent(budget)), known.get(budget.key, Account(budget.amount))
                kept = {name: entry for name, entry in old.runs.items() if name not in ended}
                if run_id is not None:
                    kept[run_id] = kept.get(run_id, (stored.get(run_id, ZERO), ZERO))
                before = sum((amount for name, amount in stored.items() if name not in kept), ZERO)
                alerted = old.is_alerted and old.total == budget.amount
                accounts[budget.key] = Account(budget.amount, before, kept, alerted)
            return dict(accounts)


def _read(line: bytes) -> dict[str, Account]:
    try:
        return {key: Account.from_row(row) for key, row in orjson.loads(line or b"{}").items()}
    except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError):  # whatever a crash left behind
        return {}
