"""What comes out of a run: DataFrames, cost tables, charts."""

from llmkit.analysis.archived_runs import Dataset, dataset
from llmkit.analysis.coder_agreement import Agreement, agreement
from llmkit.analysis.comparison import Comparison, compare, concat
from llmkit.analysis.power import Design
from llmkit.analysis.replication import Replication
from llmkit.analysis.run import Run
from llmkit.analysis.run_words import effective_status
from llmkit.analysis.stopping import HalfWidth, half_width

__all__ = [
    "Agreement",
    "Comparison",
    "Dataset",
    "Design",
    "HalfWidth",
    "Replication",
    "Run",
    "agreement",
    "compare",
    "concat",
    "dataset",
    "effective_status",
    "half_width",
]
