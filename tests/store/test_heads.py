"""Heads of segments: which lines they have, and that texts are filled in whichever is projected first."""

import pandas as pd
import pytest

import llmkit
from llmkit.store import events
from llmkit.store.heads import head
from llmkit.store.lines import line, loads, verified
from llmkit.store.segments import HEAD, head_of, whole_of

PLACE = {"run_id": "r", "position": 0, "turn": 1, "attempt": 1}


@pytest.fixture(scope="module")
def segment(tmp_path_factory):
    """The file with the segment of a run of two scenarios."""
    path = tmp_path_factory.mktemp("heads") / "k.duckdb"
    with llmkit.open(path, simulate=True) as kit:
        run = kit.run([llmkit.Scenario("never again", system="Be brief."), "two"], "openai:gpt-6-luna").result(60)
    (file,) = path.with_name("k.duckdb.journal").glob(f"*-{run.id}-*.jsonl")
    return file


def test_a_head_has_all_lines_but_no_text(segment):
    """Each line stays in its place under its id, with whatever is not a text; a damaged one is not touched."""
    lines = segment.read_bytes().splitlines()
    heads = [head(each) for each in lines]
    assert [verified(each) for each in heads] == [verified(each) for each in lines]
    assert all(word not in b"".join(heads) for word in (b"never again", b"Be brief.", b'"reply"', b'"response'))
    answers = [(loads(a), loads(b)) for a, b in zip(lines, heads, strict=True) if loads(a)["type"] == "answer"]
    assert len(answers) == 2
    for whole, short in answers:
        assert all(short[name] == whole[name] for name in ("usage", "cost", "cost_source", "latency_s", "probe"))
    assert head(lines[1][:-1]) == lines[1][:-1]
    assert whole_of(head_of(segment.name)) == whole_of(segment.name) == segment.name


def test_a_long_reply_is_not_in_the_head():
    """Its lines are there, so that none is missed, and are empty."""
    long = events.outcome(**PLACE, reply=b"x" * (1 << 21))
    heads = [head(line({"id": f"{n:016x}-ab", **each}, n)[:-1]) for n, each in enumerate(long)]
    assert [verified(each)[1:] for each in heads] == [(each["type"], n) for n, each in enumerate(long)]
    assert sum(map(len, heads)) < 200 * len(long)
    assert "reply_pieces" not in loads(heads[-1])


@pytest.mark.filterwarnings("ignore:The journal of")
@pytest.mark.parametrize("order", [["head", "whole"], ["whole", "head"], ["head and whole"]])
def test_texts_are_filled_in_whichever_comes_first(segment, tmp_path, order):
    """A database made from head and whole segment has the same rows as one made from the whole segment alone."""
    path = tmp_path / "k.duckdb"
    whole = path.with_name("k.duckdb.journal") / segment.name
    whole.parent.mkdir()

    def rows():
        with llmkit.open(path, adopt=True, simulate=True) as kit:
            tables = ("runs", "run_scenarios", "intents", "outcomes", "results", "probes")
            return [kit.sql(f"SELECT * FROM {table} ORDER BY ALL") for table in tables]

    for step in order:
        if "head" in step:
            whole.with_suffix(HEAD).write_bytes(
                b"".join(head(each) + b"\n" for each in segment.read_bytes().split(b"\n")[:-1])
            )
        if "whole" in step:
            whole.write_bytes(segment.read_bytes())
        last = rows()
    path.unlink()
    whole.with_suffix(HEAD).unlink()
    for was, now in zip(last, rows(), strict=True):
        pd.testing.assert_frame_equal(was, now)
    assert last[-1]["response"].notna().all()
