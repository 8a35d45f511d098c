"""What is compared with what. A case is a row: add yours, and its workload to ``workloads.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from server import TEXT, reply

LATENCY = 0.05
"""Seconds that the server takes for an answer."""


@dataclass(frozen=True)
class Sample:
    """One measurement: a function of ``workloads.py`` and its arguments."""

    workload: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Case:
    """``figure`` of ``ours`` ÷ the same of ``rival`` (or a number): at most ``bar``, and better ``aim``.

    A case that is ``long`` runs only when it is named.
    """

    name: str
    says: str
    figure: str
    ours: Sample
    rival: Sample | float
    bar: float
    aim: float
    long: bool = False


def probes(n: int, at: int, workload: str = "llmkit", **more: Any) -> Sample:
    """``n`` probes of 1 KB + 1 KB, ``at`` a time; their cpu, wall and disk are per probe."""
    return Sample(workload, {"n": n, "at": at, **more})


def opening(with_llmkit: bool) -> Sample:
    """Opening a known catalog, or the bare file."""
    return Sample("open_catalog", {"with_llmkit": with_llmkit})


def importing(*names: str) -> Sample:
    """Importing modules into a fresh process."""
    return Sample("imports", {"names": names})


USUAL = probes(3_000, 100)
WATCHED = probes(5_000, 100, watch=True)
MANY = probes(100_000, 100, watch=True)
AGAIN = probes(100_000, 100, again=True)
ONE, TWO = (probes(3_000, 100, "together", processes=processes) for processes in (1, 2))
WORKER, WORKERS = (probes(3_000, 100, "on_cluster", workers=workers) for workers in (1, 2))
CROWDED, CROWDED_WORKERS = probes(6_000, 500), probes(6_000, 500, "on_cluster", workers=2)
SOLO, DUO = (probes(3_000, 100, "in_team", members=members) for members in (1, 2))
AIOHTTP, HTTPX, SENT = (probes(3_000, 100, "bare", library=name) for name in ("aiohttp", "httpx", "transport"))
PANDAS = importing("pandas", "duckdb")
OLD = Sample("stored", {"probes": 300_000, "runs": 300})
LARGE = Sample("stored", {"probes": 1_000_000, "runs": 20})
START = Sample("starting", {"probes": 1_000_000})
MS, MIB = 0.001, 2**20

CASES = [
    Case("aiohttp", "CPU per probe ÷ bare aiohttp", "cpu", USUAL, AIOHTTP, 3.0, 2.0),
    Case("httpx", "CPU per probe ÷ bare httpx on aiohttp", "cpu", USUAL, HTTPX, 1.7, 1.2),
    Case("transport", "CPU per request of our transport ÷ aiohttp", "cpu", SENT, AIOHTTP, 1.6, 1.4),
    Case("crowd", "CPU per probe, 500 at a time ÷ 20", "cpu", probes(3_000, 500), probes(3_000, 20), 1.3, 1.1),
    Case("wall", "wall of 5,000 probes ÷ ideal", "wall", WATCHED, LATENCY / 100, 1.5, 1.2),
    Case("pair", "CPU per probe, two processes ÷ one", "cpu", TWO, ONE, 1.3, 1.1),
    Case("disk", "bytes on disk ÷ prompts and raw replies", "disk", USUAL, TEXT + len(reply(1_000)), 3.0, 2.0),
    Case("block", "longest block of the event loop, ms", "block", WATCHED, MS, 50, 20),
    Case("block-cpu", "CPU of the event loop in one block, ms", "block_cpu", WATCHED, MS, 50, 20),
    Case("import", "import llmkit ÷ pandas, duckdb (CPU)", "cpu", importing("llmkit"), PANDAS, 1.25, 1.1),
    Case("open", "llmkit.open() of a known catalog ÷ DuckDB", "wall", opening(True), opening(False), 3.0, 2.0),
    Case("cluster", "CPU per probe, Dask with two workers ÷ without", "cpu", WORKERS, USUAL, 2.5, 1.5, long=True),
    Case("cluster-500", "the same with 500 at a time", "cpu", CROWDED_WORKERS, CROWDED, 1.6, 1.3, long=True),
    Case("cluster-one", "CPU per probe, two workers ÷ one", "cpu", WORKERS, WORKER, 1.3, 1.1, long=True),
    Case("cluster-wall", "wall per probe, two workers ÷ without", "wall", WORKERS, USUAL, 2.0, 1.0, long=True),
    Case("client", "CPU of a cluster's client per probe, ms", "client", WORKERS, MS, 0.25, 0.25, long=True),
    Case("client-500", "the same with 500 at a time, ms", "client", CROWDED_WORKERS, MS, 0.25, 0.25, long=True),
    Case("team", "CPU per probe, two machines ÷ two processes", "cpu", DUO, TWO, 1.5, 1.1, long=True),
    Case("team-one", "CPU per probe, alone in a team ÷ without", "cpu", SOLO, ONE, 1.5, 1.1, long=True),
    Case("memory", "peak memory, 100,000 probes, MiB", "memory", MANY, MIB, 350, 250, long=True),
    Case("start", "1,000,000 probes planned and begun, s of CPU", "cpu", START, 1.0, 20, 15, long=True),
    Case("start-mem", "memory of that, its prompts included, MiB", "begun", START, MIB, 600, 550, long=True),
    *(
        Case(f"old-{what}", f"{what}, 300,000 probes in 300 runs, s", what, OLD, 1.0, 1.0, 0.3, long=True)
        for what in ("open", "runs", "costs", "estimate")
    ),
    Case("large-costs", "kit.costs() ÷ SQL, 1,000,000 probes", "table", LARGE, 1.0, 1.5, 1.2, long=True),
    Case("large-frame", "run.probes ÷ DuckDB's frame, 50,000 probes", "frame", LARGE, 1.0, 2.0, 1.5, long=True),
    Case("rebuild", "rebuilding 1,000,000 attempts, s", "rebuild", LARGE, 1.0, 60, 30, long=True),
    Case("rebuild-mem", "memory of rebuilding them, MiB", "rebuild_memory", LARGE, MIB, 1024, 512, long=True),
    Case("reuse", "looking up 100,000 answers bought before, s", "reused", AGAIN, 1.0, 5, 2, long=True),
    Case("block-100k", "longest block in 100,000 probes, ms", "block", MANY, MS, 50, 20, long=True),
]
