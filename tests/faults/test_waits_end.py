"""Waits for a thread, a disk or a lock: each ends, with a sentence where what is waited for does not come."""

import subprocess
import sys
import threading

import pytest

from llmkit.errors import CatalogBusy, JournalError, LlmkitError
from llmkit.store import commit, locks
from llmkit.store.journal import Journal


class Deadly(dict):
    """An event that ends the thread that writes it."""

    def items(self):
        """Not an ``Exception``, which the writer survives."""
        raise SystemExit


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_end_of_the_writer_wakes_all_who_wait_for_it(tmp_path):
    """Those of whose lines nothing is on the disk are told so, and the next event has another writer."""
    journal = Journal(tmp_path / "j")
    commits = [journal.append([each]) for each in (Deadly(type="t", run_id="r"), {"type": "t", "run_id": "s"})]
    for each in commits:
        with pytest.raises(JournalError, match="was not written: its thread has ended"):
            each.result()
    journal.commit([{"type": "t", "n": 1}])
    journal.close()
    assert sum(file.read_bytes().count(b'"n":1') for file in (tmp_path / "j").glob("*.jsonl")) == 1


def test_a_disk_that_does_not_answer_is_waited_for_with_an_end(monkeypatch):
    """Whoever holds a lock meanwhile lets it go, and says that what was on its way may still be saved."""
    monkeypatch.setattr(commit, "DISK", 0.05)
    with pytest.raises(JournalError, match="check before you repeat it"):
        commit.Commit("a run").result()


def test_a_thread_that_keeps_the_catalog_does_not_keep_others_for_ever(kit, monkeypatch):
    """They are told that it is busy; once it is free they go on."""
    monkeypatch.setattr(locks, "AT_MOST", 0.05)
    refused = []

    def edit():
        try:
            kit.catalog.set_setting("note", 1)
        except CatalogBusy as error:
            refused.append(str(error))

    with kit._store.edit():
        other = threading.Thread(target=edit)
        other.start()
        other.join(30)
    assert ["Another thread of this process has held the catalog" in each for each in refused] == [True]
    kit.catalog.set_setting("note", 2)


def test_a_listener_that_waits_for_its_own_run_is_refused(kit):
    """It would wait for ever, and the run with it."""
    told, handles = [], []

    def listen(event):
        if event.kind == "answered":
            try:
                handles[0].result()
            except LlmkitError as error:
                told.append(str(error))

    handles.append(kit.run("q", "openai:gpt-6-luna", on_event=listen))
    assert handles[0].result(60).status == "completed"
    assert told == ["A listener cannot wait for the run that calls it. Wait where the handle was created."]


FEW_FILES = """
import os, resource, sys, llmkit
from llmkit.runs import background
async def answer(): return 42
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
files = []
try:
    while True:
        files.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
try:
    background.start(answer)
except llmkit.LlmkitError as error:
    print(error)
for file in files:
    os.close(file)
print(background.start(answer).result(30))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_process_without_files_for_an_event_loop_says_so():
    """It does not wait for a thread that could not begin; with files again, it has one."""
    ended = subprocess.run([sys.executable, "-c", FEW_FILES], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    refusal, answer = ended.stdout.splitlines()
    assert "Too many open files" in refusal
    assert answer == "42"
