"""Marks, comments and codes: kept with who and when, and columns of the results."""

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llmkit

MODEL = "openai:gpt-6-luna"
HOSTILE = "=cmd|' /C calc'!A0\"><script>window.hacked=1</script>\x00'; DROP TABLE annotations; --"


@pytest.fixture
def path(database):
    """Where the catalog lies."""
    return database


@pytest.fixture
def run(path):
    """A run that has ended, with a column of the researcher's own that is called as a note is."""
    prompts = pd.DataFrame({"prompt": ["Why?", "How?", "When?"], "comment": ["a", "b", "c"]})
    with llmkit.open(path, simulate=True, actor="anna") as kit:
        yield kit.run(prompts, [MODEL]).result()


def test_notes_become_columns_of_the_results(run):
    """A mark, a comment and codes stand in the row of their probe; a column of one's own keeps its name."""
    first, second, third = run.probes["probe_id"]
    assert not {"mark", "note.comment"} & set(run.probes.columns)
    run.annotate([first, third], mark=True)
    run.annotate(first, comment="Strange.", codes={"tone": "warm", "points": 3})
    probes = run.probes
    assert list(probes.columns[-5:]) == ["comment", "mark", "note.comment", "code.points", "code.tone"]
    assert probes["mark"].tolist() == [True, False, True]
    assert probes.iloc[0][["comment", "note.comment", "code.tone", "code.points"]].tolist() == [
        "a", "Strange.", "warm", 3,
    ]  # fmt: skip
    assert probes.set_index("probe_id").loc[second, ["note.comment", "code.tone"]].isna().all()


def test_what_is_taken_back_is_gone(run):
    """Nothing noted, nothing shown: as before the first note."""
    probe = run.probes["probe_id"][0]
    before = list(run.probes.columns)
    run.annotate(probe, mark=True, comment="x", codes={"tone": "warm"})
    run.annotate(probe, mark=False, comment=" ", codes={"tone": None})
    assert list(run.probes.columns) == before
    assert run.annotations.empty


def test_two_people_note_in_the_same_run(run, path):
    """Another's code is the newer one in the results, and both stand side by side with who and when."""
    probe = run.probes["probe_id"][0]
    run.annotate(probe, codes={"tone": "warm"})
    with llmkit.open(path, actor="ben") as other:
        other.load(run.id).annotate(probe, codes={"tone": "cold"})
    with pytest.warns(UserWarning, match=r"the latest: code\.tone\. run\.hand_codes\('tone'\) has everybody's"):
        assert run.probes["code.tone"][0] == "cold"
    both = run.annotations
    assert both[["probe_id", "name", "value", "actor"]].values.tolist() == [
        [probe, "code.tone", "warm", "anna"],
        [probe, "code.tone", "cold", "ben"],
    ]
    assert both["at"].is_monotonic_increasing


def test_nothing_is_said_of_people_who_agree(run, path, recwarn):
    """The same code twice, a comment of each, and a code that was withdrawn are nothing to point out."""
    probe = run.probes["probe_id"][0]
    run.annotate(probe, codes={"tone": "warm", "points": 3}, comment="Yes.")
    with llmkit.open(path, actor="ben") as other:
        other.load(run.id).annotate(probe, codes={"tone": "warm", "points": 4}, comment="No.")
    run.annotate(probe, codes={"points": None})
    assert run.probes["code.tone"][0] == "warm"
    assert not recwarn.list


def test_notes_are_kept_in_the_journal(run, path, tmp_path):
    """A database that is lost is made of the journal with every note in it, and an archive holds them too."""
    run.annotate(run.probes["probe_id"][1], mark=True, comment=HOSTILE, codes={HOSTILE[:19]: HOSTILE})
    before = run.probes
    path.unlink()
    pd.testing.assert_frame_equal(run.probes, before)
    run.archive(tmp_path / "archive")
    archived = llmkit.dataset(tmp_path / "archive").probes(["position", "mark", f"code.{HOSTILE[:19]}"]).read_all()
    marked = archived.to_pandas().sort_values("position")
    assert marked["mark"].tolist() == [None, True, None]
    assert marked.iloc[1, 2] == HOSTILE
    assert f',"{HOSTILE[0]}' not in run.to_csv(tmp_path / "probes.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "notes",
    [{"mark": 1}, {"comment": 3}, {"codes": ["warm"]}, {"codes": {"": "x"}}, {"codes": {"x": [1]}},
     {"codes": {"x": float("nan")}}, {"comment": "\ud800"}],
)  # fmt: skip
def test_what_cannot_be_noted_is_refused(run, notes):
    """One of llmkit's errors, and nothing is kept, not even what stands beside it."""
    with pytest.raises(llmkit.ValidationError):
        run.annotate(run.probes["probe_id"][0], **{"mark": True, **notes})
    assert run.annotations.empty


@pytest.mark.parametrize("place", ["000003", "0", "-00001", "٠٠٠٠٠٠", "9" * 5_000, "000000.1", ""])
def test_a_probe_of_no_such_place_is_refused(run, place):
    """An id that is no row of this run notes nothing."""
    with pytest.raises(llmkit.ValidationError):
        run.annotate(f"{run.id}.{place}", mark=True)


def test_nothing_is_no_probe(run):
    """``None`` where an id belongs is a mistake; an empty selection is none."""
    with pytest.raises(llmkit.ValidationError) as error:
        run.annotate(None, mark=True)
    assert error.value.field == "probe_id"
    run.annotate(run.probes.query("status == 'failed'")["probe_id"], mark=True)
    assert run.annotations.empty


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    """A catalog for many runs, with a limit that none of them reaches."""
    with llmkit.open(tmp_path_factory.mktemp("last") / "c.duckdb", simulate=True) as opened:
        opened.catalog.update_provider(MODEL.partition(":")[0], requests_per_minute=10_000)
        yield opened


@settings(max_examples=10, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.text(min_size=1, max_size=9), st.none() | st.booleans() | st.integers(-9, 9)),
        max_size=8,
    )
)
def test_the_last_note_counts(kit, edits):
    """Whatever is noted in whatever order, each name holds what it was given last."""
    run = kit.run(["Why?", "How?", "When?"], [MODEL]).result()
    probes, expected = run.probes["probe_id"], {}
    for place, name, value in edits:
        try:
            run.annotate(probes[place], codes={name: value})
        except llmkit.ValidationError:  # no name, such as a line break
            continue
        expected[probes[place], f"code.{name.strip()}"] = value
    expected = {key: value for key, value in expected.items() if value is not None}
    assert {(row.probe_id, row.name): row.value for row in run.annotations.itertuples(name="Note")} == expected
    shown = run.probes.set_index("probe_id")
    assert all(shown.loc[probe, name] == value for (probe, name), value in expected.items())
