"""A Python that has imported everything once and forks for each script, which ends as one that was started for it.

Reads one JSON job a line from standard input, and answers with the child's process id and, when it is over, its exit
code. One at a time.
"""

import json
import os
import sys

import anyio._backends._asyncio  # noqa: F401 - what is imported when something is first asked, and a simulator started

import llmkit.kit.engine
import llmkit.providers.transport.client
import llmkit.simulator.handler  # noqa: F401


def next_job():
    """In the child: its job. In the parent: ``None``, when there are no more."""
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            return json.loads(line)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    return None


if job := next_job():
    for number, name in enumerate((os.devnull, job["out"], job["err"])):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), number)
    os.environ.clear()
    os.environ.update(job["environment"])
    sys.argv = ["-c", *job["arguments"]]
    exec(compile(job["script"], "<string>", "exec"))  # in this module, whose names live until the interpreter ends
