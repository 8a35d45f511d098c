"""Writes ``previous.tar.gz`` and ``previous.json``: run with the code of the version before on the path."""

import json
import signal
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import llmkit

HERE = Path(__file__).parent
MODELS = ["openai:gpt-6-luna", "anthropic:claude-haiku-5-5"]
SCHEMA = {"type": "object", "properties": {"mood": {"enum": ["good", "bad"]}}, "required": ["mood"]}
FAST = llmkit.RetryPolicy.fast()


def open_kit(path, sim):
    """The catalog with its simulator."""
    kit = llmkit.open(path, simulate=True)
    kit.use_simulator(sim)
    return kit


def edit(kit):
    """Edits of every kind."""
    catalog = kit.catalog
    catalog.add_provider("acme", base_url="http://127.0.0.1:9/v1", max_parallel_requests=3, requests_per_minute=90)
    catalog.add_model("acme:one", cost_input_per_million="0.25", cost_output_per_million="1.5", set_as_default=True)
    catalog.update_model(MODELS[0], cost_input_per_million="0.123")
    catalog.deprecate_model("mistral:mistral-small-2603")
    catalog.set_setting("study", {"name": "Größe"})
    catalog.set_balance("openai", 12)
    catalog.sync_balance("openai", "11.5")
    for name in ("openai", "anthropic"):
        catalog.update_provider(name, max_parallel_requests=4, requests_per_minute=100_000)


def ask(kit, sim):
    """A run with follow-ups and failures, one with a schema, one that was cancelled."""
    sim.set(faults={"rate_limit": 0.05, "disconnect": 0.1, "refusal": 0.1})
    prompts = [llmkit.Scenario(f"Question {n} ß 你?", dimensions={"tone": tone, "n": n})
               for n, tone in enumerate(["warm", "cold"] * 4)]  # fmt: skip
    kit.run(prompts, MODELS, samples=2, followups=["why?", "and then?"], retry=FAST, name="follow-ups").result(60)
    sim.set(faults={})
    kit.run(["How was it?", "And you?"], MODELS, schema=SCHEMA, name="schema").result(60)
    sim.set(latency=0.2)
    handle = kit.run([f"cancelled {n}" for n in range(10)], MODELS, followups=["why?"], retry=FAST, name="cancelled")
    sim.wait_until(lambda: sim.count("ok") >= 100 and sim.count("in_flight") > 0, timeout=5)
    handle.cancel(grace=0)
    handle.result(60)


def tables(kit):
    """What the tests compare, as text: DuckDB's own sums of everything that was asked and paid."""
    sums = {
        "runs": "SELECT id, name, kind, status, n_probes FROM runs ORDER BY id",
        "probes": "SELECT run_id, status, error_code, count(*) AS n, sum(estimated_cost)::VARCHAR AS cost, "
        "sum(wasted_cost)::VARCHAR AS wasted, sum(turns)::INT AS turns, sum(attempts)::INT AS attempts, "
        "sum(maybe_billed)::INT AS maybe, sum(input_tokens)::INT AS input, sum(output_tokens)::INT AS output, "
        "md5(string_agg(response || coalesce(json(answer)::VARCHAR, '') || sample || model || prompt "
        "|| json(dimensions)::VARCHAR, '|' ORDER BY position)) AS texts FROM probes GROUP BY ALL ORDER BY ALL",
        "turns": "SELECT run_id, count(*) AS n, sum(cost)::VARCHAR AS cost, "
        "md5(string_agg(prompt || response, '|' ORDER BY probe_id, turn)) AS texts FROM turns GROUP BY ALL ORDER BY 1",
        "attempts": "SELECT run_id, error_code, count(*) AS n, count(ended_at) AS ended, sum(cost)::VARCHAR AS cost, "
        "sum(worst_case)::VARCHAR AS worst, sum(maybe_billed::INT)::INT AS maybe, "
        "md5(string_agg(reply, '|' ORDER BY attempt_id)) AS replies FROM attempts GROUP BY ALL ORDER BY ALL",
        "providers": "SELECT name, balance::VARCHAR AS balance, requests_per_minute FROM llm_providers ORDER BY id",
        "models": "SELECT provider_id, count(*), sum(cost_input_per_million)::VARCHAR, "
        "md5(string_agg(model_id || status || is_default || cost_output_per_million, '|' ORDER BY id)) "
        "FROM llm_models GROUP BY ALL ORDER BY 1",
        "catalog_events": "SELECT action, count(*) AS n FROM catalog_events GROUP BY ALL ORDER BY 1",
        "provider_balance_syncs": "SELECT provider, entered_balance::VARCHAR, delta::VARCHAR "
        "FROM provider_balance_syncs",
        "system_settings": "SELECT key, value::VARCHAR FROM system_settings ORDER BY id",
    }
    return {name: json.loads(kit.sql(sql).to_json(orient="values")) for name, sql in sums.items()}


class Elsewhere:
    """The simulator, which another process runs."""

    def __init__(self, url):
        self.url_for = lambda name: url + name


def begin(path, url):
    """In a process of its own: a run that does not come to an end."""
    kit = open_kit(path, Elsewhere(url))
    kit.run([f"killed {n}" for n in range(10)], MODELS, followups=["why?"], retry=FAST, name="killed").result()


def kill_in_flight(path, sim):
    """Let a process begin a run, and kill it with some requests answered and some on their way."""
    sim.set(latency=0.05)
    url = sim.url_for("openai").removesuffix("openai")
    child = subprocess.Popen([sys.executable, __file__, path, url])
    done = sim.count("ok")
    sim.wait_until(lambda: sim.count("ok") >= done + 24 and sim.count("in_flight") >= 4, timeout=30)
    child.send_signal(signal.SIGKILL)
    child.wait()


def write(folder, sim):
    """The catalog, and what its tables held."""
    path = Path(folder) / "previous.duckdb"
    with open_kit(path, sim) as kit:
        edit(kit)
        ask(kit, sim)
    kill_in_flight(path, sim)
    with open_kit(path, sim) as kit:
        expected = tables(kit)
    (HERE / "previous.json").write_text(json.dumps(expected, indent=1) + "\n")
    with tarfile.open(HERE / "previous.tar.xz", "w:xz") as archive:
        for file in sorted(Path(folder).rglob("*")):
            if file.suffix in (".duckdb", ".jsonl"):
                archive.add(file, file.relative_to(folder))


if __name__ == "__main__":
    if sys.argv[1:]:
        begin(Path(sys.argv[1]), sys.argv[2])
    with tempfile.TemporaryDirectory() as folder, llmkit.simulator.serve(seed=3) as sim:
        write(folder, sim)
