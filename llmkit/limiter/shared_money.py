"""The budgets that one run shares with others, from the point of view of that run."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from llmkit.limiter.ledger import Account, Ledger
from llmkit.limiter.pace_file import Clock
from llmkit.limiter.portions import CENT, ZERO, Claim, Portions
from llmkit.money.amounts import dollars
from llmkit.records import SharedBudget, month_of


@dataclass(slots=True)
class SharedMoney:
    """``budgets`` may be replaced at any time; ``known`` are their accounts as last counted. ``on_alert`` gets a
    sentence, once over all processes, when the spent share of a budget reaches its ``alert_at``.
    """

    ledger: Ledger
    run_id: str
    project: str | None
    on_alert: Callable[[str], object]
    budgets: Sequence[SharedBudget] = ()
    known: Mapping[str, Account] = field(default_factory=dict)
    portions: Portions | None = None
    """Set if the machines of a team share the budgets, with the ``prefix`` of their keys there."""
    prefix: str = ""
    counted: Mapping[str, Mapping[str, Decimal]] = field(default_factory=dict)
    """What each run had spent according to the journal, by budget, at ``counted_at``."""
    counted_at: float = 0.0
    clock: Clock = time.time

    def keys(self, provider: str, at: datetime | None = None) -> tuple[str, ...]:
        """The budgets that a request to a provider is charged to now, or was at another time."""
        if not self.budgets:
            return ()
        month = month_of(at or datetime.fromtimestamp(self.clock(), UTC))
        return tuple(budget.key for budget in self.budgets if budget.covers(provider, self.project, month))

    @contextlib.contextmanager
    def open(self, keys: Sequence[str], *, glance: bool = False) -> Iterator[dict[str, Account]]:
        """The accounts of these budgets, for changes. With ``glance``, reservations of dead processes become spent."""
        with contextlib.ExitStack() as locks:
            if self.portions is not None:
                locks.enter_context(self.portions.lock)
            accounts = locks.enter_context(self.ledger.open())
            for key in self.known.keys() & keys:
                accounts.setdefault(key, self.known[key])  # the file was lost
            # a budget may have been removed before it is settled
            chosen = {key: accounts.get(key, Account(ZERO)) for key in keys}
            for account in chosen.values() if glance else ():
                self.ledger.bury(account)
            if self.portions is not None:
                self._claim(chosen, self.portions.claims)
            yield chosen
            for account in chosen.values():
                if account.claim is not None:
                    account.claim.spent, account.claim.reserved = account.runs.get(self.run_id, (ZERO, ZERO))
            alerts = [sentence for key, account in chosen.items() if (sentence := self._alert(account, key))]
        for sentence in alerts:
            self.on_alert(sentence)

    def _claim(self, accounts: Mapping[str, Account], claims: dict[tuple[str, str], Claim]) -> None:
        """Attach this run's claim to each account."""
        for key, account in accounts.items():
            claim = account.claim = claims.setdefault((self.prefix + key, self.run_id), Claim())
            claim.total, claim.wanted_at = account.total, time.monotonic()
            claim.spent, claim.reserved = account.runs.get(self.run_id, (ZERO, ZERO))
            claim.counted, claim.counted_at = self.counted.get(key, {}), self.counted_at

    def need(self, keys: Iterable[str], amount: Decimal) -> None:
        """Report that a request waits for ``amount`` of these budgets."""
        if self.portions is not None:
            for key in keys:
                if (claim := self.portions.claims.get((self.prefix + key, self.run_id))) is not None:
                    claim.unit = max(amount, CENT)
            self.portions.need()

    def _alert(self, account: Account, key: str) -> str | None:
        at = next((budget.alert_at for budget in self.budgets if budget.key == key), None)
        if at is None or account.is_alerted or not account.has_reached(at):
            return None
        account.is_alerted = True
        return alert(key, account)


def alert(key: str, account: Account) -> str:
    """The warning that a budget will soon be used up."""
    spent, total = dollars(account.spent), dollars(account.total, exact=True)
    share = f" ({account.spent / account.total:.0%})" if account.total else ""
    return f"Of the budget {key}, {spent} of {total}{share} is spent. kit.budgets() shows what is left."


def refusal(key: str, account: Account, amount: Decimal) -> str:
    """The message that a budget (the run's own if ``key`` is empty) does not cover a request."""
    total, most, spent = (dollars(each, exact=True) for each in (account.total, amount, account.spent))
    name, remedy = ("budget", "Raise the budget") if not key else (f"budget {key}", "Raise it with kit.set_budget")
    return (
        f"The {name} of {total} does not cover this request: it may cost up to {most}, and {spent} is spent already. "
        f"{remedy} or lower max_tokens."
    )
