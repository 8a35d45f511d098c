"""Runs whose requests are sent by the workers of a Dask cluster: ``kit.run(..., on=client)``.

The client stays what it is in a run on one machine: it plans, waits at the gate, reserves money, writes intents and
outcomes, retries. Only the sending is done elsewhere: ``crew`` hands requests to workers and takes what comes back,
``part`` is what happens in a worker's process, ``link`` is the only file that knows Dask.
"""

from llmkit.cluster.crew import Crew
from llmkit.cluster.link import Link

__all__ = ["Crew", "Link"]
