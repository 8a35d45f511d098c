"""The subprocess that parses and fills Jinja2 templates, because one may loop forever or exhaust the memory.

Run as a script, this module reads requests and writes replies as JSON lines; it imports nothing from llmkit.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import subprocess
import sys
import threading
from functools import lru_cache
from typing import Any

LONGEST = 1_000_000
"""The most characters that a template may produce."""
MEMORY = 256 * 2**20
"""The process's memory limit in bytes, ten times what it needs (where the system supports limits)."""
TIME = 1.5
"""Seconds allowed for one text; a benign one takes a thousandth."""
START = 60.0
"""Seconds allowed for the process to start on a busy machine."""


_NO_PROCESS = "the Python process that fills templates cannot be started"


class TemplateProblem(Exception):
    """A problem with a template, as a sentence."""


def ask(source: str, variables: dict[str, Any] | None) -> Any:
    """The text of a template filled with variables; for ``None``, the list of names that it uses.

    Raises:
        TemplateProblem: it cannot be parsed or filled, or takes too much time or memory.
    """
    with _lock:
        process = _running()
        reply = _exchange(process, json.dumps([source, variables]), TIME)
        if not reply:
            _end()
            raise TemplateProblem(f"it takes more than {TIME:g} seconds, or too much memory")
    result = json.loads(reply)
    if "problem" in result:
        raise TemplateProblem(result["problem"])
    return result["is"]


_lock = threading.Lock()
_process: subprocess.Popen[str] | None = None
_pid = 0


def _running() -> subprocess.Popen[str]:
    global _process, _pid
    if _process is None or _pid != os.getpid():  # a forked child inherits its parent's
        _process, _pid = _started(), os.getpid()
        if not _exchange(_process, '["", {}]', START):
            _end()
            raise TemplateProblem(_NO_PROCESS)
    return _process


def _started() -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(
            [sys.executable, "-P", __file__], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, encoding="ascii"
        )
    except OSError:
        raise TemplateProblem(_NO_PROCESS) from None


def _exchange(process: subprocess.Popen[str], request: str, seconds: float) -> str:
    """The reply to a request; empty when the process has died or was killed for taking too long."""
    assert process.stdin is not None
    assert process.stdout is not None
    timer = threading.Timer(seconds, process.kill)
    timer.daemon = True
    timer.start()
    try:
        process.stdin.write(request + "\n")
        process.stdin.flush()
        return process.stdout.readline()
    except OSError:
        return ""
    finally:
        timer.cancel()


def _end() -> None:
    global _process
    if _process is not None and _pid == os.getpid():
        _process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            _process.communicate(timeout=5)
    _process = None


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


# --- in that process --------------------------------------------------------------------------------------------------


def _serve() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    except (ImportError, ValueError, OSError):  # a system without such limits
        pass
    for request in sys.stdin:
        sys.stdout.write(json.dumps(_reply(*json.loads(request))) + "\n")
        sys.stdout.flush()


def _reply(source: str, variables: dict[str, Any] | None) -> dict[str, Any]:
    from jinja2 import meta

    try:
        if variables is None:
            return {"is": sorted(meta.find_undeclared_variables(_environment().parse(source)))}
        text = _template(source).render(variables)
        return {"is": text} if len(text) <= LONGEST else {"problem": f"it produces more than {LONGEST:,} characters"}
    except MemoryError:
        return {"problem": "it takes too much memory"}
    except RecursionError:
        return {"problem": "it recurses infinitely"}
    except Exception as error:  # noqa: BLE001 - errors of Jinja2, and of Python in a template's expressions
        return {"problem": str(error)[:500]}


@lru_cache(maxsize=64)
def _template(source: str) -> Any:
    return _environment().from_string(source)


@lru_cache(maxsize=1)
def _environment() -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    del environment.globals["lipsum"], environment.filters["random"]  # neither is reproducible
    return environment


if __name__ == "__main__":
    _serve()
