"""The gate: it makes callers wait so that every provider's limits and a run's budget hold.

The limits hold for all processes that use the same directory. ``budget`` is a run's money, ``lane`` the waiting line of
a provider, ``queue`` whose turn it is, ``waits`` what for, ``files`` what processes share, ``admission`` what a request
holds. The arithmetic is in :mod:`llmkit.limits`.
"""

from llmkit.gate.admission import Admission
from llmkit.gate.budget import Budget, Reservation
from llmkit.gate.gate import BUDGET, Gate
from llmkit.gate.waits import SLOT, Wait

__all__ = ["BUDGET", "SLOT", "Admission", "Budget", "Gate", "Reservation", "Wait"]
