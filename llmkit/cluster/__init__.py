"""Runs whose requests are sent by the workers of a Dask cluster: ``kit.run(..., on=client)``.

The client does what it does in a run on one machine: it plans, waits at the gate, reserves money, writes intents and
outcomes, and retries. Only sending is done elsewhere: ``crew`` hands requests to workers and collects the responses,
``part`` runs in the workers' processes, ``link`` is the only file that knows Dask.
"""

from llmkit.cluster.crew import Crew
from llmkit.cluster.link import Link

__all__ = ["Crew", "Link"]
