"""``python tests/bench [--json FILE] [--rounds N] [CASE ...]``: llmkit beside its rivals, in the same minutes."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from cases import CASES, LATENCY, Case, Sample

HERE = Path(__file__).parent
PER_PROBE = {"cpu", "wall", "disk"}


def measure(sample: Sample, url: str) -> dict[str, float]:
    """Run a workload in a process of its own; its figures, per probe where it asks probes."""
    probes = sample.arguments.get("n")
    arguments = json.dumps(sample.arguments | ({"url": url} if probes else {}))
    command = [sys.executable, HERE / "workloads.py", sample.workload, arguments]
    compiled = os.environ | {"PYTHONDONTWRITEBYTECODE": ""}  # as an installed package is
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=compiled)
    figures: dict[str, float] = json.loads(done.stdout)
    return {name: value / probes if probes and name in PER_PROBE else value for name, value in figures.items()}


def run_rounds(cases: Sequence[Case], rounds: int, url: str) -> dict[str, list[dict[str, float]]]:
    """Every measurement that the cases need, one after another, ``rounds`` times: A B C, A B C, ..."""
    samples = {
        str(sample): sample for case in cases for sample in (case.ours, case.rival) if isinstance(sample, Sample)
    }
    results: dict[str, list[dict[str, float]]] = defaultdict(list)
    for number in range(rounds):
        for key, sample in samples.items():
            print(f"round {number + 1} of {rounds}: {sample.workload} {sample.arguments}", file=sys.stderr)
            results[key].append(measure(sample, url))
    return results


def row(case: Case, results: dict[str, list[dict[str, float]]]) -> dict[str, object]:
    """A case's medians and their ratio."""

    def middle(sample: Sample | float) -> float:
        return median(one[case.figure] for one in results[str(sample)]) if isinstance(sample, Sample) else sample

    ours, rival = middle(case.ours), middle(case.rival)
    names = {"case": case.name, "says": case.says, "figure": case.figure, "ours": ours, "rival": rival}
    return names | {"ratio": ours / rival, "bar": case.bar, "aim": case.aim}


def show(rows: Sequence[dict[str, object]]) -> None:
    """The table for people."""
    print(f"{'case':12} {'':42} {'ours':>10} {'rival':>10} {'ratio':>7} {'bar':>6} {'aim':>6}")
    for line in rows:
        verdict = "" if line["ratio"] <= line["bar"] else "  ABOVE THE BAR"
        figures = f"{line['ours']:10.4g} {line['rival']:10.4g} {line['ratio']:7.2f} {line['bar']:6g} {line['aim']:6g}"
        print(f"{line['case']:12} {line['says']:42} {figures}{verdict}")


def main() -> None:
    """Measure what was named, else all that is not long."""
    parser = argparse.ArgumentParser(prog="python tests/bench", description="llmkit beside its rivals.")
    parser.add_argument("case", nargs="*", help=f"of {', '.join(case.name for case in CASES)}; all that are not long")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    options = parser.parse_args()
    if unknown := set(options.case) - {case.name for case in CASES}:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    cases = [case for case in CASES if case.name in options.case or not (options.case or case.long)]
    load_before = os.getloadavg()[0]
    command = [sys.executable, HERE / "server.py", str(LATENCY)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        results = run_rounds(cases, options.rounds, url)
        server.stdin.close()
    rows = [row(case, results) for case in cases]
    show(rows)
    load = {"before": load_before, "after": os.getloadavg()[0], "cores": os.cpu_count()}
    print(f"Load of the machine: {load['before']:.1f} before, {load['after']:.1f} after, {load['cores']} cores.")
    if options.json:
        options.json.write_text(json.dumps({"load": load, "rows": rows, "measurements": results}, indent=2))


if __name__ == "__main__":
    main()
