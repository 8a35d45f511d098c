"""The gate: it makes callers wait so that every provider's limits and a run's budget hold.

The limits hold for all processes that use the same directory. ``budget`` is a run's money, ``lane`` the waiting line of
a provider, ``queue`` whose turn it is, ``waits`` what for, ``files`` what processes share, ``admission`` what a request
holds. The arithmetic is in :mod:`llmkit.limiter`.
"""

from llmkit.limiter.admission import Admission
from llmkit.limiter.budget import Budget, Reservation
from llmkit.limiter.gate import BUDGET, Gate
from llmkit.limiter.waits import SLOT, Wait

__all__ = ["BUDGET", "SLOT", "Admission", "Budget", "Gate", "Reservation", "Wait"]
