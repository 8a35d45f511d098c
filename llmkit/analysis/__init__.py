"""What comes out of a run: DataFrames, cost tables, charts."""

from llmkit.analysis.run import Run, effective_status

__all__ = ["Run", "effective_status"]
