"""The command line: ``llmkit demo | models | sim | lab | doctor | backup | restore | export | team``."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

import llmkit
from llmkit.catalog import load_seed, sample_scenarios
from llmkit.kit import doctor
from llmkit.kit.kit import catalog_path, teams
from llmkit.kit.watching import progress_line
from llmkit.money.amounts import dollars
from llmkit.records.checks import texts
from llmkit.store import archive

DEMO_PACE = 120
"""Minimum requests per minute in the demo, so that nobody waits for the limits of a real account."""

DEMO_COLUMNS = ("provider", "model", "probes", "ok", "failed", "input_tokens", "output_tokens", "reasoning_tokens",
                "estimated_cost")  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status. Errors and warnings are sentences on standard error, not tracebacks."""
    args = _parser().parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: print(f"llmkit: {message}", file=sys.stderr)
            status = int(args.command(args) or 0)
            sys.stdout.flush()  # a closed pipe is noticed here, not while Python ends
            return status
    except llmkit.LlmkitError as error:
        print(f"llmkit: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="llmkit", description="Ask many language models, account for every cent.")
    parser.add_argument("--version", action="version", version=f"llmkit {llmkit.__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    db = argparse.ArgumentParser(add_help=False)
    db.add_argument("--db", help="the catalog's file (default: $LLMKIT_DB or the user's data folder)")

    demo = commands.add_parser("demo", help="a simulated run over every shipped provider; no keys, no network")
    demo.add_argument("--prompts", type=int, default=5, help="how many prompts to ask (default 5)")
    demo.set_defaults(command=_demo)

    models = commands.add_parser("models", parents=[db], help="the catalog as a table")
    models.add_argument("--provider", help="of this provider only")
    models.add_argument("--all", action="store_true", help="deprecated models too")
    models.add_argument("--json", action="store_true", help="as JSON, for other programs")
    models.set_defaults(command=_models)

    sim = commands.add_parser("sim", help="serve the simulator until Ctrl-C")
    sim.add_argument("--port", type=int, default=0, help="default: a free one")
    sim.add_argument("--rpm", type=int, help="requests per minute that each provider allows")
    sim.set_defaults(command=_sim)

    lab = commands.add_parser("lab", help="open JupyterLab on the first example notebook")
    lab.add_argument("notebook", nargs="?", help="another notebook or folder")
    lab.set_defaults(command=_lab)

    check = commands.add_parser("doctor", parents=[db], help="what may be wrong with the catalog here, and what to do")
    check.add_argument("--online", action="store_true", help="also ask each provider that has a key")
    check.set_defaults(command=_doctor)

    for name, command, argument, words in (
        ("backup", _backup, "file", "write the catalog with all its runs to one file"),
        ("restore", _restore, "file", "make a catalog of such a file"),
        ("export", _export, "folder", "write all runs as Parquet files"),
    ):
        parts = commands.add_parser(name, parents=[db], help=words)
        parts.add_argument(argument)
        parts.set_defaults(command=command)

    team = commands.add_parser("team", help="share a catalog, its runs and limits").add_subparsers(required=True)
    init = team.add_parser("init", help="prepare a PostgreSQL database for a team, or bring it up to this version")
    init.add_argument("url", help="postgresql://user@host/database")
    init.set_defaults(command=_team_init)
    return parser


def _demo(args: argparse.Namespace) -> int:
    folder = Path(tempfile.mkdtemp(prefix="llmkit-demo-"))
    with llmkit.open(folder / "llmkit.duckdb", simulate=True) as kit:
        for name, provider in kit.catalog.state().providers.items():
            if provider.requests_per_minute < DEMO_PACE:
                kit.catalog.update_provider(name, requests_per_minute=DEMO_PACE)
        scenarios = sample_scenarios()[: max(1, args.prompts)]
        prompts = texts.counted(len(scenarios), "prompt")
        print(f"Asking {prompts} of the default model of each provider (simulated, nothing is billed).")
        handle = kit.run(scenarios, name="demo", max_tokens=400)
        with progress_line(handle):
            handle.wait()
        run = handle.run
        print(_table(run.costs(by=["provider", "model"])[list(DEMO_COLUMNS)]))
        print(f"\nTotal: {dollars(run.total_cost)} for {len(run.probes)} probes. Look at the answers, in Python:")
        print(f"  import llmkit; llmkit.open({str(kit.path)!r}).last_run().probes")
        print(f"Or in a browser: {run.to_html(folder / 'answers.html')}")
        print("Next: `make lab` (or `llmkit lab`) opens the example notebooks; README.md says how to ask for real.")
    return 0 if run.status == "completed" else 1


def _models(args: argparse.Namespace) -> None:
    with _open_or_begin(args.db) as kit:
        frame = kit.catalog.models(provider=args.provider, status=None if args.all else "ACTIVE")
    columns = ["model", "display_name", "cost_input_per_million", "cost_output_per_million", "context_window",
               "status", "is_default", "is_available"]  # fmt: skip
    if args.json:
        print(json.dumps(json.loads(frame[columns].to_json(orient="records")), indent=2))
    else:
        print(_table(frame[columns]))


def _sim(args: argparse.Namespace) -> None:
    with llmkit.simulator.serve(port=args.port, rpm=args.rpm) as sim:
        print(f"Simulating these providers at {sim.url} until Ctrl-C.", flush=True)
        for name in load_seed().providers:
            print(f"  {name:<10} {sim.url_for(name)}", flush=True)
        threading.Event().wait()


def _lab(args: argparse.Namespace) -> int:
    if find_spec("jupyterlab") is None:
        print("llmkit: JupyterLab is not installed: pip install 'llmkit[lab]'", file=sys.stderr)
        return 1
    first = Path("notebooks/01_quickstart.ipynb")
    target = args.notebook or (str(first) if first.exists() else ".")
    as_root = ["--allow-root"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
    return subprocess.call([sys.executable, "-m", "jupyter", "lab", target, *as_root])


def _doctor(args: argparse.Namespace) -> int:
    try:
        with _open_or_begin(args.db) as kit:
            findings = kit.doctor(online=args.online)
    except llmkit.LlmkitError:  # main prints its sentence last
        print(doctor.to_frame(doctor.examine_place(catalog_path(args.db))))
        raise
    print(findings)
    return int(findings["health"].eq("bad").any())


def _backup(args: argparse.Namespace) -> None:
    with _open_existing(args.db) as kit:
        print(f"Written: {kit.backup(args.file)}")


def _restore(args: argparse.Namespace) -> None:
    path = catalog_path(args.db)
    archive.restore(Path(args.file), path)
    with llmkit.open(path, adopt=True) as kit:
        print(f"Restored {texts.counted(len(kit.runs(archived=None)), 'run')} to {path}")


def _export(args: argparse.Namespace) -> None:
    with _open_existing(args.db) as kit:
        print(f"Written: {kit.export(args.folder)}")


def _team_init(args: argparse.Namespace) -> None:
    print(f"Ready: {teams().init(args.url)}. Everybody opens a file of their own: llmkit.open(path, team=URL)")


def _open_or_begin(db: str | None) -> llmkit.Kit:
    """Open a catalog, which is there if it is named; a newcomer's, in the usual place, begins with what is shipped."""
    return _open_existing(db) if db else llmkit.open()


def _open_existing(db: str | None) -> llmkit.Kit:
    """Open a catalog, but make none: whoever mistypes a path must not believe that a study has a backup."""
    path = catalog_path(db)
    if not archive.is_catalog(path):
        instead = f"name another with --db or $LLMKIT_DB, or make one in Python: llmkit.open({str(path)!r})"
        raise llmkit.ValidationError(f"There is no catalog at {path}: {instead}.", field="path")
    return llmkit.open(path)


def _table(frame: pd.DataFrame) -> str:
    with pd.option_context("display.width", 200, "display.max_columns", None, "display.max_rows", None):
        return frame.to_string(index=False, na_rep="unpriced" if "cost_input_per_million" in frame else "-")


if __name__ == "__main__":
    sys.exit(main())
