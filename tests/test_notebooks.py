"""The example notebooks are committed with outputs that read well without a kernel."""

import json
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
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


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_imported_comes_with_the_lab_extra(path):
    """``make lab`` installs what a notebook imports, or the notebook says which extra it needs besides."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code, words = (
        "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == kind)
        for kind in ("code", "markdown")
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = ["lab", *re.findall(r"llmkit\[(\w+)\]", words)]
    needed = [*project["dependencies"], *(name for extra in extras for name in project["optional-dependencies"][extra])]
    installed = {re.split(r"[^\w.-]", name)[0].lower() for name in needed}
    imported = set(re.findall(r"^\s*(?:import|from) (\w+)", code, re.M)) - sys.stdlib_module_names - {"llmkit"}
    assert "llmkit" in code
    for name in imported:
        assert installed & {each.lower() for each in packages_distributions()[name]}, name
