"""For maintainers: run the example notebooks and keep their outputs, as they are committed.

``python tests/maintenance/run_notebooks.py notebooks/*.ipynb``, after a change to what they show: a table, a chart, a
panel, the reader. No keys or network are used. ``tests/test_notebooks.py`` checks the outputs.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def main(paths: Sequence[str] | None = None) -> int:
    """Run it; returns the exit status."""
    for path in map(Path, sys.argv[1:] if paths is None else paths):
        started = time.monotonic()
        run_notebook(path)
        print(f"{path.name}: {time.monotonic() - started:.1f} s")
    return 0


def run_notebook(path: Path) -> None:
    """Run a notebook in an empty home and save it with its outputs, but without what changes from run to run."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as home:
        client = NotebookClient(
            notebook,
            timeout=300,
            record_timing=False,
            store_widget_state=False,
            coalesce_streams=True,
            resources={"metadata": {"path": home}},
        )
        client.execute(env={**os.environ, "LLMKIT_DB": f"{home}/catalog.duckdb", "LLMKIT_CONFIG_DIR": home})
    del notebook.metadata.language_info["version"]  # all else is what JupyterLab writes, too
    text = re.sub(r"[\w./-]*/ipykernel_\d+/\d+\.py:\d+: ", "", nbformat.writes(notebook, indent=1))  # before a warning
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
