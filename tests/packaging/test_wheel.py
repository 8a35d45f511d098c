"""What is in the wheel."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The names in a wheel that was built from this folder, without network."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    return zipfile.ZipFile(built)


def test_the_shipped_catalog_is_in_the_wheel(wheel):
    """Everything in data/ is packed where an installed llmkit looks for it."""
    shipped = {f"llmkit/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "data").rglob("*") if path.is_file()}
    assert {f"llmkit/data/catalog/{name}.toml" for name in ("openai", "anthropic", "google")} <= shipped
    assert shipped <= set(wheel.namelist())


def test_every_module_is_in_the_wheel_and_nothing_else(wheel):
    """All of the package, in Python and JavaScript, and its typing marker; no tests, no notebooks, no caches."""
    modules = {
        path.relative_to(ROOT).as_posix() for kind in ("py", "mjs") for path in (ROOT / "llmkit").rglob(f"*.{kind}")
    }
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name and not name.startswith("llmkit/data/")}
    assert {name for name in packed if name.endswith((".py", ".mjs"))} == modules
    assert "llmkit/py.typed" in packed
    assert all(name.startswith("llmkit/") and "__pycache__" not in name for name in packed)


def test_the_command_and_the_license_are_declared(wheel):
    """`llmkit` is a command after installation, and the license travels along."""
    (entry_points,) = (name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "llmkit = llmkit.cli:main" in wheel.read(entry_points).decode()
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())


def test_what_is_imported_is_declared():
    """What a module imports at its top comes along with llmkit, or with the extra that its wing is named after."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = _names(project["dependencies"]) | {"dotenv", "yaml"}  # as python-dotenv and pyyaml are imported
    known = {"llmkit", "numpy", "traitlets", "IPython"}  # pandas and ipywidgets cannot be without the last three
    for path in (ROOT / "llmkit").rglob("*.py"):
        extra = _names(project["optional-dependencies"].get(path.relative_to(ROOT / "llmkit").parts[0], []))
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            for name in _imported(node) - sys.stdlib_module_names - declared - known - extra:
                pytest.fail(f"{path.relative_to(ROOT)} imports {name}, which pyproject.toml does not name")


def _names(requirements):
    return {re.split(r"[^A-Za-z0-9_.-]", line)[0].lower().replace("-", "_") for line in requirements}


def _imported(node):
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.module:
        return {node.module.split(".")[0]}
    return set()
