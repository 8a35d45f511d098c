"""The user's own SQL: what comes back is what DuckDB says, and what query failed is told in a sentence."""

import signal

import pandas as pd
import pytest

import llmkit


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT count(*) AS value, 2 AS usage, 'x' AS estimate FROM runs", {"value": 0, "usage": 2, "estimate": "x"}),
        ("SELECT 'not {json' AS answer, 0.5::DECIMAL(4, 2) AS models", {"answer": "not {json", "models": 0.5}),
        ("SELECT '[1]'::JSON AS anything, '[1]' AS value", {"anything": [1], "value": "[1]"}),
        ("SELECT sum(x) AS s, 3::UBIGINT AS u FROM range(5) t(x)", {"s": 10, "u": 3}),
        ("SELECT 1 AS a, 2 AS a, 3 AS a_1", {"a": 1, "a_1": 2, "a_1_1": 3}),
        ("SELECT TIMESTAMPTZ '2026-12-01 10:00+02' AS t", {"t": pd.Timestamp("2026-12-01 08:00", tz="UTC")}),
        ("SELECT TIMESTAMP '2026-12-01 08:00' AS t", {"t": pd.Timestamp("2026-12-01 08:00", tz="UTC")}),
    ],
)
def test_values_come_back_whatever_their_column_is_called(kit, sql, expected):
    """Only DuckDB's type JSON is parsed; names decide nothing, two columns may share one, and times are in UTC."""
    assert kit.sql(sql).iloc[0].to_dict() == expected


def test_whole_numbers_stay_whole(kit):
    """A sum of counts is a count, not 10.0; what no 64 bits hold is a float."""
    assert kit.sql("SELECT sum(x) AS s FROM range(5) t(x)")["s"].dtype == "Int64"
    assert kit.sql("SELECT 10::HUGEINT ** 30 AS s, 2::HUGEINT * 9223372036854775807 AS h")["h"].dtype == "float64"


def test_tables_can_be_joined_with_all_their_columns(kit):
    """A join in which both tables have a column of that name gives both, each with its own values."""
    run = kit.run("a", "openai:gpt-6-luna").result(30)
    joined = kit.sql("SELECT * FROM probes p JOIN runs r ON r.id = p.run_id")
    assert joined.columns.is_unique
    assert joined[["status", "status_1"]].values.tolist() == [["ok", "completed"]]
    assert joined["settings"][0] == run.settings
    assert kit.sql("SELECT response AS answer FROM probes")["answer"][0] == run.probes["response"][0]
    assert kit.sql("SELECT now() AS t, current_date AS d")["t"][0].utcoffset().total_seconds() == 0


def test_parameters_are_a_list_or_a_dict(kit):
    """Both of DuckDB's ways to write them work."""
    assert kit.sql("SELECT ? AS a, ? AS b", (1, "x")).values.tolist() == [[1, "x"]]
    assert kit.sql("SELECT $n AS a", {"n": 5})["a"].tolist() == [5]


@pytest.mark.parametrize(
    ("sql", "params", "field", "words"),
    [
        ("SELECT ?", 5, "params", "a list with a value for each"),
        ("SELECT ?", "a", "params", "a list with a value for each"),
        ("SELECT ?", [object()], "sql", "query failed"),
        ("SELECT 'infinity'::DATE AS i", None, "sql", "out of range|must be in"),
        ("", None, "sql", "returns no rows"),
        (5, None, "sql", "query failed"),
        ("SELEC 1", None, "sql", "syntax error"),
        ("DELETE FROM runs", None, "sql", "query failed"),
    ],
)
def test_what_cannot_be_answered_is_told(kit, sql, params, field, words):
    """No error of DuckDB, Arrow or pandas comes through."""
    with pytest.raises(llmkit.ValidationError, match=words) as caught:
        kit.sql(sql, params)
    assert caught.value.field == field


def test_stop_ends_a_query_as_it_ends_all_else(kit, tmp_path):
    """A query that Stop interrupts raises KeyboardInterrupt, which no ``except Exception`` of a script swallows."""
    endless = "SELECT max(hash(range)) FROM range(1000000000000)"  # one part, for one thread
    kit.run("a", "openai:gpt-6-luna").result(30).archive(tmp_path)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        for sql in (kit.sql, llmkit.dataset(tmp_path).sql):
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(KeyboardInterrupt):
                sql(endless)
    finally:
        signal.signal(signal.SIGALRM, before)
