"""Runs at service tiers: asked for, served, kept, billed, and never more than the budget."""

from __future__ import annotations

import json
import threading
import warnings
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import llmkit

SOL = "openai:gpt-6-sol"  # $2 and $10 per million tokens; $4 and $20 at priority, half at flex
CLAUDE = "anthropic:claude-opus-5-5"
NO_RETRY = llmkit.RetryPolicy(max_attempts=1)
LATER = datetime.now(UTC) + timedelta(days=365)


@pytest.fixture
def provider():
    """OpenAI and Anthropic on this machine: bill a token for each byte that comes, and as many out as may be; they
    serve at ``tier``, say nothing of it where that is ``None``, fail where a request holds ``broken``, and keep what
    was asked in ``bodies``.
    """

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            content = self.rfile.read(int(self.headers["content-length"]))
            body = json.loads(content)
            server.bodies.append(body)
            document = claude(body, server.tier) if "claude" in body["model"] else chat(body, content, server.tier)
            is_broken = server.broken is not None and server.broken in content.decode()
            data = json.dumps({"error": {"message": "Broken"}} if is_broken else document).encode()
            self.send_response(500 if is_broken else 200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.tier, server.broken, server.bodies = None, None, []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def chat(body, content, tier):
    """The reply of chat completions."""
    read, written = len(content), body.get("max_completion_tokens", 100)
    return {
        "id": "c1",
        "model": body["model"],
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
        **({} if tier is None else {"service_tier": tier}),
    }


def claude(body, tier):
    """The reply of Anthropic's messages: ``tier`` is what differs from the standard in its usage."""
    return {
        "id": "m1",
        "type": "message",
        "model": body["model"],
        "content": [{"type": "text", "text": "Yes."}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1000, "output_tokens": 100, "service_tier": "standard", **(tier or {})},
    }


@pytest.fixture
def paying(database, provider, monkeypatch):
    """A kit whose OpenAI and Anthropic are that server."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-local-test")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-local-test")
    with llmkit.open(database) as kit:
        limits = {"max_parallel_requests": 20, "requests_per_minute": 100_000}
        kit.catalog.update_provider("openai", base_url=f"{provider.url}/v1", **limits)
        kit.catalog.update_provider("anthropic", base_url=provider.url, **limits)
        yield kit


def only(run):
    """The one probe of a run."""
    return run.probes.iloc[0]


@pytest.mark.parametrize(
    ("served", "tier", "rates"),
    [
        ("priority", "priority", (4, 20)),
        ("flex", "flex", (1, 5)),
        ("default", "standard", (2, 10)),
        (None, None, (2, 10)),
    ],
)
def test_an_answer_is_billed_at_the_tier_that_it_tells(paying, provider, served, tier, rates):
    """Probe, turn and attempt have the tier, the turn its rates; repricing gives the same to the last digit."""
    provider.tier = served
    run = paying.run("Yes?", SOL, max_tokens=1000).result(60)
    probe, turn, attempt = only(run), run.turns.iloc[0], run.attempts.iloc[0]
    shown = [None if value is None or value != value else value for value in (
        probe["service_tier"], turn["service_tier"], attempt["service_tier"]
    )]  # fmt: skip
    assert shown == [tier] * 3
    expected = (Decimal(int(probe["input_tokens"])) * rates[0] + 1000 * rates[1]) / 10**6
    assert run.total_cost == expected
    assert (turn["cost_input_per_million"], turn["cost_output_per_million"]) == rates
    assert run.reprice().attrs["total"] == expected
    assert run.reprice(as_of=LATER).attrs["total"] == expected


def test_a_tier_without_a_price_is_unpriced_now_and_later(paying, provider):
    """The standard price is never put in its place; a variant that is added later reprices it."""
    provider.tier = "scale"
    run = paying.run("Yes?", SOL, max_tokens=1000).result(60)
    assert only(run)[["service_tier", "cost_source"]].tolist() == ["scale", "unpriced"]
    assert only(run)["estimated_cost"] != only(run)["estimated_cost"]  # NaN, not 0
    assert run.reprice().attrs["total"] is None
    shipped = [variant.to_row() for variant in paying.catalog.model(SOL).price.price_variants]
    paying.catalog.update_model(SOL, price_variants=[*shipped, {"service_tier": "scale", "factor": 3}])
    provider.tier = "default"
    standard = paying.run("Yes?", SOL, max_tokens=1000).result(60)
    assert run.reprice(as_of=LATER).attrs["total"] == 3 * standard.total_cost


@pytest.mark.parametrize("trials", [2, pytest.param(100, marks=pytest.mark.soak)])
def test_a_budget_holds_where_a_project_is_served_at_priority(paying, provider, trials):
    """Nobody asked for priority, which costs twice as much: spent is at most $0.50 all the same, and most of it."""
    provider.tier = "priority"
    spent = []
    for _ in range(trials):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # the budget covers a part of it
            run = paying.run([f"q{n}" for n in range(30)], SOL, max_tokens=2000, budget="0.50", retry=NO_RETRY)
            spent.append(run.result(120).total_cost)
    over = sum(each > Decimal("0.50") for each in spent)
    print(f"{trials} trials at priority: {min(spent)} to {max(spent)} of 0.50, {over} over")
    assert all(Decimal("0.40") < each <= Decimal("0.50") for each in spent)


def test_a_tier_is_asked_for_in_each_providers_words(paying, provider):
    """OpenAI's standard is ``default``; Anthropic has a speed and a place beside its tier."""
    for tier in ("standard", "flex"):
        paying.run("Yes?", SOL, service_tier=tier).result(60)
    for tier in ("standard", "fast", "us", "fast+us"):
        paying.run("Yes?", CLAUDE, service_tier=tier).result(60)
    names = ("service_tier", "speed", "inference_geo")
    assert [{name: body[name] for name in names if name in body} for body in provider.bodies] == [
        {"service_tier": "default"},
        {"service_tier": "flex"},
        {"service_tier": "standard_only"},
        {"speed": "fast"},
        {"inference_geo": "us"},
        {"speed": "fast", "inference_geo": "us"},
    ]


def test_what_was_asked_for_holds_where_the_reply_says_nothing(paying, provider):
    """A server that is asked for flex and tells no tier is billed at flex."""
    run = paying.run("Yes?", SOL, max_tokens=1000, service_tier="flex").result(60)
    assert only(run)["service_tier"] == "flex"
    assert run.turns["cost_output_per_million"].tolist() == [5.0]


def test_fast_mode_in_the_us_is_billed_at_both(paying, provider):
    """$4 and $20 × 2 × 1.1 for 1,000 and 100 tokens."""
    provider.tier = {"speed": "fast", "inference_geo": "us"}
    run = paying.run("Yes?", CLAUDE, max_tokens=100, service_tier="fast+us").result(60)
    assert only(run)["service_tier"] == "fast+us"
    assert run.total_cost == Decimal("0.0132")


@pytest.mark.parametrize("tier", ["turbo", "batch", "default", "flex+turbo"])
def test_a_tier_that_a_model_does_not_have_is_refused_with_those_it_has(paying, tier):
    """The sentence names them; nothing is sent."""
    for ask in (paying.run, paying.estimate):
        with pytest.raises(llmkit.ValidationError, match=r"only at: standard, fast, flex, priority. Leave"):
            ask("Yes?", SOL, service_tier=tier)
    with pytest.raises(llmkit.ValidationError, match="service_tier"):
        paying.run("Yes?", SOL, service_tier=5)


def test_calls_without_a_price_make_a_cost_partly_unpriced(paying, provider):
    """What the tokens cost is known, and that it is not all: in the probe, the table, the run's progress and now."""
    provider.tier = {"server_tool_use": {"web_search_requests": 2, "code_execution_requests": 1}}
    handle = paying.run("Yes?", CLAUDE, max_tokens=100, budget="1")
    run = handle.result(60)
    tokens_and_searches = Decimal("0.006") + 2 * Decimal("0.01")
    assert only(run)["cost_source"] == "partly unpriced"
    assert run.total_cost == run.reprice().attrs["total"] == tokens_and_searches
    assert run.costs()["unpriced"].tolist() == [1]
    assert handle.progress.unpriced == 1
    assert "and 1 unpriced" in repr(handle)


def test_a_turn_without_a_price_leaves_what_the_others_cost(paying, provider):
    """A conversation whose last turn was served at an unknown tier costs what the first did, everywhere."""

    def unknown_from_now_on(event):
        provider.tier = "scale" if event.kind == "answered" else provider.tier

    run = paying.run("Yes?", SOL, followups="Sure?", max_tokens=100, on_event=unknown_from_now_on).result(60)
    first, last = run.attempts.to_dict("records")
    assert (first["cost_source"], last["cost_source"]) == ("computed", "unpriced")
    known = Decimal(str(first["cost"]))
    assert run.total_cost == run.reprice().attrs["total"] == run.reprice().attrs["total_before"] == known > 0
    assert only(run)["cost_source"] == "partly unpriced"
    assert run.costs()[["unpriced", "estimated_cost"]].values.tolist() == [[1, float(known)]]


def test_a_pinned_snapshot_is_billed_as_its_family_and_says_so(paying, provider):
    """It is asked under its own id, with a warning; repricing names the family, now and at another day's price."""
    pinned = f"{SOL}-2026-10-01"
    with pytest.warns(UserWarning, match=f"{pinned} is not in the catalog: it is billed at the price of {SOL}"):
        handle = paying.run("Yes?", pinned, max_tokens=1000)
    run = handle.result(60)
    family = paying.run("Yes?", SOL, max_tokens=1000).result(60)
    assert provider.bodies[0]["model"] == "gpt-6-sol-2026-10-01"
    assert only(run)["model"] == pinned
    added = Decimal(len("-2026-10-01")) * 2 / 10**6  # the longer name in the request is what this server counts
    assert run.total_cost == family.total_cost + added
    for again in (run.reprice(), run.reprice(as_of=LATER)):
        assert again["priced_as"].tolist() == [SOL]
        assert again.attrs["total"] == run.total_cost
    assert paying.catalog.model(pinned).price == paying.catalog.model(SOL).price
    for unknown in ("openai:gpt-9-2026-10-01", f"{SOL}-2026-33-01"):
        with pytest.raises(llmkit.ModelNotFound):
            paying.run("Yes?", unknown)


def test_each_configuration_has_its_own_tier(paying, provider):
    """The run's tier holds where a configuration has none; both are billed at theirs."""
    configs = [llmkit.Config(SOL, label="soon"), llmkit.Config(SOL, label="later", service_tier="flex")]
    run = paying.run("Yes?", configs, max_tokens=1000, service_tier="priority").result(60)
    assert dict(zip(run.probes["config"], run.probes["service_tier"], strict=True)) == {
        "soon": "priority",
        "later": "flex",
    }
    assert sorted(run.turns["cost_output_per_million"]) == [5.0, 20.0]


def test_an_estimate_is_at_the_tier_that_is_asked_for(paying):
    """Flex costs half, priority twice as much; a tier in ``extra_body`` counts too."""
    standard = paying.estimate("Yes?", SOL, max_tokens=1000, service_tier="standard").total
    assert paying.estimate("Yes?", SOL, max_tokens=1000).total == standard
    for tier, factor in (("flex", 0.5), ("priority", 2)):
        for how in ({"service_tier": tier}, {"extra_body": {"service_tier": tier}}):
            total = paying.estimate("Yes?", SOL, max_tokens=1000, **how).total
            assert float(total / standard) == pytest.approx(factor, rel=1e-3)


def test_an_answer_is_billed_at_the_price_of_the_host_that_served_it(paying, provider):
    """A variant named like the provider's host holds for all that it serves, whatever else the reply tells; no request
    can ask for it. Mistral's regional hosts cost a tenth more.
    """
    before = paying.estimate("Yes?", SOL, max_tokens=1000).total
    variants = [variant.to_row() for variant in paying.catalog.model(SOL).price.price_variants]
    paying.catalog.update_model(SOL, price_variants=[*variants, {"service_tier": "127.0.0.1", "factor": "1.1"}])
    assert float(paying.estimate("Yes?", SOL, max_tokens=1000).total / before) == pytest.approx(1.1, rel=1e-3)
    for served, tier, factor in ((None, "127.0.0.1", 1), ("priority", "priority+127.0.0.1", 2)):
        provider.tier = served
        run = paying.run("Yes?", SOL, max_tokens=1000, budget="0.05").result(60)
        assert only(run)["service_tier"] == tier
        tokens = Decimal(int(only(run)["input_tokens"])) * 2 + 1000 * 10
        assert run.total_cost == tokens * factor * Decimal("1.1") / 10**6 == run.reprice().attrs["total"]
    assert paying.sql("SELECT min(worst_case - cost) >= 0 AS holds FROM attempts")["holds"].tolist() == [True]
    with pytest.raises(llmkit.ValidationError, match="only at: standard, fast, flex, priority"):
        paying.estimate("Yes?", SOL, service_tier="127.0.0.1")
    models = paying.catalog.models(provider="mistral")
    listed = [{row["service_tier"]: row.get("factor") for row in rows} for rows in models["price_variants"]]
    assert all(float(each[f"api.{place}.mistral.ai"]) == 1.1 for each in listed for place in ("eu", "us"))


def test_a_resumed_run_asks_for_its_tier_and_keeps_what_it_was_served_at(paying, provider):
    """The tier is a setting of the run; an answer of before is counted at its own."""
    provider.tier, provider.broken = "priority", "Two?"
    scenario = llmkit.Scenario("One?", followups=("Two?",))
    half = paying.run([scenario], SOL, max_tokens=100, service_tier="priority", retry=NO_RETRY).result(60)
    assert only(half)[["status", "turns", "service_tier"]].tolist() == ["failed", 1, "priority"]
    provider.tier, provider.broken = "default", None
    run = paying.resume(half.id).result(60)
    assert run.turns["service_tier"].tolist() == ["priority", "standard"]
    assert only(run)["service_tier"] == "priority, standard"
    assert run.reprice().attrs["total"] == run.total_cost
    assert {body["service_tier"] for body in provider.bodies} == {"priority"}
