import llmkit


def test_a_kit_and_its_catalog_show_where_they_are_and_what_they_cost(tmp_path, monkeypatch):
    """Path, runs, this month's costs and how many keys are set, as text and as HTML in which a path is no markup."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    path = tmp_path / "<b>.duckdb"
    with llmkit.open(path, simulate=True) as kit:
        kit.run("q", "openai:gpt-6-luna").result()
        shown = kit._repr_mimebundle_()
        assert kit.catalog._repr_mimebundle_() == shown
    text = shown["text/plain"]
    assert [line.split("  ")[0] for line in text.splitlines()] == ["path", "runs", "spent this month", "keys"]
    assert str(path) in text
    assert text.endswith("not used: requests go to a simulator")
    assert "$0.0" in text
    assert "&lt;b&gt;.duckdb" in shown["text/html"]
    assert "secret" not in str(shown)
    assert kit._repr_mimebundle_() == {"text/plain": repr(kit)}


def test_the_card_counts_the_keys_that_are_set(tmp_path, monkeypatch):
    """Of all providers that need one; never the key."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    with llmkit.open(tmp_path / "k.duckdb") as kit:
        text = kit._repr_mimebundle_()["text/plain"]
        providers = kit.catalog.providers()
    assert text.splitlines()[-1].split("  ")[-1].strip().endswith(f"of {len(providers)} set")
    assert "secret" not in text


def test_the_list_of_runs_fits_a_page(tmp_path):
    """At the end of a cell a few columns with times to the minute, of a part of the rows too; all are in the table."""
    with llmkit.open(tmp_path / "k.duckdb", simulate=True) as kit:
        kit.run("q", "openai:gpt-6-luna", name="<b>pilot</b>").result()
        runs = kit.runs()
    for table in (runs, runs[runs["ok"] > 0], runs.iloc[:0]):
        shown = table._repr_html_()
        assert "estimated_cost</th>" in shown
        assert "Columns not shown: kind, skipped" in shown
        assert "<b>" not in shown
    assert {"kind", "unknown", "message"} <= {*runs.columns}
    assert "Columns not shown" not in runs[["run_id"]]._repr_html_()
