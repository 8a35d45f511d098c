"""The subprocess that parses and fills a Jinja2 template, because one may loop forever or exhaust the memory.

Run as a script, this module reads the template and what to fill in as JSON lines, and writes replies as JSON lines; it
imports nothing from llmkit.
"""

from __future__ import annotations

import faulthandler
import itertools
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
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


class TemplateProblem(Exception):
    """A problem with a template, as a sentence."""


def fill(source: str, fillings: Iterable[dict[str, Any]]) -> Iterator[Any]:
    """The names that a template uses, followed by its text for each set of variables.

    Raises:
        TemplateProblem: instead of the first result that cannot be had, or takes too much time or memory.
    """
    lines = [json.dumps(each) + "\n" for each in (source, *fillings)]
    try:
        done = subprocess.run(
            [sys.executable, "-P", __file__],
            input="".join(lines),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="ascii",
            timeout=START + TIME * len(lines),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        raise TemplateProblem("the Python process that fills templates cannot be started") from None
    for line in done.stdout.splitlines():
        reply = json.loads(line)
        if "problem" in reply:
            raise TemplateProblem(reply["problem"])
        yield reply["is"]
    raise TemplateProblem(f"it takes more than {TIME:g} seconds, or too much memory")


# --- in that process --------------------------------------------------------------------------------------------------


def _serve() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    except (ImportError, ValueError, OSError):  # a system without such limits
        pass
    _environment()  # importing Jinja2 is not the template's time
    source = json.loads(sys.stdin.readline())
    for variables in itertools.chain([None], map(json.loads, sys.stdin)):
        faulthandler.dump_traceback_later(TIME, exit=True)
        reply = _reply(source, variables)
        faulthandler.cancel_dump_traceback_later()
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()
        if "problem" in reply:
            return


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


@lru_cache(maxsize=1)
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
