"""Another kernel on the same catalog: asks in a loop, or holds a slot until it is killed. Prints JSON lines."""

import json
import sys
import time
from pathlib import Path

import anyio

from llmkit.limiter import Gate
from llmkit.limiter.pace import Limits


async def main(directory, parallel, rpm, count, seconds):
    """So many requests of so many seconds; prints when each one began and ended."""
    gate = Gate(Path(directory))
    gate.queue("p").set_limits(Limits(int(parallel), int(rpm)))
    print(json.dumps("ready"), flush=True)
    sys.stdin.readline()

    async def one():
        async with gate.admit("p", run_id=str(id(gate)), model="p:m") as admission:
            began = time.time()
            print(json.dumps(["began", admission.started_at, began]), flush=True)
            await anyio.sleep(float(seconds))
            admission.settle(tokens=None, cost=None, ok=True)
            print(json.dumps(["ended", began, time.time()]), flush=True)

    async with anyio.create_task_group() as tasks:
        for _ in range(int(count)):
            tasks.start_soon(one)


if __name__ == "__main__":
    anyio.run(main, *sys.argv[1:])
