"""Processes killed while they open, rebuild or edit a catalog: it opens, and what was acknowledged is there."""

import random
import shutil
import time

import pytest
from waiting import until

import llmkit
from llmkit.store import compaction
from llmkit.store.packs import Pack

WORK = """
import sys
from pathlib import Path
import llmkit
from llmkit.store import Store, compaction
compaction.MANY = 1
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
    print("merging", flush=True)
    store.close()
    print("merged", flush=True)
    number += 1
"""
BALLAST = "x" * 8_000_000
"""A setting that makes merging a journal take a while."""
KILLS = [4, pytest.param(60, marks=pytest.mark.soak)]


def killed(scripts, path, what, first, chance):
    """What a process said before it was killed: at a random moment after it began, or around one of its merges."""
    child = scripts.start(WORK, path, what, first)
    if what == "compaction":
        merges = chance.randrange(1, 4)
        assert until(lambda: child.count("merging") >= merges)
        time.sleep(chance.uniform(0, 0.3))
    else:
        assert until(lambda: "begin" in child.lines())
        time.sleep(chance.uniform(0, 3 if what == "edit" else 1.5))
    child.kill()
    scripts.end()
    return child.lines()


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
    if what == "compaction":
        with llmkit.open(path, simulate=True) as kit:
            kit.catalog.set_setting("ballast", BALLAST)
    inside = cut_short = 0
    for _ in range(kills):
        if what == "first open":
            shutil.rmtree(path.parent, ignore_errors=True)
        elif what == "rebuild":
            path.unlink(missing_ok=True)
        said = killed(scripts, path, what, saved + 1, chance)
        edits = [int(line) for line in said if line.isdecimal()]
        inside += said[-1:] == ["merging"]
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
    merges = f"{inside} kills inside a merge, {cut_short} packs half made"
    print(f"{kills} kills over {what}: 0 violations, {saved + 1} edits, {merges}")
