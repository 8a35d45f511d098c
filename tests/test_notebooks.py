"""The example notebooks are committed with outputs that read well without a kernel."""

import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("*.ipynb"))
MOST_BYTES = 400_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_read_well_on_github(path):
    """Every notebook was run without an error, is small, and holds no live widget and no path of a machine."""
    text = path.read_text(encoding="utf-8")
    outputs = [output for cell in json.loads(text)["cells"] for output in cell.get("outputs", [])]
    assert outputs
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert "application/vnd.jupyter.widget" not in text
    assert not re.search(r"/(?:work|tmp|root|home|Users)/\w", text)
    assert len(text.encode("utf-8")) <= MOST_BYTES
