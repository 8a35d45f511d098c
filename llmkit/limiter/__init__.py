"""The gate: it makes callers wait so that every provider's limits and a run's budget hold.

The limits hold for all processes that use the same directory. ``gate`` is what callers see, ``provider_queue`` who
waits for a provider (``waiters``: whose turn it is, ``waits``: what for), ``pace_file`` what processes share,
``admission`` what a request holds, ``budget`` a run's money, ``ledger`` and ``shared_money`` what runs share of it,
``portions`` what machines share of limits and budgets. The arithmetic is pure: ``pace`` (with ``minute`` and
``allowance``), ``slots``, ``adaptive``.
"""

from llmkit.limiter.admission import Admission
from llmkit.limiter.budget import Budget, Reservation
from llmkit.limiter.gate import BUDGET, Gate
from llmkit.limiter.ledger import Account, Ledger
from llmkit.limiter.portions import Claim, Claims, Portions, Stake, Use, portion
from llmkit.limiter.purse import Purse
from llmkit.limiter.shared_money import SharedMoney
from llmkit.limiter.waits import SLOT, Wait

__all__ = [
    "BUDGET",
    "SLOT",
    "Account",
    "Admission",
    "Budget",
    "Claim",
    "Claims",
    "Gate",
    "Ledger",
    "Portions",
    "Purse",
    "Reservation",
    "SharedMoney",
    "Stake",
    "Use",
    "Wait",
    "portion",
]
