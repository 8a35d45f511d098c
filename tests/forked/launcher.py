"""Stands in for ``python -c SCRIPT ...`` as a process: the same files, signals and exit code (see ``server.py``)."""

import json
import os
import signal
import socket
import sys

FORWARDED = (signal.SIGINT, signal.SIGTERM)

signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)  # until there is somebody to forward them to
server = socket.socket(socket.AF_UNIX)
server.connect(sys.argv[1])
job = {"command": sys.argv[2:], "environment": dict(os.environ), "folder": os.getcwd()}
socket.send_fds(server, [b"\0"], [0, 1, 2])
server.sendall(json.dumps(job).encode() + b"\n")
answers = server.makefile()
child = int(answers.readline())
for number in (0, 1):
    os.close(number)  # so that its reader, and its writer, notice the script's end
for name in FORWARDED:
    signal.signal(name, lambda number, _: os.kill(child, number))
signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
code = int(answers.readline())
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
