"""A Python that has imported what most scripts import, which takes seconds, and forks for each of them.

Listens at the socket that it is given, until its standard input ends. ``launcher.py`` brings a script's command line,
environment, folder and standard files; it is told the process id, and at the end the exit code. When the launcher is
killed, so is the script.
"""

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import sys

import anyio._backends._asyncio  # noqa: F401 - what is imported when something is first asked, and a simulator started
import ipykernel.kernelapp  # noqa: F401
import pyarrow  # noqa: F401

import llmkit.kit.engine
import llmkit.providers.transport.client
import llmkit.simulator.handler  # noqa: F401


def next_job(path):
    """In a child: its job and its standard files. In the parent: ``None``, when there are no more."""
    with socket.socket(socket.AF_UNIX) as listener, selectors.DefaultSelector() as waiting:
        listener.bind(path)
        listener.listen(64)
        for file in (listener, sys.stdin):
            waiting.register(file, selectors.EVENT_READ)
        print("ready", flush=True)
        while True:
            for key, _ in waiting.select():
                if key.fileobj is sys.stdin:
                    return None
                if key.fileobj is listener:
                    if job := fork(listener, waiting):
                        return job
                elif isinstance(key.fileobj, int):
                    report(key, waiting)
                elif key.fileobj.fileno() >= 0:  # its launcher is gone
                    waiting.unregister(key.fileobj)
                    os.kill(key.data, signal.SIGKILL)


def fork(listener, waiting):
    """In the child: its job and its standard files. In the parent: ``None``."""
    connection = listener.accept()[0]
    _, files, *_ = socket.recv_fds(connection, 1, 3)
    job = json.loads(connection.makefile().readline())
    child = os.fork()
    if child == 0:
        connection.close()
        for file in [key.fileobj for key in waiting.get_map().values() if key.fileobj is not sys.stdin]:
            os.close(file) if isinstance(file, int) else file.close()
        return job, files
    for file in files:
        os.close(file)
    connection.sendall(b"%d\n" % child)
    waiting.register(os.pidfd_open(child), selectors.EVENT_READ, (child, connection))
    waiting.register(connection, selectors.EVENT_READ, child)
    return None


def report(key, waiting):
    """Tell a child's launcher how it ended."""
    child, connection = key.data
    waiting.unregister(key.fileobj)
    os.close(key.fileobj)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(KeyError):
        waiting.unregister(connection)
    with contextlib.suppress(OSError):
        connection.sendall(b"%d\n" % code)
    connection.close()


gc.freeze()
if taken := next_job(sys.argv[1]):
    job, files = taken
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(job["environment"])
    os.chdir(job["folder"])
    option, script, *arguments = job["command"]
    assert option == "-c", option
    sys.argv, sys.path[0] = ["-c", *arguments], ""
    exec(compile(script, "<string>", "exec"))  # in this module, whose names live until the interpreter ends
