"""The shape of the package: wings, directions, sizes, names. The words for it are in llmkit/README.md."""

import ast
import re
import statistics
import tomllib
from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "llmkit"
FILES = sorted(PACKAGE.rglob("*.py"))

SAME_JOB_IN_TWO_WINGS = {}
"""File names that two wings share, each with the job that both do."""

LONG = {
    "kit/kit.py": "the public API on one page: mostly signatures and docstrings",
    "catalog/catalog.py": "the public API of the catalog, likewise",
    "analysis/run.py": "the public API of a run, likewise",
    "money/pricing.py": "the only place where money is computed",
    "limiter/provider_queue.py": "all that is decided about an admission, in one moment under one lock",
}
"""Files above 300 lines, each with its reason."""


@pytest.fixture(scope="module")
def imports():
    """Who imports whom, module by module; imports for type checkers and those inside functions count as well."""
    graph = grimp.build_graph("llmkit", cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def _cycle(graph):
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " → ".join(reversed(error.args[1]))
    return None


def test_no_module_imports_itself_by_way_of_others(imports):
    """No import cycle between files."""
    assert _cycle(imports) is None


def test_no_wing_imports_itself_by_way_of_others(imports):
    """No import cycle between wings either: what two files do to each other, two folders must not."""
    wings = defaultdict(set)
    for module, imported in imports.items():
        wings[_wing(module)] |= {_wing(other) for other in imported} - {_wing(module)}
    assert _cycle(wings) is None


def _wing(module):
    return ".".join(module.split(".")[:2])


def test_file_names_are_told_apart():
    """Somebody who reads a traceback or opens a tab knows the file by its name."""
    places = defaultdict(list)
    for path in FILES:
        if path.stem != "__init__":
            places[path.name].append(str(path.relative_to(PACKAGE)))
    shared = {name: paths for name, paths in places.items() if len(paths) > 1}
    assert shared.keys() == SAME_JOB_IN_TWO_WINGS.keys(), shared


def test_files_and_functions_are_small():
    """Half of all files have at most 115 lines and half of all functions at most 6; a long file has a reason."""
    lengths = {str(path.relative_to(PACKAGE)): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    functions = [
        node.end_lineno - node.lineno + 1
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    half = statistics.median(lengths.values()), statistics.median(functions)
    assert half <= (115, 6), f"{len(lengths)} files of {half[0]} lines, {len(functions)} functions of {half[1]} lines"
    assert {name for name, lines in lengths.items() if lines > 300} <= LONG.keys()


def test_percentages_are_written_alike():
    """As Python formats them: 80%, without a space."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in (*PACKAGE.rglob("*.py"), ROOT / "README.md")}
    assert [name for name, text in texts.items() if re.search(r"\d %[ .,:;)]", text)] == []


# --- the map ----------------------------------------------------------------------------------------------------------

MAP = (PACKAGE / "README.md").read_text(encoding="utf-8")


def _folders():
    return {path.parent.name for path in PACKAGE.glob("*/__init__.py")}


def test_the_map_names_the_wings():
    """The folders of the package are the wings of the map, in the order of the import contract from top to bottom."""
    named = re.findall(r"^\| `(\w+)/`", MAP, flags=re.MULTILINE)
    assert sorted(named) == sorted(_folders())
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (layers,) = (contract["layers"] for contract in settings["contracts"] if contract["type"] == "layers")
    order = [name for layer in layers for name in re.findall(r"llmkit\.(\w+)", layer)]
    assert order == ["cli", *(name for name in named), "errors"]


def test_a_wing_imports_only_what_the_map_allows(imports):
    """The column of the table, which is narrower than the layers, holds."""
    rows = re.findall(r"^\| `(\w+)/` \|[^|]*\|([^|]*)\|$", MAP, flags=re.MULTILINE)
    allowed = {f"llmkit.{wing}": {f"llmkit.{name}" for name in re.findall(r"\w+", names)} for wing, names in rows}
    allowed["llmkit.kit"] = set(allowed)
    for module, imported in imports.items():
        if (wing := _wing(module)) in allowed:
            others = {_wing(other) for other in imported} - {wing, "llmkit.errors"}
            assert others <= allowed[wing], module


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:llmkit|data|tests)/[^`\s<>]*)`", MAP))))
def test_what_the_map_points_to_exists(path):
    """A newcomer who follows the map arrives."""
    assert (ROOT / path).exists()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(\w+\.py)`", MAP))))
def test_a_file_named_on_the_way_of_a_probe_exists(name):
    """A bare file name is unique, so it is enough."""
    assert name in {path.name for path in FILES}


def test_no_text_holds_both_sides_of_a_merge():
    """Python files would not even be read; a page for people can keep such a line for long."""
    for path in (*ROOT.glob("*.md"), *PACKAGE.rglob("*.md"), *(ROOT / "tests").rglob("*.md")):
        assert not re.search(r"^(<{7}|>{7}) ", path.read_text(encoding="utf-8"), re.MULTILINE), path
