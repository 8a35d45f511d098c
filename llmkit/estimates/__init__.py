"""What a run will probably cost: from what earlier answers were like, with an 80 % interval of the total.

An answer's length is not known before it is asked for, so it is taken from history: from answers of the same model to
the same scenario template; if those are fewer than :data:`MIN_OBSERVATIONS`, from all of that model; then of its
provider; then of all; and with no history at all from documented constants. The interval is a studentised bootstrap
of the total: it holds both the luck of the new answers and the little that a short history tells. It treats answers
as independent of each other.

Simulation is done in floats; what leaves here as money is Decimal, rounded to ten decimals.
"""

from llmkit.estimates.history import Basis, History, Observation
from llmkit.estimates.run import ModelEstimate, TotalEstimate, Workload, combine, estimate_model
from llmkit.estimates.table import Estimate

__all__ = [
    "Basis",
    "Estimate",
    "History",
    "ModelEstimate",
    "Observation",
    "TotalEstimate",
    "Workload",
    "combine",
    "estimate_model",
]
