"""Catalogs with many probes, written through the journal as runs write them, and what reading them takes.

``python tests/bench/stored.py FOLDER PROBES RUNS`` writes one.
"""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path

from server import reply, text

import llmkit
from llmkit.store import Store, events
from llmkit.store.apply_runs import untold

MODEL = "openai:gpt-6-luna"


def write(folder: Path, probes: int, runs: int) -> None:
    """A catalog ``k.duckdb`` of so many answered probes, in so many runs of one model."""
    llmkit.open(folder / "k.duckdb").close()
    store = Store(folder / "k.duckdb")
    model = store.catalog().models[MODEL].to_row()
    for number in range(runs):
        write_run(store, model, number * (probes // runs), probes // runs)
    store.close()


def write_run(store: Store, model: dict[str, object], first: int, probes: int) -> None:
    """One run, its questions and answers from a number on."""
    run_id = f"20261127-{first:06d}-{secrets.token_hex(2)}"
    blank = {"system": None, "followups": [], "template": None}
    scenarios = [
        {"scenario_id": f"s{number}", "prompt": text(first + number), "dimensions": {"level": number % 7}, **blank}
        for number in range(probes)
    ]
    settings = {"samples": 1, "params": {"stop": []}, "order": "sequential", "order_seed": 0, "budget": None}
    began = events.run(
        run_id=run_id,
        name=None,
        kind="probe",
        simulated=False,
        settings=settings,
        scenarios=scenarios,
        models=[model],
        samples=1,
        estimate=None,
    )
    store.append([*began]).result()
    for position in range(probes):
        commit = store.append(answered(run_id, position, first + position))
        if position % 1_000 == 999:  # a run has few requests on their way
            commit.result()
    store.append([events.run_state(run_id=run_id, status="completed")]).result()
    store.journal.end(run_id)


def answered(run_id: str, position: int, number: int) -> list[events.Event]:
    """The lines of a probe that was answered at once."""
    key = {"run_id": run_id, "position": position, "turn": 1, "attempt": 1}
    tokens = {"input_tokens": 250, "output_tokens": 250, "cached_input_tokens": 0, "cache_write_tokens": 0}
    rates = {"cost_input_per_million": "0.1", "cost_output_per_million": "0.5"}
    money = {"cost": "0.0001500000", "cost_source": "computed"}
    began, raw = events.now(), reply(number)
    answer = {"response": json.loads(raw)["choices"][0]["message"]["content"], "finish_reason": "stop", **rates}
    probe = {"session": 0, "status": "ok", "attempts": 1, "latency_s": 0.05, "queued_s": 0.0, "started_at": began}
    return [
        events.intent(**key, body=b"%d" % number, started_at=began, waited_s=0.0, worst_case="0.0041000000"),
        *events.outcome(
            **key, reply=raw, answer=answer, probe=untold(probe), status_code=200, latency_s=0.05, maybe_billed=False,
            usage=tokens, **money,
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
