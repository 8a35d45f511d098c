"""Processes killed while they open, rebuild or edit a catalog: it opens, and what was acknowledged is there."""

import random
import shutil
import time

import pytest
from children import until

import llmkit
from llmkit.store import compaction
from llmkit.store.packs import Pack

WORK = """
import sys
from pathlib import Path
import llmkit
from llmkit.store import Store, compaction
compaction.MANY = 2
path, what, first = sys.argv[1], sys.argv[2], int(sys.argv[3])
if what != "compaction":
    print("begin", flush=True)
with llmkit.open(path, simulate=True) as kit:
    assert len(kit.catalog.models()) > 5
    number = first
    while what == "edit":
        kit.catalog.set_setting("number", number)
        print(number, flush=True)
        number += 1
print("begin", flush=True)
while what == "compaction":
    store = Store(Path(path))
    with store.edit() as edit:
        edit.put_setting("number", number)
    print(number, flush=True)
    store.close()
    number += 1
"""
KILLS = [4, pytest.param(40, marks=pytest.mark.soak)]


def killed(scripts, path, what, first, after):
    """The last edit that a process acknowledged before it was killed, so many seconds after it began."""
    child = scripts.start(WORK, path, what, first)
    assert until(lambda: "begin" in child.lines())
    time.sleep(after)
    child.kill()
    scripts.end()
    return [int(line) for line in child.lines() if line != "begin"]


def has_twice(path):
    """Whether a pack was made whose segments were not all removed yet."""
    files = list(path.parent.glob("*.journal/*.jsonl"))
    return any(file.name in Pack(pack).places for pack in path.parent.glob("*.journal/*.pack") for file in files)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", ["first open", "rebuild", "edit", "compaction"])
@pytest.mark.parametrize("kills", KILLS)
def test_a_killed_process_leaves_a_catalog_that_opens(scripts, loose_catalog, tmp_path, monkeypatch, what, kills):
    """At whatever moment: every model is there, and the number is that of the last edit or the one on its way."""
    chance, path, saved = random.Random(kills), tmp_path / "c" / "k.duckdb", -1
    whole = llmkit.open(loose_catalog / "k.duckdb", simulate=True)
    models = len(whole.catalog.models())
    whole.close()
    edits_go_on = what in ("edit", "compaction")
    if what != "first open":
        shutil.copytree(loose_catalog, path.parent)
    cut_short = 0
    for _ in range(kills):
        if what == "first open":
            shutil.rmtree(path.parent, ignore_errors=True)
        elif what == "rebuild":
            path.unlink(missing_ok=True)
        edits = killed(scripts, path, what, saved + 1, after=chance.uniform(0, 3 if edits_go_on else 1.5))
        cut_short += any(path.parent.glob("*.journal/*.unfinished")) or has_twice(path)
        with llmkit.open(path, simulate=True) as kit:
            assert len(kit.catalog.models()) == models
            if edits_go_on:
                last = max([saved, *edits])
                found = kit.catalog.get_setting("number") if "number" in set(kit.catalog.settings()["key"]) else -1
                assert last <= found <= last + 1
                saved = found
    if what == "compaction":
        monkeypatch.setattr(compaction, "MANY", 0)
        llmkit.open(path, simulate=True).close()
        path.unlink()
        with llmkit.open(path, simulate=True) as kit:
            assert kit.catalog.get_setting("number") == saved
            assert any(path.parent.glob("*.journal/*.pack"))
    print(f"{kills} kills over {what}: 0 violations, {saved + 1} edits, {cut_short} packs half made")
