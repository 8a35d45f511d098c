import os
import subprocess
import sys

import pytest
from waiting import until

EDITORS = 3
WHO = """
import llmkit, sys
kit = llmkit.open(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
if sys.argv[2] == "reader":
    print(kit.sql("SELECT count(*) AS n FROM system_settings WHERE key LIKE 'editor%'")["n"].item())
else:
    kit.catalog.set_setting(sys.argv[2], 1)
"""


def waiting(path):
    """How many processes wait for a lock on the catalog."""
    inodes = {str(os.stat(each).st_ino) for each in path.parent.glob("*.lock")}
    with open("/proc/locks") as locks:
        return sum("-> FLOCK" in line and line.split()[6].split(":")[2] in inodes for line in locks)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says who waits for a lock")
def test_a_reader_does_not_wait_for_those_who_wait_to_edit(kit):
    """Who comes last to read, while three wait to edit the catalog, is let in before them."""
    path = kit._store.path

    def start(who):
        command = [sys.executable, "-c", WHO, path, who]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert child.stdout.readline() == "ready\n"
        return child

    editors = [start(f"editor{n}") for n in range(EDITORS)]
    reader = start("reader")
    kit.catalog.set_setting("news", 1)  # nobody waits to read what they know
    with kit._store.edit():
        for number, child in enumerate([*editors, reader], 1):
            child.stdin.write("\n")
            child.stdin.flush()
            assert until(lambda number=number: waiting(path) == number)
    assert reader.communicate(timeout=60)[0] == "0\n"
    for child in editors:
        child.communicate(timeout=60)
        assert child.returncode == 0
