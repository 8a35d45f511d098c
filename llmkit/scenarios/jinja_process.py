"""The process that templates in Jinja2 are read and filled in, since one may loop for ever or fill the memory.

Run as a script, this reads requests and writes replies, a JSON line each; it imports nothing of llmkit.
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
"""Characters that a template may make."""
MEMORY = 256 * 2**20
"""Bytes that the process may have; it needs a tenth of them (where the system can limit them)."""
TIME = 1.5
"""Seconds that one text may take; an honest one takes a thousandth."""
START = 60.0
"""Seconds that the process may take to start on a machine that has much to do."""


_NO_PROCESS = "Python cannot be started a second time, which templates are filled in"


class TemplateProblem(Exception):
    """What is wrong with a template, in a sentence."""


def ask(source: str, variables: dict[str, Any] | None) -> Any:
    """The text that a template makes of its variables; without any, the names that it needs, in a list.

    Raises:
        TemplateProblem: it cannot be read or filled, or takes too much time or memory.
    """
    with _lock:
        process = _running()
        reply = _exchange(process, json.dumps([source, variables]), TIME)
        if not reply:
            _end()
            raise TemplateProblem(f"it takes more than {TIME:g} seconds, or too much memory")
    told = json.loads(reply)
    if "problem" in told:
        raise TemplateProblem(told["problem"])
    return told["is"]


_lock = threading.Lock()
_process: subprocess.Popen[str] | None = None
_pid = 0


def _running() -> subprocess.Popen[str]:
    global _process, _pid
    if _process is None or _pid != os.getpid():  # a forked child has its parent's
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
    """The reply to a request; empty when the process has died, or was ended since it took too long."""
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
        return {"is": text} if len(text) <= LONGEST else {"problem": f"it makes more than {LONGEST:,} characters"}
    except MemoryError:
        return {"problem": "it takes too much memory"}
    except RecursionError:
        return {"problem": "it calls itself without end"}
    except Exception as error:  # noqa: BLE001 - what Jinja2 raises, and what Python raises in an expression of a template
        return {"problem": str(error)[:500]}


@lru_cache(maxsize=64)
def _template(source: str) -> Any:
    return _environment().from_string(source)


@lru_cache(maxsize=1)
def _environment() -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    del environment.globals["lipsum"], environment.filters["random"]  # neither can be repeated
    return environment


if __name__ == "__main__":
    _serve()
