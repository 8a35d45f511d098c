"""Child processes at work on a catalog, and waiting for what happens in them."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

from llmkit.catalog import load_seed

PROVIDERS = tuple(load_seed().providers)


class Child:
    """A forked process at work."""

    def __init__(self, pid, log):
        self.pid, self.log = pid, log

    def lines(self):
        """What it has logged; a kill may cut the last line."""
        text = self.log.read_text() if self.log.exists() else ""
        return text[: text.rfind("\n") + 1].splitlines()

    def answered(self):
        """The (probe, turn) pairs that it has acknowledged."""
        return [tuple(line.split()[1:3]) for line in self.lines() if line.startswith("answered ")]

    def run_id(self):
        """Its run, once it has said so."""
        return next((line.split()[1] for line in self.lines() if line.startswith("run ")), None)

    def ended(self):
        """How it says that it ended; ``None`` while it has not."""
        return next((line for line in self.lines() if line.startswith(("end ", "error ", "crash "))), None)

    def count(self, word):
        """How many lines begin with a word."""
        return sum(line.split()[0] == word for line in self.lines())

    def alive(self):
        """Whether the process is there."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def kill(self):
        """SIGKILL: no handler, no flush, no goodbye."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def interrupt(self):
        """SIGINT: Ctrl-C."""
        os.kill(self.pid, signal.SIGINT)

    def stop(self):
        """SIGTERM: it finishes what it is writing, and ends."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        self.wait()

    def wait(self, timeout=120):
        """Return when the process is gone."""
        try:
            waiting = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            assert select.select([waiting], [], [], timeout)[0], f"process {self.pid} does not end"
        finally:
            os.close(waiting)


class Zygote:
    """The process that forks children."""

    def __init__(self, folder, sim):
        self.folder, self.sim, self.count = folder, sim, 0
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("zygote.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "LLMKIT_CONFIG_DIR": str(folder / "config")},
        )
        assert self.process.stdout.readline() == "ready\n"

    def start(self, path, **job):
        """Fork a child that works on the catalog at ``path``."""
        self.count += 1
        log = self.folder / f"child-{self.count}.log"
        urls = {name: self.sim.url_for(name) for name in PROVIDERS}
        self.process.stdin.write(json.dumps({"path": str(path), "log": str(log), "urls": urls, **job}) + "\n")
        self.process.stdin.flush()
        return Child(int(self.process.stdout.readline()), log)

    def close(self):
        """End it."""
        self.process.stdin.close()
        self.process.wait(timeout=60)
        self.process.stdout.close()


class Scripts:
    """An interpreter that forks for each script: to start it and import everything takes longer than most of them."""

    def __init__(self, folder, **environment):
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("script_server.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
        )

    def start(self, script, *arguments, **environment):
        """Run a script with these arguments; returns it as a process whose log is what it prints."""
        job = {
            "script": script,
            "arguments": [str(argument) for argument in arguments],
            "environment": {**os.environ, **environment},
            "out": str(self.folder / "out"),
            "err": str(self.folder / "err"),
        }
        (self.folder / "out").unlink(missing_ok=True)
        self._process.stdin.write(json.dumps(job).encode() + b"\n")
        self._process.stdin.flush()
        return Child(int(self._answer(60)), self.folder / "out")

    def end(self, timeout=120):
        """When the script is over: its exit code, what it printed, and its standard error."""
        code = int(self._answer(timeout))
        return code, *((self.folder / name).read_text() for name in ("out", "err"))

    def run(self, script, *arguments, **environment):
        """Run a script to its end; see ``end``."""
        self.start(script, *arguments, **environment)
        return self.end()

    def _answer(self, timeout):
        assert select.select([self._process.stdout], [], [], timeout)[0], "the script does not end"
        return self._process.stdout.readline()

    def close(self):
        """End it."""
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()
