"""What comes out of a run: DataFrames, cost tables, charts."""

from llmkit.analysis import capsule, replication
from llmkit.analysis.archived_runs import Dataset, dataset
from llmkit.analysis.bill_exports import read_bill
from llmkit.analysis.coder_agreement import Agreement, agreement
from llmkit.analysis.comparison import Comparison, compare, concat
from llmkit.analysis.costs import cost_table
from llmkit.analysis.exports import to_parquet
from llmkit.analysis.kit_tables import RunList, budget_table, calibration, mode_table
from llmkit.analysis.power import Design, design, pilot_spread
from llmkit.analysis.reconciliation import reconcile
from llmkit.analysis.replication import Replication
from llmkit.analysis.run import Run, Table
from llmkit.analysis.run_words import effective_status
from llmkit.analysis.stopping import HalfWidth, half_width

__all__ = [
    "Agreement", "Comparison", "Dataset", "Design", "HalfWidth", "Replication", "Run", "RunList", "Table", "agreement",
    "budget_table", "calibration", "capsule", "compare", "concat", "cost_table", "dataset", "design",
    "effective_status", "half_width", "mode_table", "pilot_spread", "read_bill", "reconcile", "replication",
    "to_parquet",
]  # fmt: skip
