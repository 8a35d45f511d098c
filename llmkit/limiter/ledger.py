"""What all processes of a catalog have spent and reserved under each shared budget: one small locked file.

The file is a cache of the journal, so losing it loses nothing: starting a run or looking at the budgets recomputes what
ended runs have spent (``refresh``), while running ones keep their own entries.
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
    """The money of one budget: what runs without an entry have spent, and what each of the others has spent and
    reserved."""

    total: Decimal
    before: Decimal = ZERO
    runs: dict[str, tuple[Decimal, Decimal]] = field(default_factory=dict)
    is_alerted: bool = False
    claim: Claim | None = None
    """The current run's claim, if several machines share the budget. It is not in the file."""

    @property
    def spent(self) -> Decimal:
        """The cost of finished requests, those of unknown cost at their worst case."""
        here = sum((spent for spent, _ in self.runs.values()), self.before)
        return here if self.claim is None else max(here, self.claim.elsewhere + self.claim.spent)

    @property
    def reserved(self) -> Decimal:
        """The worst case of the requests in flight."""
        return sum((reserved for _, reserved in self.runs.values()), ZERO)

    @property
    def left(self) -> Decimal:
        """The most that a request may still cost, if everything reserved is released."""
        return self.total - self.spent

    @property
    def free(self) -> Decimal:
        """What a request may cost now."""
        here = self.left - self.reserved
        return here if self.claim is None else min(here, self.claim.free)

    def has_reached(self, share: Decimal) -> bool:
        """Whether that share of it is spent."""
        return self.spent > ZERO and self.spent >= share * self.total

    def change(self, run_id: str, *, spent: Decimal = ZERO, reserved: Decimal = ZERO) -> None:
        """Add to what a run has spent and reserved."""
        before = self.runs.get(run_id, (ZERO, ZERO))
        self.runs[run_id] = before[0] + spent, before[1] + reserved

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read an account written by ``to_row``."""
        runs = {run_id: (Decimal(spent), Decimal(reserved)) for run_id, (spent, reserved) in row["runs"].items()}
        return cls(Decimal(row["total"]), Decimal(row["before"]), runs, row["is_alerted"])

    def to_row(self) -> dict[str, Any]:
        """The account JSON-ready, with amounts as text."""
        runs = {run_id: list(map(str, amounts)) for run_id, amounts in self.runs.items()}
        return {"total": str(self.total), "before": str(self.before), "runs": runs, "is_alerted": self.is_alerted}


class Ledger:
    """The accounts of all shared budgets, by key. May be used from any thread."""

    def __init__(self, path: Path, is_live: Callable[[str], bool]) -> None:
        """``is_live`` tells whether a run is currently running in some process."""
        self._path = path
        self._is_live = is_live

    @contextlib.contextmanager
    def open(self) -> Iterator[dict[str, Account]]:
        """The accounts, for changes: written when the block ends without an error. Other processes wait for it."""
        # opened each time: a lock belongs to the open file, which forked children would share
        with open(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0) as file:
            portalocker.lock(file, portalocker.LockFlags.EXCLUSIVE)
            before = file.readline()
            accounts = _read(before)
            yield accounts
            after = orjson.dumps({key: account.to_row() for key, account in accounts.items()}) + b"\n"
            if after != before:
                file.seek(0)
                file.write(after)  # in one call: a killed process leaves either the old line or the new one
                file.truncate()

    def bury(self, account: Account) -> None:
        """Count reservations of runs whose processes died as spent, since they may have been billed."""
        for run_id, (_, reserved) in tuple(account.runs.items()):
            if reserved and not self._is_live(run_id):
                account.change(run_id, spent=reserved, reserved=-reserved)

    def ended(self, run_ids: Iterable[str] = ()) -> set[str]:
        """The runs with an entry that are no longer running, and ``run_ids``. Call it before reading the journal, so
        that they can spend nothing afterwards.
        """
        with self.open() as accounts:
            entries = {run_id for account in accounts.values() for run_id in account.runs}
        return {run_id for run_id in entries if not self._is_live(run_id)}.union(run_ids)

    def refresh(
        self,
        budgets: Iterable[SharedBudget],
        spent: Mapping[str, Mapping[str, Decimal]],
        ended: set[str],
        run_id: str | None = None,
    ) -> dict[str, Account]:
        """Recompute the accounts from what has been ``spent`` according to the journal, by budget key and run, and
        return them. ``ended`` runs lose their entries, and ``run_id``, which is starting, gets one.
        """
        with self.open() as accounts:
            known = dict(accounts)
            accounts.clear()
            for budget in budgets:
                stored, old = spent[budget.key], known.get(budget.key, Account(budget.amount))
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
