"""What is measured, one function each: ``python tests/bench/workloads.py NAME '{"argument": ...}'`` prints its figures.

Every measurement runs in a process of its own. Figures: ``cpu`` (user and system, children included) and ``wall`` in
seconds, of the whole measurement unless said otherwise; whatever else a workload returns.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from server import TEXT, text

HERE = Path(__file__).parent
WARM = 100
"""Requests before the measurement begins: connections, imports and code caches are there."""


def cpu() -> float:
    """Seconds of this process and of its children that have ended."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


@contextlib.contextmanager
def measured(figures: dict[str, float]) -> Iterator[None]:
    """Put the CPU and wall time of what happens inside into the figures."""
    used, began = cpu(), time.perf_counter()
    yield
    figures |= {"cpu": cpu() - used, "wall": time.perf_counter() - began}


# --- requests ---


def bare(url: str, library: str, n: int, at: int) -> dict[str, float]:
    """``n`` requests, ``at`` a time, with an HTTP library alone, or our transport alone; each answer's text is read."""
    import asyncio

    import aiohttp
    from httpx_aiohttp import HttpxAiohttpClient

    from llmkit.providers.credentials import Credentials
    from llmkit.providers.transport import Transport
    from llmkit.providers.wires import WIRES
    from llmkit.records import Provider, Request

    bench = Provider(name="bench", display_name="Bench", wire="openai_chat", base_url=url)

    def body(number: int) -> dict[str, object]:
        return {"model": "bench", "messages": [{"role": "user", "content": text(number)}], "max_completion_tokens": 500}

    async def ask_aiohttp(session: aiohttp.ClientSession, number: int) -> str:
        async with session.post(f"{url}/chat/completions", json=body(number)) as response:
            return (await response.json())["choices"][0]["message"]["content"]

    async def ask_httpx(client: HttpxAiohttpClient, number: int) -> str:
        response = await client.post(f"{url}/chat/completions", json=body(number))
        return response.json()["choices"][0]["message"]["content"]

    async def ask_transport(transport: Transport, number: int) -> str:
        request = Request(path="/chat/completions", body=body(number))
        response = await transport.send(bench, WIRES["openai_chat"], request)
        return json.loads(response.body)["choices"][0]["message"]["content"]

    async def main() -> dict[str, float]:
        figures: dict[str, float] = {}
        opened, ask = {
            "aiohttp": lambda: (aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)), ask_aiohttp),
            "httpx": lambda: (HttpxAiohttpClient(timeout=60), ask_httpx),
            "transport": lambda: (contextlib.aclosing(Transport(Credentials())), ask_transport),
        }[library]()

        async def worker(client: object, numbers: Iterator[int]) -> None:
            for number in numbers:
                await ask(client, number)

        async def ask_all(client: object, count: int) -> None:
            numbers = iter(range(count))
            await asyncio.gather(*(worker(client, numbers) for _ in range(at)))

        async with opened as client:
            await ask_all(client, WARM)
            with measured(figures):
                await ask_all(client, n)
        return figures

    return asyncio.run(main())


def add_provider(kit: object, url: str, at: int) -> None:
    """The server as a provider whose limits make nobody wait but for a free slot."""
    kit.catalog.add_provider(
        "bench", base_url=url, api_key_env=None, max_parallel_requests=at, requests_per_minute=1_000_000
    )
    kit.catalog.add_model("bench:bench", cost_input_per_million="1", cost_output_per_million="4", max_output_tokens=500)


def ask(kit: object, first: int, n: int, **how: object) -> None:
    """A run of ``n`` probes that must all succeed."""
    run = kit.run([text(first + number) for number in range(n)], ["bench:bench"], max_tokens=500, **how).result()
    if (costs := run.costs())["ok"].sum() != n:
        raise SystemExit(f"{n} probes were asked, and this came:\n{costs.to_string()}")


def llmkit(url: str, n: int, at: int, watch: bool = False, again: bool = False) -> dict[str, float]:
    """``n`` probes, ``at`` a time; ``disk`` is bytes of journal and database that they added, checkpointed.

    ``watch`` adds ``block``, the longest time in seconds that the event loop of the runs did nothing else, and
    ``block_cpu``, the most that its thread computed meanwhile. ``again`` adds ``reused``, the seconds of an estimate
    that looks up all the answers.
    """
    import llmkit

    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="llmkit-bench-") as folder:
        path = Path(folder) / "k.duckdb"
        with llmkit.open(path) as kit:
            add_provider(kit, url, at)
            ask(kit, 10**6, WARM)
        before = size(folder)
        with llmkit.open(path) as kit, longest_block(figures) if watch else contextlib.nullcontext():
            ask(kit, 2 * 10**6, WARM)
            with measured(figures):
                ask(kit, 0, n)
            if again:
                prompts = [text(number) for number in range(n)]
                with laps(figures, "reused"):
                    estimate = kit.estimate(prompts, ["bench:bench"], max_tokens=500, reuse=True)
                assert estimate.total == 0
        checkpoint(path)
        figures["disk"] = (size(folder) - before) * n / (n + WARM)
    return figures


def together(url: str, n: int, at: int, processes: int) -> dict[str, float]:
    """The same ``n`` probes by several processes, which share the provider's limit; CPU of all of them."""
    import llmkit

    with tempfile.TemporaryDirectory(prefix="llmkit-bench-") as folder:
        path = Path(folder) / "k.duckdb"
        with llmkit.open(path) as kit:
            add_provider(kit, url, at)
        results = side_by_side([{"path": str(path), "n": n // processes}] * processes)
    return {"cpu": sum(one["cpu"] for one in results), "wall": max(one["wall"] for one in results)}


def member(path: str, n: int, team: str | None = None) -> dict[str, float]:
    """One of several processes."""
    import llmkit

    figures: dict[str, float] = {}
    with llmkit.open(path, team=team) as kit:
        ask(kit, 10**6 * os.getpid(), WARM)
        with measured(figures):
            ask(kit, 10**6 * os.getpid() + WARM, n)
    return figures


def on_cluster(url: str, n: int, at: int, workers: int) -> dict[str, float]:
    """The same probes with requests that the workers of a Dask cluster send; ``client`` is the CPU of this process per
    probe, in which the scheduler is too, ``cpu`` that of all processes.
    """
    from distributed import Client, LocalCluster

    import llmkit

    figures: dict[str, float] = {}
    how = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
    with tempfile.TemporaryDirectory(prefix="llmkit-bench-") as folder, llmkit.open(Path(folder) / "k.duckdb") as kit:
        add_provider(kit, url, at)
        with LocalCluster(**how) as cluster, Client(cluster) as client:
            ask(kit, 10**6, WARM, on=client)
            before = cpu(), sum(client.run(time.process_time).values()), time.process_time()
            began = time.perf_counter()
            ask(kit, 0, n, on=client)
            in_workers = sum(client.run(time.process_time).values()) - before[1]
            own = time.process_time() - before[2]
            figures |= {"wall": time.perf_counter() - began, "client": own / n, "cpu": own + in_workers}
    return figures


def in_team(url: str, n: int, at: int, members: int) -> dict[str, float]:
    """The same probes by members of a team, each a process with a database of its own, which share the limit."""
    import llmkit
    from llmkit.cli import main

    sys.path.append(str(HERE.parent / "team"))
    from postgres import Server

    server = Server()
    try:
        team = server.database("bench")
        with contextlib.redirect_stdout(sys.stderr):
            main(["team", "init", team])
        with tempfile.TemporaryDirectory(prefix="llmkit-bench-") as folder:
            with llmkit.open(Path(folder) / "0.duckdb", team=team) as kit:
                add_provider(kit, url, at)
            paths = [str(Path(folder) / f"{number}.duckdb") for number in range(members)]
            results = side_by_side([{"path": path, "n": n // members, "team": team} for path in paths])
    finally:
        server.close()
    return {"cpu": sum(one["cpu"] for one in results), "wall": max(one["wall"] for one in results)}


def side_by_side(members: list[dict[str, object]]) -> list[dict[str, float]]:
    """What processes have measured that asked at the same time."""
    commands = [[sys.executable, __file__, "member", json.dumps(arguments)] for arguments in members]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for command in commands]
    return [json.loads(member.communicate()[0]) for member in running]


@contextlib.contextmanager
def longest_block(figures: dict[str, float]) -> Iterator[None]:
    """Tick on the loop of the runs; how late was the latest tick, and how long did the loop compute between two?"""
    import anyio

    from llmkit.runs import background

    async def tick() -> None:
        last, used = time.perf_counter(), time.thread_time()
        while True:
            await anyio.sleep(0.001)
            now, computed = time.perf_counter(), time.thread_time()
            figures["block"] = max(figures.get("block", 0.0), now - last - 0.001)
            figures["block_cpu"] = max(figures.get("block_cpu", 0.0), computed - used)
            last, used = now, computed

    ticking = background.start(tick)
    yield
    ticking.cancel()


def size(folder: str) -> int:
    """Bytes of all files in a folder."""
    return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())


def checkpoint(path: Path) -> None:
    """Bring what DuckDB has in its log into the file."""
    import duckdb

    duckdb.connect(path).execute("CHECKPOINT").close()


# --- start-up ---


def starting(probes: int) -> dict[str, float]:
    """Plan a run of so many probes, write its beginning and ask the first; ``begun`` is the peak of memory by then."""
    import llmkit

    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="llmkit-bench-") as folder:
        kit = llmkit.open(Path(folder) / "k.duckdb", simulate=True)
        prompts = [f"Say something about the number {number}." for number in range(probes)]
        asked = threading.Event()
        with measured(figures):
            kit.run(prompts, "openai:gpt-6-luna", on_event=lambda event: event.kind == "asked" and asked.set())
            asked.wait()
        figures["begun"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        kit.close()
    return figures


def imports(names: list[str]) -> dict[str, float]:
    """Import modules."""
    figures: dict[str, float] = {}
    with measured(figures):
        for name in names:
            __import__(name)
    return figures


def open_catalog(with_llmkit: bool) -> dict[str, float]:
    """Open a known catalog and close it again, the first time in its process."""
    import duckdb

    import llmkit

    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="llmkit-bench-") as folder:
        path = Path(folder) / "k.duckdb"
        seed = f"import llmkit; llmkit.open({str(path)!r}).close()"
        for _ in range(2):
            subprocess.run([sys.executable, "-c", seed], check=True)
        with measured(figures):
            (llmkit.open if with_llmkit else duckdb.connect)(path).close()
    return figures


# --- what was asked before ---


def stored(probes: int, runs: int) -> dict[str, float]:
    """A catalog with so many probes, rebuilt from its journal and read: seconds, and ratios to bare DuckDB.

    ``rebuild`` and ``open`` to ``estimate`` are seconds, ``rebuild_memory`` bytes; ``table`` and ``frame`` are ratios:
    the cost table to bare SQL, and ``run.probes`` to DuckDB's own DataFrame of that run.
    """
    import duckdb

    import llmkit

    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="llmkit-bench-") as folder:
        path = Path(folder) / "k.duckdb"
        subprocess.run([sys.executable, HERE / "stored.py", folder, str(probes), str(runs)], check=True)
        path.unlink(missing_ok=True)
        command = [sys.executable, __file__, "rebuild", json.dumps({"path": str(path)})]
        rebuilt = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
        figures |= {"rebuild": rebuilt["wall"], "rebuild_memory": rebuilt["memory"]}
        with laps(figures, "open"):
            kit = llmkit.open(path, simulate=True)
        with laps(figures, "runs"):
            run = kit.load(kit.runs()["run_id"].iloc[0])
        with laps(figures, "costs"):
            kit.costs(simulated=False)
        with laps(figures, "estimate"):
            kit.estimate("x" * TEXT, "openai:gpt-6-luna")
        with laps(figures, "frame"):
            rows = len(run.probes)
        kit.close()
        with duckdb.connect(path, read_only=True) as connection:
            with laps(figures, "bare_table"):
                connection.sql("SELECT model, count(*), sum(estimated_cost) FROM probes GROUP BY model").df()
            with laps(figures, "bare_frame"):
                assert len(connection.sql(f"SELECT * FROM probes WHERE run_id = '{run.id}'").df()) == rows
    return figures | {
        "table": figures["costs"] / figures["bare_table"],
        "frame": figures["frame"] / figures["bare_frame"],
    }


@contextlib.contextmanager
def laps(figures: dict[str, float], name: str) -> Iterator[None]:
    """Put the seconds that the block takes into the figures."""
    began = time.perf_counter()
    yield
    figures[name] = time.perf_counter() - began


def rebuild(path: str) -> dict[str, float]:
    """Make a database from its journal."""
    from llmkit.store import Store

    figures: dict[str, float] = {}
    with measured(figures):
        Store(Path(path)).close()
    return figures


if __name__ == "__main__":
    workload, arguments = globals()[sys.argv[1]], json.loads(sys.argv[2])
    print(json.dumps(workload(**arguments) | {"memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
