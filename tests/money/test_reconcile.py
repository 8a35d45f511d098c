"""Our costs held against what providers export of their bills."""

import json
from decimal import Decimal

import pandas as pd
import pytest
from test_money_unknown import answer

import llmkit

MODELS = {"one": "local:one", "two": "local:two"}


def day_of(run):
    """The day of a run in UTC, which may begin between two tests."""
    return f"{run.attempts['started_at'].iloc[0]:%Y-%m-%d}"


def midnight(day):
    """When a day begins, in Unix time."""
    return int(pd.Timestamp(day, tz="UTC").timestamp())


@pytest.fixture
def asked(paying, sim):
    """A kit that has asked two models, what each cost, and on which day."""
    variants = [{"service_tier": "priority", "factor": "2"}]
    for name in MODELS:
        paying.catalog.add_model(
            f"local:{name}", cost_input_per_million="1", cost_output_per_million="4", price_variants=variants
        )
    sim.script("openai", [answer(prompt_tokens=100, completion_tokens=250, total_tokens=350)] * 20)
    run = paying.run([f"q{n}" for n in range(5)], list(MODELS.values())).result(60)
    costs = {
        name: Decimal(str(run.costs().set_index("model").loc[ref, "estimated_cost"])) for name, ref in MODELS.items()
    }
    assert set(costs.values()) == {Decimal("0.0055")}
    return paying, costs, day_of(run)


def openai_costs(costs, day):
    """A page of the costs API, grouped by line item."""
    results = [
        {"object": "organization.costs.result", "amount": {"value": float(cost * part), "currency": "usd"},
         "line_item": f"{name}-2026-03-05, {kind}", "project_id": None}
        for name, cost in costs.items()
        for kind, part in (("input", Decimal("0.2")), ("output", Decimal("0.8")))
    ]  # fmt: skip
    return {
        "object": "page",
        "data": [
            {"object": "bucket", "start_time": midnight(day), "end_time": midnight(day) + 86400, "results": results}
        ],
    }


def anthropic_report(costs, day):
    """A cost report, in cents."""
    results = [
        {"amount": str(cost * 100), "currency": "USD", "cost_type": "tokens", "model": name, "service_tier": "standard"}
        for name, cost in costs.items()
    ]
    return {"data": [{"starting_at": f"{day}T00:00:00Z", "ending_at": f"{day}T00:00:00Z", "results": results}]}


def openrouter_activity(costs, day):
    """Rows of activity, a part of them billed by the provider itself."""
    rows = [
        {"date": day, "model": name, "model_permaslug": f"{name}-2026-03-05", "usage": float(cost / 2),
         "byok_usage_inference": float(cost / 2), "requests": 5, "prompt_tokens": 500, "completion_tokens": 1250}
        for name, cost in costs.items()
    ]  # fmt: skip
    return {"data": rows}


def openai_usage(_, day):
    """Tokens without amounts."""
    rows = [
        {"start_time": midnight(day), "model": name, "batch": False, "service_tier": "default", "num_model_requests": 5,
         "input_tokens": 500, "input_cached_tokens": 0, "output_tokens": 1250}
        for name in MODELS
    ]  # fmt: skip
    return {"data": rows}


@pytest.mark.parametrize("export", [openai_costs, anthropic_report, openrouter_activity, openai_usage])
@pytest.mark.parametrize("kind", ["json", "csv", "frame"])
def test_a_clean_export_has_no_difference(asked, tmp_path, export, kind):
    """In each of the formats, by file and by table."""
    kit, costs, day = asked
    page = export(costs, day)
    rows = [
        {**{n: v for n, v in entry.items() if n != "results"}, **result}
        for entry in page["data"]
        for result in entry.get("results", [{}])
    ]
    for row in rows:
        if isinstance(row.get("amount"), dict):
            row["amount_value"] = row["amount"]["value"]
    frame = pd.DataFrame(rows)
    file = tmp_path / f"export.{kind}"
    if kind == "json":
        file.write_text(json.dumps(page))
    elif kind == "csv":
        frame.to_csv(file, index=False)
    found = kit.reconcile(frame if kind == "frame" else file, "local")
    assert found["model"].tolist() == ["local:one", "local:two"]
    assert found["difference"].tolist() == [0, 0]
    assert found["likely_cause"].isna().all()
    assert found["theirs"].tolist() == [0.0055, 0.0055]
    assert found["requests"].tolist() == [5, 5]


def causes(kit, page, tmp_path):
    """The likely causes by model."""
    file = tmp_path / "page.json"
    file.write_text(json.dumps(page))
    return kit.reconcile(file, "local").set_index(["day", "model"])["likely_cause"]


def test_a_missing_day_is_found(asked, tmp_path):
    """An export of the month that does not have the day."""
    kit, _, day = asked
    other = day[:8] + ("02" if day.endswith("01") else "01")
    page = {"data": [{"date": other, "model": "one", "usage": 0.001}]}
    found = causes(kit, page, tmp_path)
    assert found[day, "local:one"].startswith("missing day")
    assert found[other, "local:one"].startswith("not asked here")


def test_a_model_billed_at_another_tier_is_found(asked, tmp_path):
    """By its amount, which is what our tokens cost there."""
    kit, costs, day = asked
    found = causes(kit, openai_costs({**costs, "two": costs["two"] * 2}, day), tmp_path)
    assert found[day, "local:two"] == "other tier: it was billed as priority"
    assert pd.isna(found[day, "local:one"])


def test_a_duplicate_is_found(asked, tmp_path):
    """A line that is there twice."""
    kit, costs, day = asked
    page = openai_costs(costs, day)
    results = page["data"][0]["results"]
    results.append(results[0])
    assert causes(kit, page, tmp_path)[day, "local:one"].startswith("duplicate: the export has the same line 2 times")


def test_a_refund_is_no_spending_of_others(asked, tmp_path):
    """A line that takes money off, as spreadsheets write it and without a model."""
    kit, costs, day = asked
    lines = [f"{day},{name},${cost}" for name, cost in costs.items()]
    file = tmp_path / "bill.csv"
    file.write_text("\n".join(["date,model,cost_usd", *lines, f"{day},,-$1.50"]))
    found = kit.reconcile(file, "local").set_index("difference")["likely_cause"]
    assert found[-1.5] == "credit: the bill takes money off"
    assert found[0].isna().all()


def test_totals_of_a_day_are_compared_with_totals(asked, tmp_path):
    """Costs that are not grouped say nothing of models."""
    kit, costs, day = asked
    page = openai_costs({"all": sum(costs.values())}, day)
    for result in page["data"][0]["results"]:
        result["line_item"] = None
    file = tmp_path / "page.json"
    file.write_text(json.dumps(page))
    found = kit.reconcile(file, "local")
    assert found["model"].isna().tolist() == [True]
    assert found["difference"].tolist() == [0]


def test_requests_of_unknown_cost_explain_a_bill(paying, sim, tmp_path):
    """An answer never came, but was billed."""
    sim.script("openai", ["disconnect"])
    run = paying.run("q", "local:gpt-6-luna", retry=llmkit.RetryPolicy.fast(max_attempts=1)).result(60)
    day = day_of(run)
    page = {"data": [{"date": day, "model": "gpt-6-luna", "usage": 0.001}]}
    assert causes(paying, page, tmp_path)[day, "local:gpt-6-luna"].startswith("unknown: 1 request may")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a,b\n1,2\n",
        "date,model\n2026-11-01,x\n",
        '{"data": 5}',
        "date,usage\nyesterday,1\n",
        "date,usage\n2026-11-01,x\n",
        "date,usage\n2026-11-01,1$2\n",
    ],
)
def test_what_is_no_bill_is_refused(paying, tmp_path, text):
    """With a sentence; an empty export is one without lines."""
    file = tmp_path / "export"
    file.write_text(text)
    if not text:
        assert paying.reconcile(file, "local").empty
        return
    with pytest.raises(llmkit.ValidationError):
        paying.reconcile(file, "local")
    with pytest.raises(llmkit.ValidationError):
        paying.reconcile(tmp_path / "nowhere.csv", "local")
    with pytest.raises(llmkit.UnsupportedProvider):
        paying.reconcile(file, "nobody")


def test_a_bill_may_name_models_as_people_do(asked):
    """Like the Console's CSV; an id that is another model's display name stays an id."""
    kit, costs, day = asked
    kit.catalog.update_model("local:one", display_name="Model One 5.5")
    kit.catalog.update_model("local:two", display_name="one")
    bill = pd.DataFrame({"date": day, "model": ["Model One 5.5", "two"], "cost_usd": list(costs.values())})
    assert kit.reconcile(bill, "local")["model"].tolist() == ["local:one", "local:two"]
    assert kit.reconcile(bill.replace("Model One 5.5", "one"), "local")["difference"].tolist() == [0, 0]
