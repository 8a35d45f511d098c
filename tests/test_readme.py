"""The README is run."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import llmkit
from llmkit import errors
from llmkit.catalog import load_seed

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def run_block(source, names):
    """Run the lines of a block and return the value of its last expression, as a notebook would."""
    tree = ast.parse(source)
    last = ast.Expression(tree.body.pop().value) if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "README.md", "exec"), names)
    return eval(compile(last, "README.md", "eval"), names) if last else None


def without_limits():
    """Edit the catalog that a block opens, so that none of its requests waits."""
    with llmkit.open(simulate=True) as kit:
        for name in kit.catalog.defaults():
            kit.catalog.update_provider(name, max_parallel_requests=20, requests_per_minute=9000)


def test_the_first_block_is_ten_lines_that_end_in_a_dataframe():
    """A newcomer copies it whole: one import, no key, a table with costs at the end; here without waiting."""
    lines = [line for line in BLOCKS[0].splitlines() if line.strip()]
    assert len(lines) <= 10
    without_limits()
    names = {}
    try:
        costs = run_block(BLOCKS[0], names)
        probes = names["run"].probes
        assert isinstance(costs, pd.DataFrame)
        assert len(probes) == 2 * 2 * probes["model"].nunique()
        assert set(probes["status"]) == {"ok"}
        assert set(probes["provider"]) == set(load_seed().providers)
        assert costs["probes"].sum() == len(probes)
    finally:
        if "kit" in names:
            names["kit"].close()


def test_the_first_block_runs_as_a_script(tmp_path):
    """Saved in a file and started with Python, without close(): it ends by itself, and says nothing on stderr."""
    script = tmp_path / "study.py"
    script.write_text(BLOCKS[0] + "print(len(run.probes))\n", encoding="utf-8")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) >= 4


def test_six_lines_end_in_a_chart(tmp_path):
    """The first thing on the page works as it stands, here with fewer samples and no limits to wait for."""
    (lines,) = re.findall(r"```py\n(.*?)```", README, flags=re.DOTALL)
    assert len([line for line in lines.splitlines() if line.strip()]) == 6
    without_limits()
    names = {}
    try:
        ax = run_block(lines.replace("samples=10", "samples=2"), names)
        assert ax.get_xlabel() == "Share of answers (%)"
        assert {text.get_text() for text in ax.get_legend().get_texts()} <= {"yes", "no", "depends"}
    finally:
        names["kit"].close()


OPENING = """import llmkit
kit = llmkit.open(simulate=True)
kit.run("Hello", models="openai:gpt-6-luna").result()
"""


@pytest.mark.parametrize("index", range(1, len(BLOCKS)))
def test_the_other_blocks_run_in_a_script_after_the_opening(tmp_path, index):
    """Every further block works where a simulated kit was opened and a run made; none needs a guarded main module."""
    script = tmp_path / "study.py"
    script.write_text(OPENING + BLOCKS[index], encoding="utf-8")
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_commands_in_the_readme_exist():
    """Every `make` target and `llmkit` command that the README names is one."""
    makefile = (Path(__file__).resolve().parents[1] / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    assert set(re.findall(r"make ([a-z]+)", README)) <= targets
    from llmkit.cli import main

    for command in set(re.findall(r"`llmkit ([a-z]+)", README)):
        with pytest.raises(SystemExit) as exited:
            main([command, "--help"])
        assert exited.value.code == 0


def test_every_error_and_code_has_a_remedy():
    """The section on what is wrong has a row for each public exception and each code, and for no other."""
    section = README.split("## When something is wrong")[1]
    rows = [row.split("|")[1] for row in section.splitlines() if row.startswith("| `")]
    in_rows = [name for cell in rows for name in re.findall(r"`(\w+)`", cell)]
    public = [name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)]
    assert sorted(in_rows) == sorted([*public, *errors.Code])
