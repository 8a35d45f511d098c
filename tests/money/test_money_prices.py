"""Prices that stay current: what differs from what others say, and taking it over."""

import json
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pandas as pd
import pytest
from local_provider import LOCAL
from regenerate_prices import main, regenerated

import llmkit
from llmkit.money.upstream_prices import read_price_list

GEMINI = "gemini-2.5-flash"
HAIKU, DEEPSEEK = "anthropic:claude-haiku-5-5", "deepseek:deepseek-v4-pro"
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_a_fresh_catalog_differs_in_nothing(kit):
    """The frame is there with its columns, and empty."""
    found = kit.catalog.check_prices()
    assert list(found.columns) == ["model", "what", "ours", "theirs", "valid_from", "source", "date"]
    assert found.empty
    assert kit.catalog.apply_prices(found) == ()


def test_differences_name_both_sides_and_their_source(kit):
    """A price, a tier and an hour of ours that upstream says otherwise, each on its row."""
    kit.catalog.update_model(HAIKU, cost_output_per_million=3, price_tiers=[])
    kit.catalog.update_model(DEEPSEEK, price_windows=[])
    found = kit.catalog.check_prices().set_index(["model", "what"])
    assert set(found.index) == {
        (HAIKU, "cost_output_per_million"), (HAIKU, "price_tiers"), (DEEPSEEK, "price_windows")
    }  # fmt: skip
    row = found.loc[(HAIKU, "cost_output_per_million")]
    assert (row["ours"], row["theirs"]) == (3.0, 0.5)
    assert row["source"].startswith("genai-prices ")
    assert row["date"] == datetime.now(UTC).date()


def test_accepted_rows_become_dated_entries_in_one_change(kit):
    """From now on, with their source; what was not chosen stays; undo takes all of it back at once."""
    kit.catalog.update_model(HAIKU, cost_output_per_million=3, cost_input_per_million=7, price_tiers=[])
    before = kit.catalog.model(HAIKU)
    found = kit.catalog.check_prices()
    assert kit.catalog.apply_prices(found[found["what"] != "cost_input_per_million"]) == (HAIKU,)
    model = kit.catalog.model(HAIKU)
    assert model.cost_output_per_million == Decimal("0.5")
    assert model.cost_input_per_million == 7
    assert model.price_tiers[0].above == 100_000
    assert model.price_tiers[0].cost_output_per_million == Decimal("2.5")
    assert kit.catalog.check_prices()["what"].tolist() == ["cost_input_per_million"]
    price = kit.catalog.history(HAIKU).query("entity == 'price'").iloc[-1]["after"]
    assert price["source"].startswith("genai-prices")
    kit.catalog.undo()
    assert kit.catalog.model(HAIKU).price == before.price


def test_variants_are_compared_and_taken_over(kit):
    """A tier at another factor is one difference; tiers that upstream does not list stay ours."""
    shipped = kit.catalog.model(HAIKU).price.price_variants
    dear = [{"service_tier": "batch", "factor": 0.75}, {"service_tier": "us", "factor": 1.1}]
    kit.catalog.update_model(HAIKU, price_variants=dear, cost_per_thousand_searches=1)
    found = kit.catalog.check_prices()
    assert sorted(found["what"]) == ["cost_per_thousand_searches", "price_variants"]
    row = found.set_index("what").loc["price_variants"]
    assert row["ours"] == dear
    assert row["theirs"] == [{"service_tier": "batch", "factor": 0.5}, dear[1]]
    assert kit.catalog.apply_prices(found) == (HAIKU,)
    assert kit.catalog.model(HAIKU).price.price_variants == shipped
    assert kit.catalog.check_prices().empty


def test_peak_hours_are_taken_over_and_weekdays_kept(kit):
    """genai-prices knows hours but no days: where the hours are ours too, our days stay."""
    shipped = kit.catalog.model(DEEPSEEK).price
    dear = [{**window.to_row(), "cost_input_per_million": "9"} for window in shipped.price_windows]
    kit.catalog.update_model(DEEPSEEK, price_windows=dear)
    kit.catalog.apply_prices(kit.catalog.check_prices())
    assert kit.catalog.model(DEEPSEEK).price == shipped
    assert {window.weekdays for window in shipped.price_windows} == {(1, 2, 3, 4, 5)}


def test_rows_may_lack_a_source(kit):
    """Of a table put together by hand, where one row names the page that it was read on and another does not."""
    rows = [{"model": HAIKU, "what": "cost_input_per_million", "theirs": 0.2, "source": "a page"}]
    rows.append({"model": HAIKU, "what": "cost_output_per_million", "theirs": 0.9})
    assert kit.catalog.apply_prices(pd.DataFrame(rows)) == (HAIKU,)
    assert kit.catalog.model(HAIKU).cost_output_per_million == Decimal("0.9")


def test_rows_that_are_none_are_refused_before_anything_is_written(kit):
    """A sentence says what to give."""
    events = len(kit.catalog.history())
    with pytest.raises(llmkit.ValidationError, match=r"check_prices.*theirs"):
        kit.catalog.apply_prices(kit.catalog.models()[["model"]].assign(what="cost_input_per_million"))
    with pytest.raises(llmkit.ValidationError, match="provider"):
        kit.catalog.apply_prices(pd.DataFrame([{"model": HAIKU, "what": "provider", "theirs": "openai"}]))
    assert len(kit.catalog.history()) == events


# --- the providers' own lists ---


LISTED = {"id": "gpt-6-luna", "pricing": {"prompt": "0.000001", "completion": "0.000004"}}


@pytest.fixture
def listing(paying, pages):
    """A catalog whose provider ``local`` serves the list of models that the test puts into ``models``."""
    paying.catalog.update_provider("local", base_url=pages.url)
    models = [LISTED]
    pages["/models"] = {"object": "list", "data": models}
    return SimpleNamespace(catalog=paying.catalog, models=models)


def test_new_models_and_retirement_dates_come_from_the_provider_itself(listing):
    """Where a key is set: what it lists and we lack, when ours retire, what they cost where the list says so, and
    which of ours it does not list any more.
    """
    catalog, priced = listing.catalog, {"prompt": "0.000002", "completion": "0.000004"}
    assert catalog.check_prices().empty
    catalog.add_model("local:gone", cost_input_per_million=1, cost_output_per_million=1)
    listing.models[:] = [
        {"id": "gpt-6-luna", "shutdown_date": "2027-03-01", "pricing": priced},
        {"id": "brand-new", "name": "Brand New", "context_window": 1000, "pricing": priced},
    ]
    found = catalog.check_prices()
    rows = found.set_index(["model", "what"])["theirs"].to_dict()
    assert rows.pop(("local:gone", "missing upstream")) is None
    assert rows.pop((LOCAL, "retires_on")) == date(2027, 3, 1)
    assert rows.pop((LOCAL, "cost_input_per_million")) == 2.0
    new = rows.pop(("local:brand-new", "new model"))
    assert (new["display_name"], new["context_window"], new["cost_output_per_million"]) == ("Brand New", 1000, 4.0)
    assert rows == {}
    assert set(found["source"]) == {"local's list of models"}
    assert set(catalog.apply_prices(found)) == {LOCAL, "local:brand-new"}
    model = catalog.model(LOCAL)
    assert (model.retires_on, model.cost_input_per_million, model.cost_output_per_million) == (date(2027, 3, 1), 2, 4)
    added = catalog.model("local:brand-new")
    assert (added.cost_input_per_million, added.context_window, added.is_default) == (2, 1000, False)
    assert catalog.check_prices()["what"].tolist() == ["missing upstream"]


def test_a_provider_that_does_not_answer_gets_a_warning(listing, pages):
    """The others are compared all the same."""
    del pages["/models"]
    listing.catalog.update_model(HAIKU, cost_output_per_million=3)
    with pytest.warns(UserWarning, match="local was not asked"):
        found = listing.catalog.check_prices()
    assert found["model"].tolist() == [HAIKU]


# --- genai-prices itself ---


def test_without_genai_prices_the_error_says_what_to_install(kit, monkeypatch):
    """It is an optional extra."""
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    with pytest.raises(llmkit.ValidationError, match=r"pip install 'llmkit\[prices\]'"):
        kit.catalog.check_prices()


def test_fresh_data_are_fetched_on_request_only(kit, pages):
    """From the address that is named (or genai-prices' own); for this call, so that the installed data stay in use."""
    prices = [{"prices": {"input_mtok": 0.1, "output_mtok": 0.5}},
              {"constraint": {"start_date": "2099-01-01"}, "prices": {"input_mtok": 2, "output_mtok": 9}}]  # fmt: skip
    model = {"id": "claude-haiku-5-5", "match": {"equals": "claude-haiku-5-5"}, "prices": prices}
    pages["/data.json"] = [{"id": "anthropic", "name": "Anthropic", "api_pattern": "x", "models": [model]}]
    found = kit.catalog.check_prices(fresh=pages.url + "/data.json")
    missing = found[found["what"] == "missing upstream"]["model"]
    assert set(missing) == set(kit.catalog.models("anthropic", status="ACTIVE")["model"]) - {HAIKU}
    announced = found[found["valid_from"].notna()]
    theirs = announced.set_index("what")["theirs"].to_dict()
    assert (theirs["cost_input_per_million"], theirs["cost_output_per_million"]) == (2.0, 9.0)
    assert {f"{day:%Y-%m-%d}" for day in announced["valid_from"]} == {"2099-01-01"}
    assert kit.catalog.apply_prices(announced) == (HAIKU,), "what is stored, though nothing changes today"
    assert kit.catalog.model(HAIKU).cost_input_per_million == Decimal("0.1"), "announced, not in force"
    entry = kit.catalog.history(HAIKU).query("entity == 'price'").iloc[-1]["after"]
    assert entry["valid_from"].startswith("2099-01-01")
    assert entry["cost_input_per_million"] == "2"
    assert kit.catalog.check_prices().empty, "the installed data are asked again, and know of no announcement"
    with pytest.raises(llmkit.RequestFailed, match="Leave out fresh"):
        kit.catalog.check_prices(fresh=pages.url + "/nowhere")


def test_models_that_only_upstream_has_need_no_key(kit, pages):
    """A new model is listed with its price and can be added; old ones, and those that are not for text, are not."""
    prices = {"input_mtok": 2, "output_mtok": 9}
    named = [("gemini-4-hydrogen", {}), ("gemini-4-tts", {}), ("gemini-9-old", {"deprecated": True}), (GEMINI, {})]
    models = [{"id": name, "match": {"equals": name}, "prices": prices, **more} for name, more in named]
    models.append({"id": "gemini-embedding-9", "match": {"equals": "x"}, "prices": {"input_mtok": 1}})
    pages["/data.json"] = [{"id": "google", "name": "Google", "api_pattern": "x", "models": models}]
    found = kit.catalog.check_prices(fresh=pages.url + "/data.json")
    new = found[found["what"] == "new model"]
    assert new["model"].tolist() == ["google:gemini-4-hydrogen"]
    assert new["theirs"].iloc[0]["cost_output_per_million"] == 9.0
    assert kit.catalog.apply_prices(new) == ("google:gemini-4-hydrogen",)
    assert kit.catalog.model("google:gemini-4-hydrogen").cost_input_per_million == 2


# --- litellm's map ---


def test_days_of_retirement_come_from_a_second_source(kit, tmp_path, pages):
    """By path or address; only where the catalog has none or another, and everything else of the map is passed over."""
    listed = {
        "sample_spec": {"litellm_provider": "openai", "deprecation_date": "date when it retires, YYYY-MM-DD"},
        "gemini/gemini-3.8-flash": {"litellm_provider": "gemini", "deprecation_date": "2027-08-01"},
        f"gemini/{GEMINI}": {"litellm_provider": "gemini", "deprecation_date": "2026-12-01"},
        "claude-haiku-5-5": {"litellm_provider": "anthropic", "deprecation_date": "2028-01-01"},
        "gpt-6-luna": {"litellm_provider": "openai"},
        "not-ours": {"litellm_provider": "openai", "deprecation_date": "2026-12-01"},
        "strange": None,
    }
    file = tmp_path / "map.json"
    file.write_text(json.dumps(listed), encoding="utf-8")
    pages["/map.json"] = listed
    for place in (file, str(file), pages.url + "/map.json"):
        found = kit.catalog.check_prices(retirements=place)
        assert set(found["what"]) == {"retires_on"}
        assert dict(zip(found["model"], found["theirs"], strict=True)) == {
            "google:gemini-3.8-flash": date(2027, 8, 1), HAIKU: date(2028, 1, 1)
        }  # fmt: skip
    assert set(kit.catalog.apply_prices(found)) == set(found["model"])
    assert kit.catalog.model(HAIKU).retires_on == date(2028, 1, 1)
    assert kit.catalog.check_prices(retirements=file).empty


def test_the_installed_litellm_is_read_and_not_imported(kit, tmp_path, monkeypatch):
    """Its map lies beside its __init__.py, which here would fail."""
    package = tmp_path / "litellm"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError")
    listed = {"claude-haiku-5-5": {"litellm_provider": "anthropic", "deprecation_date": "2028-01-01"}}
    (package / "model_prices_and_context_window_backup.json").write_text(json.dumps(listed))
    info = tmp_path / "litellm-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: litellm\nVersion: 9.9\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert kit.catalog.check_prices()["source"].tolist() == ["litellm 9.9"]


@pytest.mark.parametrize("text", ["no JSON", "[1]", None], ids=["text", "list", "nothing there"])
def test_what_is_no_map_is_refused(kit, tmp_path, text):
    """With a sentence that says what to give."""
    if text is not None:
        (tmp_path / "map.json").write_text(text)
    with pytest.raises(llmkit.ValidationError, match="litellm"):
        kit.catalog.check_prices(retirements=tmp_path / "map.json")


@pytest.mark.parametrize("name", [f"google:{GEMINI}", "google:gemini-2.5-pro"])
def test_a_model_that_retires_soon_is_warned_of(kit, name):
    """The shipped catalog has the day, and a run and a form say it."""
    assert kit.catalog.model(name).retires_on == date(2026, 12, 1)
    with pytest.warns(UserWarning, match=f"{name} .* 2026-12-01"):
        kit.run("a question", name).result(30)


# --- for maintainers ---


def catalog_text(files, name):
    """The text of a shipped file."""
    return (files / f"{name}.toml").read_text(encoding="utf-8")


@pytest.fixture
def files(request):
    """The folder of the shipped catalog."""
    return request.config.rootpath / "data" / "catalog"


@pytest.mark.parametrize("name", ["anthropic", "deepseek", "google", "mistral", "openai", "xai"])
def test_regenerating_an_up_to_date_file_leaves_it_alone(files, name):
    """No difference, no change, not even of white space."""
    text = catalog_text(files, name)
    assert regenerated(text, read_price_list(), NOON) == (text, [])


def test_regenerating_appends_entries_where_prices_differ(files):
    """The outdated price stays, today's comes behind it, comments and other models are where they were."""
    text = catalog_text(files, "anthropic")
    outdated = text.replace("cost_input_per_million = 0.1\n", "cost_input_per_million = 0.3\n", 1)
    assert outdated != text
    renewed, notes = regenerated(outdated, read_price_list(), NOON)
    assert notes == [f"{HAIKU} from 2026-11-24: cost_input_per_million 0.3 → 0.1"]
    kept = iter(renewed.splitlines())
    assert all(line in kept for line in outdated.splitlines()), "every line is still there, in order"
    assert regenerated(renewed, read_price_list(), NOON + timedelta(days=1)) == (renewed, [])


def test_the_script_says_what_it_changed(files, tmp_path, capsys):
    """A folder in, changed files and a line for each change out."""
    text = catalog_text(files, "deepseek")
    (tmp_path / "deepseek.toml").write_text(text.replace("1.32", "1.5"), encoding="utf-8")
    (tmp_path / "mistral.toml").write_text(catalog_text(files, "mistral"), encoding="utf-8")
    assert main([str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("deepseek.toml: deepseek:deepseek-v4-pro from ")
    assert len(said.splitlines()) == 1
    assert catalog_text(tmp_path, "mistral") == catalog_text(files, "mistral")
    main([str(tmp_path)])
    assert capsys.readouterr().out == ""
