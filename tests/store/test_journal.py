"""The journal: what is acknowledged is on the disk, whatever happens next."""

import asyncio
import json
import os
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.errors import JournalError
from llmkit.store.journal import Journal
from llmkit.store.lines import loads, verified
from llmkit.store.segments import segment


def events(journal: Journal) -> list[dict]:
    """All events that a reader sees, in the order of their ids."""
    names = journal.sizes()
    lines = [line for name in names for block in journal.blocks(segment(name), 0, 1_000) for line in block.lines]
    found = [loads(line) for line in lines if verified(line)]
    return sorted((event for event in found if event["type"] != "segment"), key=lambda event: event["id"])


def test_acknowledged_events_are_read_back_in_order(tmp_path):
    """Events come back in the order in which they were given, by whatever thread."""
    journal = Journal(tmp_path / "j")

    def write(number: int) -> None:
        for index in range(50):
            journal.commit([{"type": "t", "thread": number, "index": index}])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = events(journal)
    assert len(found) == 200
    assert [event["id"] for event in found] == sorted({event["id"] for event in found})
    for number in range(4):
        assert [event["index"] for event in found if event["thread"] == number] == list(range(50))
    journal.close()


@pytest.mark.anyio
async def test_all_that_wait_for_a_commit_hear_of_it(tmp_path):
    """Coroutines and threads alike, of what is written and of what cannot be; one that was cancelled holds none up."""
    for directory, wrong in ((tmp_path / "j", None), (tmp_path / "file" / "j", JournalError)):
        (tmp_path / "file").touch()
        journal = Journal(directory)

        async def write(number: int, journal=journal) -> int:
            await journal.append([{"type": "t", "n": number}])
            return number

        tasks = [asyncio.create_task(write(number)) for number in range(20)]
        threads = [asyncio.to_thread(journal.commit, [{"type": "t", "n": number}]) for number in range(20, 25)]
        await asyncio.sleep(0)
        tasks[7].cancel()
        ends = await asyncio.gather(*tasks, *threads, return_exceptions=True)
        assert isinstance(ends.pop(7), asyncio.CancelledError)
        journal.close()
        if wrong is None:
            assert ends == [*(n for n in range(20) if n != 7), *[None] * 5]
            assert sorted(event["n"] for event in events(journal)) == list(range(25))
        else:
            assert {type(end) for end in ends} == {wrong}


def test_a_torn_last_line_is_ignored_and_counted_once_whole(tmp_path):
    """Half a line, as a crash leaves it, is not an event; the lines before it are."""
    journal = Journal(tmp_path / "j")
    journal.commit([{"type": "t", "n": 1}, {"type": "t", "n": 2}])
    journal.close()
    (file,) = (tmp_path / "j").glob("*.jsonl")
    whole = file.read_bytes()
    for cut in range(len(whole)):
        file.write_bytes(whole[:cut])
        assert [event["n"] for event in events(journal)] == [1, 2][: max(0, whole[:cut].count(b"\n") - 1)]


def test_a_damaged_line_costs_only_itself(tmp_path):
    """A line that is no JSON, or whose checksum fails, is skipped; what follows is read."""
    journal = Journal(tmp_path / "j")
    journal.commit([{"type": "t", "n": n} for n in range(3)])
    journal.close()
    (file,) = (tmp_path / "j").glob("*.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    for damaged in (b"\x00garbage\n", lines[2].replace(b'"n":1', b'"n":7')):
        file.write_bytes(lines[0] + lines[1] + damaged + lines[3])
        assert [event["n"] for event in events(journal)] == [0, 2]


@given(text=st.text(st.characters()))
def test_any_text_survives(tmp_path_factory, text):
    """Prompts and answers may hold any character, lone surrogates and line ends included."""
    journal = Journal(tmp_path_factory.mktemp("j"))
    journal.commit([{"type": "t", "text": text}])
    journal.close()
    assert events(journal)[0]["text"] == text


def test_segments_of_several_processes_are_merged_by_time(python, tmp_path):
    """Each process writes a segment of its own; reading puts them in one order."""
    program = (
        "import sys; from pathlib import Path; from llmkit.store.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for n in range(20): journal.commit([{'type': 't', 'who': sys.argv[2], 'n': n}])\n"
    )
    children = [subprocess.Popen([*python, "-c", program, str(tmp_path / "j"), who]) for who in "ab"]
    assert [child.wait(60) for child in children] == [0, 0]
    found = events(Journal(tmp_path / "j"))
    assert len(list((tmp_path / "j").glob("*.jsonl"))) == 2
    assert len(found) == 40
    assert [event["id"] for event in found] == sorted(event["id"] for event in found)


def test_files_are_for_this_user_only(tmp_path):
    """Answers may be private: the folder is 0700, its files 0600."""
    journal = Journal(tmp_path / "j")
    journal.commit([{"type": "t"}])
    journal.close()
    assert (tmp_path / "j").stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "j").iterdir()} == {0o600}


def test_a_forked_child_writes_its_own_segment(tmp_path):
    """After a fork the child neither writes into its parent's segment nor waits for its parent's thread."""
    journal = Journal(tmp_path / "j")
    journal.commit([{"type": "t", "who": "parent"}])
    child = os.fork()
    if child == 0:
        journal.commit([{"type": "t", "who": "child"}])
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    journal.commit([{"type": "t", "who": "parent"}])
    journal.close()
    by_segment = [
        {json.loads(line)["who"] for line in file.read_text().splitlines()[1:]}
        for file in (tmp_path / "j").glob("*.jsonl")
    ]
    assert sorted(map(sorted, by_segment)) == [["child"], ["parent"]]


@pytest.mark.parametrize("about", [{}, {"run_id": "r1"}])
@pytest.mark.parametrize("lose", ["moved", "deleted", "deleted with its folder"])
def test_a_segment_that_is_gone_while_it_is_written_is_said(tmp_path, lose, about):
    """The system would let it be written on; but nothing is acknowledged that nobody could read. What was acknowledged
    before is there again if it was deleted, and so is what was paid for, though not an edit.
    """
    journal = Journal(tmp_path / "j")
    journal.commit([{"type": "t", "n": 1, **about}])
    (file,) = (tmp_path / "j").glob("*.jsonl")
    if lose == "moved":
        file.rename(file.with_suffix(".moved"))
    else:
        file.unlink()
    if lose == "deleted with its folder":
        file.parent.rmdir()
    with pytest.raises(JournalError, match="was moved or deleted while it was being written"):
        journal.commit([{"type": "t", "n": 2, **about}])
    journal.commit([{"type": "t", "n": 3, **about}])
    journal.close()
    assert [event["n"] for event in events(journal)] == ([3] if lose == "moved" else [1, 2, 3] if about else [1, 3])


def test_what_only_has_the_name_of_a_segment_hides_none(tmp_path):
    """A folder, and a link to what is not there, as copying a journal may leave them."""
    journal = Journal(tmp_path / "j")
    journal.commit([{"type": "t", "n": 1}])
    (tmp_path / "j" / "folder.jsonl").mkdir()
    (tmp_path / "j" / "link.jsonl").symlink_to(tmp_path / "nowhere")
    journal.commit([{"type": "t", "n": 2}])
    journal.close()
    assert [event["n"] for event in events(journal)] == [1, 2]


def test_a_folder_that_cannot_be_written_is_said_in_a_sentence(tmp_path):
    """The error names the folder and what to do; nothing is acknowledged."""
    (tmp_path / "j").write_text("a file where the folder should be")
    journal = Journal(tmp_path / "j")
    with pytest.raises(JournalError, match=r"cannot be written.*everything acknowledged so far is saved"):
        journal.commit([{"type": "t"}])
    journal.close()


@pytest.mark.skipif(not Path("/dev/full").exists() or os.geteuid() != 0, reason="needs Linux and root to mount")
def test_a_full_disk_loses_nothing_acknowledged(tmp_path):
    """When the disk fills up, writing fails with a sentence, and all that was acknowledged before is there."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("tmpfs cannot be mounted here")
    try:
        journal, acknowledged = Journal(folder / "j"), 0
        with pytest.raises(JournalError, match="No space left"):
            for n in range(10_000):
                journal.commit([{"type": "t", "n": n, "fill": "x" * 1000}])
                acknowledged = n + 1
        assert acknowledged > 50
        assert [event["n"] for event in events(journal)] == list(range(acknowledged))
        journal.close()
    finally:
        subprocess.run(["umount", folder], check=True)
