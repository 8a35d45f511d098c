"""Budgets shared by the team: how much each run may spend of them is agreed in the team's database.

While that does not answer, a run goes no further than was agreed: others may be granted the rest, or may have spent it.
If no process has a run any more, its whole ceiling counts as spent. If it died in a process that shared this local
database, its journal is here and shows the actual amount.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from llmkit.limiter import Portions, Stake
from llmkit.team.relay import Relay

LINGER = 3.0
"""Seconds for which an unused portion is kept."""

Key = tuple[str, str]
"""A budget and a run."""


@dataclass(slots=True)
class Treasury:
    """The budgets' portions of one process. ``gate`` names its local database; ``is_here`` and ``is_elsewhere`` tell
    whether a run is live in a process with this or with another database.
    """

    portions: Portions
    gate: str
    is_here: Callable[[str], bool]
    is_elsewhere: Callable[[str], bool]
    is_short: bool = False
    """Whether any run may soon have to wait until others return part of theirs."""
    _dead_since: dict[str, float] = field(default_factory=dict)

    def agree(self, relay: Relay, running: Collection[str], now: float) -> Mapping[Key, Decimal]:
        """Inside the roll: lower ceilings at once, and return those that hold as soon as the others know of them."""
        stakes = {
            (budget, run): self._settled(relay, (budget, run), gate, stake)
            for budget, run, gate, stake in relay.stakes([budget for budget, _ in self.portions.claims], self.gate)
        }
        with self.portions.lock:
            for (budget, run), claim in tuple(self.portions.claims.items()):
                wants = run in running and claim.wanted_at > time.monotonic() - LINGER
                others = {each: stake for (of, each), stake in stakes.items() if of == budget and each != run}
                stakes[budget, run], claim.elsewhere = claim.divided(run, others, now, wants=wants)
                claim.ceiling = min(claim.ceiling, stakes[budget, run].ceiling)
            own = {key: stakes[key] for key in self.portions.claims}
            for key in [key for key in own if key[1] not in running]:
                del self.portions.claims[key]
        self.is_short = any(stake.wants > stake.ceiling - stake.used for stake in stakes.values())
        for key, stake in own.items():
            relay.stake(*key, self.gate, stake)
        return {key: stake.ceiling for key, stake in own.items()}

    def grant(self, ceilings: Mapping[Key, Decimal]) -> None:
        """Apply the agreed ceilings."""
        with self.portions.lock:
            for key in ceilings.keys() & self.portions.claims.keys():
                self.portions.claims[key].ceiling = ceilings[key]

    def _settled(self, relay: Relay, key: Key, gate: str, stake: Stake) -> Stake:
        """The stake as it counts now; for a run that died here, by its journal once that has been read since."""
        budget, run = key
        if gate != self.gate:
            return stake._replace(is_live=self.is_elsewhere(run))
        if self.is_here(run) or stake.ceiling == stake.spent:
            self._dead_since.pop(run, None)
            return stake
        since = self._dead_since.setdefault(run, time.monotonic())
        read_since = [
            each for (of, _), each in self.portions.claims.items() if of == budget and each.counted_at > since
        ]
        if not read_since:
            return stake._replace(is_live=False)
        amount = read_since[0].counted.get(run, Decimal(0))
        settled = Stake(amount, amount, amount, is_live=False)
        relay.stake(*key, gate, settled)
        return settled
