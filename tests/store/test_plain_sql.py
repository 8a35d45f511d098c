"""What users change with plain SQL between cells, or while a kit is open, is seen, kept and recorded."""

import warnings
from datetime import UTC, datetime

import duckdb
import pandas as pd
import pytest

import llmkit

MODEL = "openai:gpt-6-luna"


@pytest.fixture
def path(tmp_path):
    """A seeded catalog."""
    path = tmp_path / "k.duckdb"
    llmkit.open(path, simulate=True).close()
    return path


def run_sql(path, *statements):
    """Statements of the user's own connection."""
    with duckdb.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)


INSERT = """
    INSERT INTO llm_models (id, provider_id, model_id, display_name, cost_input_per_million, cost_output_per_million,
        created_at, updated_at)
    SELECT 9001, id, 'mine', 'Mine', 1.25, 5, now()::TIMESTAMP, now()::TIMESTAMP FROM llm_providers
    WHERE name = 'openai'"""
SHORT = (
    """INSERT INTO llm_providers (id, name, display_name, wire, base_url)
    VALUES (9000, 'lab', 'Lab', 'openai_chat', 'http://127.0.0.1:9/v1')""",
    "INSERT INTO llm_models (id, provider_id, model_id, display_name) VALUES (9001, 9000, 'mine', 'Mine')",
)
SET_PRICE = "UPDATE llm_models SET cost_input_per_million = 7.5 WHERE model_id = 'gpt-6-luna'"


def rebuilt(path):
    """The catalog as its journal alone has it."""
    path.unlink()
    return llmkit.open(path, simulate=True)


def by_sql(kit, ref):
    """What the history says that SQL did to an entry."""
    history = kit.catalog.history(ref)
    return history[history["actor"] == "sql"]


def test_an_inserted_row_is_seen_at_the_next_read(path):
    """While a kit is open: it is in the table, can be asked, stays after other edits and a rebuild."""
    with llmkit.open(path, simulate=True) as kit:
        assert MODEL in set(kit.catalog.models()["model"])
        run_sql(path, INSERT)
        assert "openai:mine" in set(kit.catalog.models()["model"])
        assert kit.catalog.model("openai:mine").cost_input_per_million == pytest.approx(1.25)
        assert by_sql(kit, "openai:mine")["action"].tolist() == ["add_model", "add_model"]
        kit.catalog.add_model("openai:other", cost_input_per_million=1, cost_output_per_million=1)
        kit.catalog.update_model("openai:mine", display_name="Still mine")
        assert kit.run("Hello", models="openai:mine").result(60).probes["cost_input_per_million"][0] == 1.25
    with rebuilt(path) as kit:
        assert kit.catalog.model("openai:mine").display_name == "Still mine"
        assert kit.catalog.model("openai:mine").cost_output_per_million == 5


def test_a_row_needs_only_what_makes_it_one(path):
    """Of the rest the database knows what it is at first: the times are now, in UTC."""
    before = datetime.now(UTC)
    with llmkit.open(path, simulate=True) as kit:
        run_sql(path, *SHORT)
        provider, model = kit.catalog.provider("lab"), kit.catalog.model("lab:mine")
        assert (provider.max_parallel_requests, provider.requests_per_minute, provider.is_enabled) == (1, 60, True)
        assert (model.status, model.is_default, model.cost_input_per_million) == ("ACTIVE", False, None)
        assert all(before <= entry.created_at <= datetime.now(UTC) for entry in (provider, model))


@pytest.mark.parametrize("is_open", [True, False])
def test_a_price_set_with_sql_is_kept_and_recorded(path, is_open):
    """By an event of the actor ``sql`` with before and after; a later edit of something else and a rebuild keep it."""
    if not is_open:
        run_sql(path, SET_PRICE)
    with llmkit.open(path, simulate=True) as kit:
        if is_open:
            before = kit.catalog.model(MODEL)
            run_sql(path, SET_PRICE)
        assert kit.catalog.model(MODEL).cost_input_per_million == 7.5
        event = by_sql(kit, MODEL).iloc[-1]
        assert event["entity"] == "model"
        assert float(event["after"]["cost_input_per_million"]) == 7.5
        if is_open:
            assert float(event["before"]["cost_input_per_million"]) == float(before.cost_input_per_million)
            assert kit.catalog.model(MODEL).cost_output_per_million == before.cost_output_per_million
        kit.catalog.update_model(MODEL, display_name="Luna")
        kit.catalog.update_provider("openai", requests_per_minute=77)
        assert kit.catalog.model(MODEL).cost_input_per_million == 7.5
        assert len(by_sql(kit, MODEL)) == 2, "once"
    with rebuilt(path) as kit:
        assert kit.catalog.model(MODEL).cost_input_per_million == 7.5
        assert len(by_sql(kit, MODEL)) == 2


def test_sql_changes_the_price_that_was_corrected_last(path):
    """Of two prices from the same day on, the later entry is in force, and SQL that sets another rate leaves it so."""
    with llmkit.open(path, simulate=True) as kit:
        for cost in (5, 6):
            kit.catalog.update_model(MODEL, cost_output_per_million=cost, valid_from="2026-11-01")
        run_sql(path, SET_PRICE)
        model = kit.catalog.model(MODEL)
        assert (model.cost_input_per_million, model.cost_output_per_million) == (7.5, 6)


def test_an_edit_does_not_undo_what_came_just_before_it(path):
    """A kit that edits without having read first has it too."""
    with llmkit.open(path, simulate=True) as kit:
        kit.catalog.model(MODEL)
        run_sql(path, SET_PRICE, "UPDATE llm_providers SET requests_per_minute = 3 WHERE name = 'openai'")
        kit.catalog.update_model(MODEL, display_name="Luna", cost_output_per_million=9)
        model = kit.catalog.model(MODEL)
        assert (model.cost_input_per_million, model.cost_output_per_million) == (7.5, 9)
        assert kit.catalog.provider("openai").requests_per_minute == 3


def test_the_history_of_prices_can_be_written_with_sql(path):
    """An entry that is added or changed there is an entry, and survives a rebuild; a default and a setting likewise."""
    with llmkit.open(path, simulate=True) as kit:
        default = kit.catalog.defaults()["openai"].reference
        other = next(ref for ref in kit.catalog.models("openai", "ACTIVE")["model"] if ref != default)
    run_sql(
        path,
        "INSERT INTO llm_model_prices (event_id, reference, valid_from, cost_input_per_million, "
        f"cost_output_per_million) VALUES ('mine', '{MODEL}', TIMESTAMP '2026-01-02', 3, 4)",
        f"UPDATE llm_models SET is_default = false WHERE is_default AND model_id = '{default.partition(':')[2]}'",
        f"UPDATE llm_models SET is_default = true WHERE model_id = '{other.partition(':')[2]}'",
        "UPDATE llm_providers SET balance = 12.5 WHERE name = 'openai'",
        """UPDATE system_settings SET value = '"openai:gpt-6-sol"' WHERE key = 'infra_model_summarization'""",
    )
    for opened in (lambda: llmkit.open(path, simulate=True), lambda: rebuilt(path)):
        with opened() as kit:
            prices = kit.sql("SELECT * FROM llm_model_prices")
            assert (
                (prices["reference"] == MODEL) & (prices["valid_from"] == pd.Timestamp("2026-01-02", tz="UTC"))
            ).sum() == 1
            assert prices["reference"].str.startswith("xai:").any()
            assert kit.catalog.defaults()["openai"].reference == other
            assert kit.catalog.provider("openai").balance == 12.5
            assert kit.catalog.infra_model("summarization").reference == "openai:gpt-6-sol"


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE llm_models SET cost_output_per_million = 9, batch_discount = 0.25", "output price $0.50 → $9.00"),
        ("UPDATE llm_models SET display_name = 'x'", "display name GPT-6 Luna → x"),
        ("UPDATE llm_models SET batch_discount = 0.25", "batch discount 0.5 → 0.25"),
        ("DELETE FROM llm_models", None),
    ],
)
def test_what_sql_changed_is_described_without_the_rest(path, statement, words):
    """Numbers that stayed the same are none of it, and what was put back is no change to undo."""
    with warnings.catch_warnings(), llmkit.open(path, simulate=True) as kit:
        warnings.simplefilter("ignore")
        run_sql(path, f"{statement} WHERE model_id = 'gpt-6-luna'")
        if words is None:
            with pytest.raises(llmkit.ValidationError, match="no change to undo"):
                kit.catalog.last_change()
        else:
            told = kit.catalog.last_change().removeprefix(f"{MODEL}: ").split(", ")
            assert words in told
            assert len(told) == statement.count(" = ")


def test_a_price_without_a_day_is_described_and_undone(path):
    """An entry of the history that has always been in force can be taken back like any other change."""
    run_sql(
        path,
        "INSERT INTO llm_model_prices (event_id, reference, cost_input_per_million, cost_output_per_million) "
        f"VALUES ('mine', '{MODEL}', 3, 4)",
    )
    with llmkit.open(path, simulate=True) as kit:
        assert kit.catalog.model(MODEL).cost_output_per_million == 4
        assert kit.catalog.last_change() == f"{MODEL}: the price from the beginning on"
        kit.catalog.undo()
        assert kit.catalog.model(MODEL).cost_output_per_million != 4


def test_what_is_deleted_or_renamed_is_put_back_with_a_warning(path):
    """Runs refer to it."""
    with llmkit.open(path, simulate=True) as kit:
        expected = sorted(kit.catalog.models()["model"])
        run_sql(path, "DELETE FROM llm_models WHERE model_id = 'gpt-6-luna'")
        run_sql(path, "UPDATE llm_models SET model_id = 'renamed' WHERE model_id = 'gpt-6-sol'")
        with pytest.warns(UserWarning, match=r"restored, because runs refer to it"):
            assert sorted(kit.catalog.models()["model"]) == expected
        run_sql(path, "DELETE FROM llm_model_prices")
        with pytest.warns(UserWarning, match=r"restored"):
            assert sorted(kit.catalog.models()["model"]) == expected
        assert len(kit.sql("FROM llm_model_prices")) > 10
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert sorted(kit.catalog.models()["model"]) == expected


@pytest.mark.parametrize("config", ['{"limits": {"per_minute": 3}}', '{"wire": 3}'])
def test_what_no_run_could_use_is_put_back_with_a_warning(path, config):
    """An ``api_config`` that ``update_model`` would refuse; a valid one is kept."""
    setting = "UPDATE llm_models SET api_config = '{}' WHERE model_id = 'gpt-6-luna'"
    with llmkit.open(path, simulate=True) as kit:
        before = kit.catalog.model(MODEL)
        run_sql(path, setting.format(config))
        with pytest.warns(UserWarning, match="openai:gpt-6-luna: .* made unreadable with SQL was restored"):
            assert kit.catalog.model(MODEL) == before
        run_sql(path, setting.format('{"limits": {"requests_per_minute": 3}}'))
        assert kit.catalog.model(MODEL).api_config == {"limits": {"requests_per_minute": 3}}


def test_what_llmkit_writes_is_not_taken_for_sql(path):
    """Edits of several kits, runs, balances, undone edits and a rebuild leave no event by ``sql``."""
    with llmkit.open(path, simulate=True) as kit, llmkit.open(path, simulate=True) as other:
        kit.catalog.add_provider("acme", base_url="http://127.0.0.1:1/v1")
        other.catalog.add_model(
            "acme:a", cost_input_per_million="0.12345678", cost_output_per_million=None, batch_discount="0.5",
            retires_on="2027-01-01", api_config={"reasoning": True},
            price_tiers=[{"above": 1000, "cost_input_per_million": "0.3"}],
        )  # fmt: skip
        kit.catalog.set_balance("openai", "12.345")
        kit.catalog.update_model(MODEL, cost_input_per_million=2, valid_from="2027-01-01")
        other.catalog.set_default_model("openai:gpt-6-sol")
        other.catalog.deprecate_model("openai:gpt-6-sol")
        kit.run("Hello").result(60)
        assert (other.catalog.history()["actor"] != "sql").all()
    with rebuilt(path) as kit:
        assert (kit.catalog.history()["actor"] != "sql").all()


@pytest.mark.parametrize(
    "value",
    [
        *("5", "true", '"all"', "[1]", '[{"scope": "2026-12"}]', '[{"scope": "x", "amount": "NaN"}]'),
        *('[{"scope": 5, "amount": "5"}]', '[{"scope": "x", "amount": "-5"}]', '[{"scope": "2026/12", "amount": "5"}]'),
        '[{"scope": "x", "amount": "5", "alert_at": "NaN"}]',
    ],
)
def test_budgets_that_sql_made_unusable_are_put_back_with_a_warning(path, value):
    """Runs go on under the budgets of before, which are none where none were set."""
    run_sql(path, f"INSERT INTO system_settings VALUES (9001, 'budgets', '{value}', now()::TIMESTAMP)")
    for before in ([], [200]):
        with pytest.warns(UserWarning, match="budgets: what was .* made unreadable with SQL was restored"):
            kit = llmkit.open(path, simulate=True)
        with kit:
            assert kit.budgets()["amount"].tolist() == before
            assert kit.run("Hello", MODEL).result(60).status == "completed"
            kit.set_budget("2026-12", 200)
        run_sql(path, f"UPDATE system_settings SET value = '{value}' WHERE key = 'budgets'")


def test_an_internal_model_that_sql_made_unreadable_counts_as_unset(path):
    """The panel offers to choose another one."""
    run_sql(path, "UPDATE system_settings SET value = '[1]' WHERE key = 'infra_model_summarization'")
    with llmkit.open(path, simulate=True) as kit:
        with pytest.raises(llmkit.ModelNotFound, match="No model is set for summarization"):
            kit.catalog.infra_model("summarization")
        assert kit.infra_panel().choices["summarization"].value == ""
