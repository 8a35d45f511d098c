"""A process that has imported everything once and forks a child for each job, so that a hundred kills are affordable.

Reads one JSON job a line from standard input, forks, and answers with the child's process id. A child writes what it
lives to see to the job's ``log``, one unbuffered line each: that is what counts as acknowledged.
"""

import gc
import itertools
import json
import os
import resource
import signal
import sys
import threading
import time
import traceback
import warnings

import anyio

import llmkit
from llmkit.providers.transport import RetryPolicy
from llmkit.runs import background

stopped = threading.Event()


class Remote:
    """A simulator that lives in another process."""

    def __init__(self, urls):
        self.urls = urls

    def url_for(self, provider):
        """Where it serves a provider."""
        return self.urls[provider]

    def close(self):
        """It is not ours to close."""


def run(job, kit, say):
    """Run or resume, and log every answer when it is acknowledged, and the end."""

    def listen(event):
        if event.kind == "answered":
            say(f"answered {event.probe_id} {event.turn}")

    kit.use_simulator(Remote(job["urls"]))
    watch = Watch() if job.get("watch") else None
    try:
        handle = start(job, kit, listen)
        say(f"run {handle.run_id}")
        threading.Thread(target=lambda: stopped.wait() and handle.cancel(), daemon=True).start()
        finished = wait(handle, say)
    except llmkit.LlmkitError as error:
        say(f"error {type(error).__name__} {error}")
        return
    if watch is not None:
        say(f"watched {json.dumps(watch.figures())}")
    say(f"end {finished.status}")


def start(job, kit, listen):
    """The handle of a new run or of one that is taken up again."""
    if job.get("resume"):
        return kit.resume(job["resume"], on_event=listen)
    return kit.run(
        [f"question {n}" for n in range(job["prompts"])],
        job["models"],
        samples=job.get("samples", 1),
        followups=job.get("followups"),
        reuse=job.get("reuse", False),
        mode=job.get("mode", "live"),
        budget=job.get("budget"),
        options=job.get("options"),
        max_tokens=60,
        retry=RetryPolicy(**job.get("retry", {"scale": 0.001})),
        on_event=listen,
    )


def wait(handle, say):
    """The run's result; Ctrl-C while waiting is logged."""
    try:
        return handle.result()
    except KeyboardInterrupt:
        say("interrupted")
        raise
    finally:
        say(f"status {handle.status}")


class Watch:
    """Looks at the background loop every 5 ms: how late it is, and how many tasks it has. Counts what is left to
    garbage collections.
    """

    def __init__(self):
        self.lags, self.tasks, self.garbage = [], 0, 0
        gc.collect()
        gc.callbacks.append(self._count)
        background.start(self._look)

    def _count(self, phase, info):
        if phase == "stop":
            self.garbage += info["collected"]

    async def _look(self):
        while True:
            before = time.perf_counter()
            await anyio.sleep(0.005)
            self.lags.append(time.perf_counter() - before - 0.005)
            self.tasks = max(self.tasks, len(anyio.get_running_tasks()))

    def figures(self):
        """Milliseconds, numbers and MiB."""
        lags = sorted(self.lags)
        gc.collect()
        return {
            "longest_ms": round(1000 * lags[-1], 1),
            "p999_ms": round(1000 * lags[int(0.999 * len(lags))], 1),
            "looks": len(lags),
            "tasks": self.tasks,
            "garbage": self.garbage,
            "rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }


def edit(job, kit, say):
    """Change one field of one model again and again, and read in between; log each change when it is acknowledged."""
    numbers = itertools.count(1)
    while not stopped.is_set():
        number = next(numbers)
        kit.catalog.update_model(job["model"], **{job["field"]: number})
        say(f"edited {number}")
        kit.catalog.model(job["model"])
        say("read")


def read(job, kit, say):
    """Read providers, models and settings again and again, and every tenth time the history and the runs as well."""
    often = [kit.catalog.providers, kit.catalog.models, kit.catalog.settings]
    seldom = [lambda: kit.catalog.history(job["model"]), kit.runs]
    numbers = itertools.count(1)
    while not stopped.is_set():
        for question in often if next(numbers) % 10 else often + seldom:
            question()
            say("read")


def work(job):
    """Do a job until it is over or the time is up."""
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def say(line):
        os.write(log, (line.replace("\n", " ") + "\n").encode())

    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    if "files" in job:
        resource.setrlimit(resource.RLIMIT_NOFILE, (job["files"], resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    try:
        with llmkit.open(job["path"], simulate=True) as kit:
            {"run": run, "edit": edit, "read": read}[job.get("kind", "run")](job, kit, say)
            say("closed")
    except KeyboardInterrupt:
        say("end interrupted")
    except BaseException:
        say(f"crash {traceback.format_exc()}")
        raise


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
