"""A process that has imported everything once and forks a child for each job, so that a hundred kills are affordable.

Reads one JSON job a line from standard input, forks, and answers with the child's process id. A child writes what it
lives to see to the job's ``log``, one unbuffered line each: that is what counts as acknowledged.
"""

import json
import os
import signal
import sys
import warnings

import llmkit
from llmkit.transport import RetryPolicy


class Remote:
    """A simulator that lives in another process."""

    def __init__(self, urls):
        self.urls = urls

    def url_for(self, provider):
        """Where it serves a provider."""
        return self.urls[provider]

    def close(self):
        """It is not ours to close."""


def work(job):
    """Run or resume, and log every answer when it is acknowledged, and the end."""
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def say(line):
        os.write(log, (line + "\n").encode())

    def listen(event):
        if event.kind == "answered":
            say(f"answered {event.probe_id} {event.turn}")

    kit = llmkit.open(job["path"], simulate=True)
    kit.use_simulator(Remote(job["urls"]))
    policy = RetryPolicy(**job.get("retry", {"scale": 0.001}))
    if job.get("resume"):
        handle = kit.resume(job["resume"], on_event=listen)
    else:
        handle = kit.run(
            [f"question {n}" for n in range(job["prompts"])],
            job["models"],
            samples=job.get("samples", 1),
            followups=job.get("followups"),
            max_tokens=60,
            retry=policy,
            on_event=listen,
        )
    say(f"run {handle.run_id}")
    try:
        run = handle.result()
    except llmkit.LlmkitError as error:
        say(f"error {error.code} {error}")
        return
    say(f"end {run.status}")


def main():
    """Fork for each line."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the dead
    warnings.simplefilter("ignore")
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                work(json.loads(line))
            finally:
                os._exit(0)
        print(child, flush=True)


if __name__ == "__main__":
    main()
