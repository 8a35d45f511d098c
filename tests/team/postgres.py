"""A PostgreSQL server of the tests' own: Debian's package, started in a temporary folder, reached on loopback only."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path

import psycopg
from waiting import until

PASSWORD = "geheim/4711"
_QUOTED = "geheim%2F4711"


def programs():
    """The folder of the server's programs; ``None`` where it is not installed."""
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    place = newest[-1] if newest else shutil.which("initdb")
    return place and Path(place).parent


def free_port():
    """A port that stays free while the server is stopped: none that the system gives to connections."""
    while True:
        port = random.SystemRandom().randrange(20_000, 30_000)
        with contextlib.suppress(OSError), socket.socket() as free:
            free.bind(("127.0.0.1", port))
            return port


def _answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True


def _signal(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _passed(source, target, rate):
    with contextlib.suppress(OSError), source:
        while data := source.recv(1 << 16):
            threading.Event().wait(len(data) / rate)
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def slow_link(url, rate):
    """A link to a database on this machine that passes on so many bytes a second, for one session; yields its URL."""
    port = url.rpartition(":")[2].partition("/")[0]

    def link():
        ends = listening.accept()[0], socket.create_connection(("127.0.0.1", int(port)))
        for source, target in (ends, ends[::-1]):
            threading.Thread(target=_passed, args=(source, target, rate), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=link, daemon=True).start()
        yield url.replace(f":{port}/", f":{listening.getsockname()[1]}/")


class Server:
    """The server; it can be stopped and started again."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="llmkit-postgres-"))
        self._as = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
        if self._as:  # the server refuses to run as root
            shutil.chown(self.folder, "postgres", "postgres")
        self.port = free_port()
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        how = ["-U", "lab", "-A", "scram-sha-256", "--pwfile", str(password), "-N", "-E", "UTF8", "--no-locale"]
        self._run("initdb", "-D", str(self.folder / "data"), *how)
        self.start()

    def _run(self, program, *args):
        subprocess.run(
            [programs() / program, *args], check=True, timeout=60, stdout=subprocess.DEVNULL, cwd="/", **self._as
        )

    @contextlib.contextmanager
    def pooled(self, url, mode):
        """PgBouncer in front of a database, with fewer sessions than members need; yields the URL there."""
        port, folder = free_port(), Path(tempfile.mkdtemp(prefix="llmkit-pgbouncer-"))
        (folder / "users").write_text(f'"lab" "{PASSWORD}"')
        (folder / "settings").write_text(f"""
            [databases]
            * = host=127.0.0.1 port={self.port}
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {port}
            unix_socket_dir =
            auth_type = scram-sha-256
            auth_file = {folder}/users
            pool_mode = {mode}
            default_pool_size = {3 if mode == "transaction" else 9}""")
        if self._as:
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, "postgres", "postgres")
        command = [shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin"), "-q", folder / "settings"]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, **self._as) as pooler:
            try:
                assert until(lambda: _answers(port))
                yield url.replace(f":{self.port}/", f":{port}/")
            finally:
                pooler.kill()
                shutil.rmtree(folder)

    def start(self):
        """Have it answer."""
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run(
            "pg_ctl", "-D", str(self.folder / "data"), "-o", options, "-l", str(self.folder / "log"), "-w", "start"
        )

    def stop(self):
        """End it, with all sessions."""
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "fast", "-w", "stop")

    @contextlib.contextmanager
    def hanging(self):
        """Have it say nothing, with its connections open; for half a minute at most, so that a test ends."""
        with psycopg.connect(self.url("postgres")) as session:
            rows = session.execute("SELECT pid FROM pg_stat_activity WHERE pid != pg_backend_pid()").fetchall()
        pids = [int((self.folder / "data" / "postmaster.pid").read_text().split()[0]), *(pid for (pid,) in rows)]
        end = threading.Timer(30, _signal, [pids, signal.SIGCONT])
        end.start()
        _signal(pids, signal.SIGSTOP)
        try:
            yield
        finally:
            end.cancel()
            _signal(pids, signal.SIGCONT)

    def database(self, name):
        """A new database; returns its URL."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as session:
            session.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def drop(self, url):
        """Drop the database at a URL, with all sessions there."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as session:
            session.execute(f'DROP DATABASE "{url.rpartition("/")[2]}" WITH (FORCE)')

    def url(self, database):
        """Where a database is."""
        return f"postgresql://lab:{_QUOTED}@127.0.0.1:{self.port}/{database}"

    def log(self):
        """What the server has written down."""
        return (self.folder / "log").read_text()

    def close(self):
        """End it, and leave nothing behind."""
        if (self.folder / "data" / "postmaster.pid").exists():
            self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)
