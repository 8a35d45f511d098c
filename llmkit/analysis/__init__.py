"""What comes out of a run: DataFrames, cost tables, charts."""

from llmkit.analysis.archived_runs import Dataset, dataset
from llmkit.analysis.run import Run, effective_status

__all__ = ["Dataset", "Run", "dataset", "effective_status"]
