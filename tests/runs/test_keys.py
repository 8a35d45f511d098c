"""Real keys: checked before anything is sent, and sent only where they may go."""

import pytest

import llmkit


@pytest.fixture
def real(tmp_path, sim):
    """A kit that is not simulating, with a custom provider whose address is the simulator's."""
    with llmkit.open(tmp_path / "k.duckdb") as kit:
        kit.catalog.add_provider(
            "acme",
            base_url=sim.url_for("acme"),
            api_key_env="ACME_KEY",
            max_parallel_requests=5,
            requests_per_minute=6000,
        )
        kit.catalog.add_model("acme:one", cost_input_per_million=1, cost_output_per_million=2)
        yield kit


def test_a_custom_provider_is_asked_with_its_key(real, sim, monkeypatch):
    """Any OpenAI-compatible address works like the shipped providers, and its rows are not marked as simulated."""
    monkeypatch.setenv("ACME_KEY", "acme-secret-123")
    run = real.run("hello", "acme:one").result(60)
    assert run.probes["status"].tolist() == ["ok"]
    assert run.probes["simulated"].tolist() == [False]
    assert run.total_cost > 0
    assert not any("x-llmkit" in name for name in sim.requests[0].headers)


def test_a_reported_cost_is_taken_from_a_provider_of_any_name(real, sim, monkeypatch):
    """A provider that speaks xAI's dialect under a name of the user's is billed at the cost that it reports."""
    monkeypatch.setenv("MY_KEY", "my-secret-123")
    real.catalog.add_provider("my-grok", base_url=sim.url_for("xai"), api_key_env="MY_KEY", dialect="xai")
    real.catalog.add_model("my-grok:grok-4.3", cost_input_per_million=None, cost_output_per_million=None)
    run = real.run("hello", "my-grok:grok-4.3").result(60)
    assert run.probes["cost_source"].tolist() == ["provider_reported"]
    assert run.total_cost > 0


def test_a_provider_without_a_key_variable_needs_none(tmp_path, sim):
    """Ollama, vLLM and LM Studio on this machine are available as they are."""
    with llmkit.open(tmp_path / "k.duckdb") as kit:
        kit.catalog.add_provider("local", base_url=sim.url_for("local"))
        kit.catalog.add_model("local:llama3:8b", cost_input_per_million=0, cost_output_per_million=0)
        row = kit.catalog.providers().set_index("name").loc["local"]
        assert row["is_available"]
        run = kit.run("hello", "local:llama3:8b").result(60)
        assert run.probes["model"].tolist() == ["local:llama3:8b"]
        assert run.total_cost == 0
        assert run.probes["cost_source"].tolist() == ["computed"]


def test_a_missing_key_is_told_before_anything_is_sent(real, sim):
    """The sentence names the variable."""
    with pytest.raises(llmkit.MissingApiKey, match="ACME_KEY"):
        real.run("hello", "acme:one")
    assert sim.stats()["requests"] == 0


def test_a_key_with_a_line_break_is_refused_without_showing_it(real, sim, monkeypatch):
    """A key that was pasted badly gets a sentence that does not hold it."""
    monkeypatch.setenv("ACME_KEY", "acme-secret\n123")
    with pytest.raises(llmkit.LlmkitError, match="ACME_KEY") as caught:
        real.run("hello", "acme:one")
    assert "acme-secret" not in str(caught.value)
    assert sim.stats()["requests"] == 0


def test_an_address_that_nobody_approved_is_refused_before_anything_is_sent(tmp_path, monkeypatch):
    """A new host gets no key until the user says so."""
    monkeypatch.setenv("ACME_KEY", "acme-secret-123")
    with llmkit.open(tmp_path / "k.duckdb") as kit, pytest.warns(UserWarning, match="approve"):
        kit.catalog.add_provider("acme", base_url="https://llm.acme.example/v1", api_key_env="ACME_KEY")
        kit.catalog.add_model("acme:one", cost_input_per_million=1, cost_output_per_million=2)
        with pytest.raises(llmkit.OriginNotApproved, match="approve_origin=True"):
            kit.run("hello", "acme:one")
        assert kit.runs().empty


def test_the_models_of_a_provider_can_be_listed(real, monkeypatch):
    """The connection test lists what the provider serves, and says in a sentence when the key is refused."""
    monkeypatch.setenv("ACME_KEY", "acme-secret-123")
    found = real.test_connection("acme").result(60)
    assert found
    assert all(model.model_id for model in found)
    monkeypatch.setenv("ACME_KEY", "invalid")
    with pytest.raises(llmkit.RequestFailed) as caught:
        real.test_connection("acme").result(60)
    assert caught.value.code == "AUTH_ERROR"
