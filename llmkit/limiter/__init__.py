"""The gate: it makes callers wait so that every provider's limits and a run's budget hold.

Limits are enforced across all processes that use the same directory. ``gate`` is the interface; ``provider_queue``
queues requests per provider (``waiters``: the order, ``waits``: the reasons); ``pace_file`` is the state shared by
processes; ``admission`` is what a request holds; ``budget`` is a run's and its conversations' money,
``ledger`` and ``shared_money`` budgets shared by runs; ``portions`` divides limits and budgets between machines. The
arithmetic is pure: ``pace`` (with ``minute`` and ``allowance``), ``slots``, ``adaptive``, ``time_left``.
"""

from llmkit.limiter.admission import Admission
from llmkit.limiter.budget import Budget, Purse
from llmkit.limiter.gate import BUDGET, Gate
from llmkit.limiter.ledger import Account, Ledger
from llmkit.limiter.portions import Claim, Portions, Stake, Use, portion
from llmkit.limiter.shared_money import SharedMoney
from llmkit.limiter.waits import SLOT, Block

__all__ = [
    "BUDGET",
    "SLOT",
    "Account",
    "Admission",
    "Block",
    "Budget",
    "Claim",
    "Gate",
    "Ledger",
    "Portions",
    "Purse",
    "SharedMoney",
    "Stake",
    "Use",
    "portion",
]
