"""A client that runs a study on a cluster, in this process or in one that can be killed."""

import sys
from collections import Counter

import llmkit
from llmkit.simulator.formats.routes import base_path

PROVIDERS = ("openai", "anthropic", "google")


def loosened(kit, providers, at):
    """Let each provider take ``at`` requests at a time."""
    for name in providers:
        kit.catalog.update_provider(name, max_parallel_requests=at, requests_per_minute=100_000)


def ask(kit, client, scenarios, **more):
    """Ask three providers ``scenarios`` questions of two turns each."""
    models = [kit.catalog.defaults()[name].reference for name in PROVIDERS]
    prompts = [f"Say something about the number {number}." for number in range(scenarios)]
    how = {"max_tokens": 60, "retry": llmkit.RetryPolicy.fast(max_attempts=20), **more}
    return kit.run(prompts, models, followups=["And about the next one?"], on=client, **how)


def served(sim):
    """How often each turn of each probe was billed, whether or not the answer arrived."""
    return Counter((probe, int(turn)) for probe, turns in sim.stats()["billed_by_probe"].items() for turn in turns)


def flagged(run):
    """How many attempts at each turn may have been billed without an answer."""
    attempts = run.attempts
    lost = attempts[attempts["maybe_billed"].fillna(False).astype(bool)]
    return Counter(zip(lost["probe_id"], lost["turn"].astype(int), strict=True))


class _At:
    """The simulator of another process."""

    def __init__(self, url):
        self.url = url

    def url_for(self, provider):
        return self.url + base_path(provider)


def main(scheduler, path, url, scenarios):
    """Run until killed."""
    from distributed import Client

    with Client(scheduler) as client, llmkit.open(path, simulate=True) as kit:
        kit.use_simulator(_At(url))
        handle = ask(kit, client, int(scenarios), options={"worker_timeout": 6})
        print(handle.run_id, flush=True)
        handle.result()


if __name__ == "__main__":
    main(*sys.argv[1:])
