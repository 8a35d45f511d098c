"""Exports: files that hold everything and that a spreadsheet does not run."""

import csv

import openpyxl
import pandas as pd
import pyarrow.parquet as pq
import pytest

import llmkit
from llmkit.analysis import exports

FORMULAS = ['=HYPERLINK("http://evil.example","click")', "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "＝1+1"]


@pytest.fixture
def run(kit):
    """A run whose prompts, dimensions and a column's name would be formulas."""
    frame = pd.DataFrame({"prompt": FORMULAS, "note": FORMULAS, "=1+1": range(len(FORMULAS)), "score": -1.5})
    return kit.run(frame, "openai:gpt-6-luna", followups=["and then?"]).result(60)


def test_csv_cells_that_a_spreadsheet_would_run_are_defused(run, tmp_path):
    """An apostrophe in front of texts and headings; numbers, also negative ones, are as they were."""
    path = run.to_csv(tmp_path / "probes.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["note"] for row in rows] == [f"'{text}" for text in FORMULAS]
    assert "'=1+1" in rows[0]
    assert {row["score"] for row in rows} == {"-1.5"}
    texts = (cell for row in rows for name, cell in row.items() if name != "score")
    assert not [cell for cell in texts if cell.startswith(exports.FORMULA_STARTS)]
    back = pd.read_csv(path)
    assert back["estimated_cost"].tolist() == pytest.approx(run.probes["estimated_cost"].tolist(), rel=1e-15)
    assert back["followups"].tolist() == ['["and then?"]'] * len(FORMULAS)


def test_excel_files_hold_texts_numbers_and_times(run, tmp_path):
    """No formula among the cells; times are UTC; control characters do not stop it."""
    path = run.to_excel(tmp_path / "probes.xlsx")
    sheet = openpyxl.load_workbook(path).active
    assert "f" not in {cell.data_type for row in sheet.iter_rows() for cell in row}
    back = pd.read_excel(path)
    assert back["note"].tolist()[:4] == [f"'{text}" for text in FORMULAS[:4]]
    assert back["score"].tolist() == [-1.5] * len(FORMULAS)
    seconds = (back["started_at"].dt.tz_localize("UTC") - run.probes["started_at"]).dt.total_seconds()
    assert seconds.abs().max() < 0.01
    file = exports.to_excel(pd.DataFrame({"text": ["bell \x07"]}), tmp_path / "bell.xlsx")
    assert pd.read_excel(file)["text"].tolist() == ["bell \ufffd"]


def test_parquet_keeps_types_and_texts(run, tmp_path):
    """Costs, counts, times and formulas come back as they were: nothing runs a Parquet file."""
    back = pq.read_table(run.to_parquet(tmp_path / "probes.parquet")).to_pandas()
    assert back["note"].tolist() == FORMULAS
    assert back["estimated_cost"].tolist() == run.probes["estimated_cost"].tolist()
    assert str(back["started_at"].dtype.tz) == "UTC"
    assert back["input_tokens"].tolist() == run.probes["input_tokens"].tolist()
    mixed = exports.to_parquet(
        pd.DataFrame({"x": pd.Series([1, "a", None, {"b": 2}], dtype=object)}), tmp_path / "m.parquet"
    )
    assert pd.read_parquet(mixed)["x"].tolist()[:2] == ["1", "a"]
    large = exports.to_parquet(pd.DataFrame({"x": [2**70, 1]}), tmp_path / "large.parquet")
    assert pd.read_parquet(large)["x"].tolist() == [str(2**70), "1"]


@pytest.mark.parametrize("table", ["probes", "turns", "attempts"])
def test_every_table_can_be_written(run, tmp_path, table):
    """Each with one row for each of its own, in all three formats."""
    expected = len(getattr(run, table))
    assert len(pd.read_csv(run.to_csv(tmp_path / "t.csv", table))) == expected
    assert len(pd.read_excel(run.to_excel(tmp_path / "t.xlsx", table))) == expected
    assert len(pd.read_parquet(run.to_parquet(tmp_path / "t.parquet", table))) == expected


def test_what_cannot_be_written_is_refused_with_a_sentence(run, tmp_path, monkeypatch):
    """An unknown table, a name that is no Excel file's, a text too long for a cell, a missing package."""
    with pytest.raises(llmkit.ValidationError, match="probes, turns, attempts"):
        run.to_csv(tmp_path / "x.csv", "costs")
    with pytest.raises(llmkit.ValidationError, match=r"\.xlsx"):
        run.to_excel(tmp_path / "x.xls")
    with pytest.raises(llmkit.ValidationError, match="to_parquet"):
        exports.to_excel(pd.DataFrame({"text": ["x" * 40_000]}), tmp_path / "long.xlsx")
    monkeypatch.setattr(exports, "find_spec", lambda name: None)
    with pytest.raises(llmkit.ValidationError, match=r"pip install 'llmkit\[excel\]'"):
        run.to_excel(tmp_path / "x.xlsx")
    assert not [*tmp_path.glob("x.*"), *tmp_path.glob("long.*")]
