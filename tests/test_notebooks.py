"""The example notebooks are committed with outputs that read well without a kernel."""

import json
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import nbformat
import pytest
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelspec import get_kernel_dict
from run_notebooks import run_notebook

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
def test_saving_a_notebook_changes_nothing_but_the_version_of_python(path):
    """JupyterLab notes what a kernel says of itself and its language, and nbconvert names scripts by it."""
    language = {name: value for name, value in IPythonKernel.language_info.items() if name != "version"}
    kernel = {"display_name": get_kernel_dict()["display_name"], "language": "python", "name": "python3"}
    metadata = json.loads(path.read_text(encoding="utf-8"))["metadata"]
    assert metadata == {"kernelspec": kernel, "language_info": language}


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


def test_running_a_notebook_keeps_what_it_shows_and_nothing_of_the_machine(tmp_path):
    """The maintainers' script: a panel is saved in its static form, and times and widgets are left out."""
    cells = ["import llmkit\nkit = llmkit.open(simulate=True)", "kit.infra_panel()", "6 * 7"]
    path = tmp_path / "short.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells))), path)
    run_notebook(path)
    test_outputs_read_well_on_github(path)
    made = json.loads(path.read_text(encoding="utf-8"))
    assert made["metadata"]["language_info"]["file_extension"] == ".py"
    assert "version" not in made["metadata"]["language_info"]
    assert not any(cell["metadata"] for cell in made["cells"])
    _, panel, number = (cell["outputs"] for cell in made["cells"])
    assert "Scenario expansion" in "".join(panel[0]["data"]["text/html"])
    assert number[0]["data"]["text/plain"] == ["42"]
