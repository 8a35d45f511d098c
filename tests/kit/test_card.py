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
    assert "$0.0" in text
    assert "&lt;b&gt;.duckdb" in shown["text/html"]
    assert "secret" not in str(shown)
    assert kit._repr_mimebundle_() == {"text/plain": repr(kit)}
