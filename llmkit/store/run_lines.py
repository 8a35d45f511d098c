"""Lines of runs as tables that DuckDB can query, without decoding their JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import pyarrow as pa

from llmkit.store.lines import for_duckdb
from llmkit.store.tables import SOME

_POOL = pa.system_memory_pool()  # Arrow's own keeps what is freed


@dataclass(slots=True)
class RunLines:
    """Run lines of one type, as the columns of a table."""

    run_id: list[str] = field(default_factory=list)
    event_id: list[str] = field(default_factory=list)
    line: list[bytes] = field(default_factory=list)

    def add(self, run_id: str, event_id: str, line: bytes) -> None:
        """Append a line."""
        self.run_id.append(run_id)
        self.event_id.append(event_id)
        self.line.append(for_duckdb(line))

    def __add__(self, others: RunLines) -> RunLines:
        return RunLines(*(getattr(self, name) + getattr(others, name) for name in _COLUMNS))

    def table(self) -> pa.Table:
        """The lines, as text."""
        return pa.table({name: _column(getattr(self, name)) for name in _COLUMNS})


_COLUMNS = [f.name for f in fields(RunLines)]


def _column(values: Sequence[str | bytes]) -> pa.ChunkedArray:
    firsts = range(0, len(values), SOME)
    chunks = [pa.array(values[first : first + SOME], pa.string(), memory_pool=_POOL) for first in firsts]
    return pa.chunked_array(chunks, pa.string())
