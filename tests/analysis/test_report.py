"""Reports: what the journal knows is in them, and no text of a user or model breaks them."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import llmkit
from llmkit.analysis import markdown, report

MODEL = "openai:gpt-6-luna"
HOSTILE = "```\n# Heading\n<script>alert(1)</script> | a | [x](javascript:alert(1)) ![y](http://a.b/c.png) $x^2$ `code`"


class Tags(HTMLParser):
    """The tags of a page."""

    def __init__(self, text):
        super().__init__()
        self.names, self.attributes = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """One tag."""
        self.names.add(tag)
        self.attributes += attrs


@pytest.fixture
def kit(tmp_path):
    """A rehearsal."""
    with llmkit.open(tmp_path / "c.duckdb", simulate=True) as opened:
        yield opened


def test_a_report_says_what_the_journal_knows(kit, sim):
    """Models with their versions, dates, parameters, samples, failures by code, the exact cost and every prompt."""
    kit.use_simulator(sim)
    sim.script("openai", ["blocked"])
    ways = [llmkit.Config(MODEL, label="plain"), llmkit.Config(MODEL, label="nurse", system="You are a nurse.")]
    question = llmkit.question.likert("Rent control is a good idea.")
    with pytest.warns(UserWarning, match="left out of its requests"):
        handle = kit.run([question, "Why?"], ways, samples=2, temperature=0.5, max_tokens=90, name="Pilot")
    run = handle.result()
    text = run.report()
    words = text.replace("\\", "")
    failed = run.probes["error_code"].dropna()
    assert len(failed) == 1
    for fact in (
        "# Report of Pilot", "2 scenarios were put to 2 configurations of 1 model 2 times each (8 conversations)",
        run.probes["model_version"].dropna().iloc[0], f"{run.probes['started_at'].min():%Y-%m-%d}", "temperature 0.5",
        "does not accept were not sent: temperature for “plain”, “nurse”.",
        "max_tokens 90", f"“nurse” is {MODEL}, with a system prompt of its own", "7 were answered",
        f"1 failed ({failed.iloc[0]})", f"seed {run.settings['order_seed']}", "You are a nurse.", "Why?",
        "Rent control is a good idea.", "Choose one of these", "A rehearsal",
    ):  # fmt: skip
        assert fact in words, fact
    assert f"In all: ${run.total_cost.normalize():f}," in words
    costs = [Decimal(each) for each in re.findall(r"\$([\d.]+) \|$", words, re.MULTILINE)]
    assert sum(costs[-2:]) == run.total_cost
    assert words.count("______") > 5


def test_a_report_becomes_a_file_of_its_name(kit, tmp_path):
    """Markdown or a page, by the end of the name; another one is refused before anything is written."""
    run = kit.run("Why?", MODEL).result()
    text = run.report(tmp_path / "r.md")
    assert text == (tmp_path / "r.md").read_text(encoding="utf-8")
    assert "1 scenario was put to 1 model once each" in text
    run.report(tmp_path / "r.HTML")
    page = (tmp_path / "r.HTML").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "<table>" in page
    with pytest.raises(llmkit.ValidationError, match=r"\.md or \.html"):
        run.report(tmp_path / "r.docx")
    assert not (tmp_path / "r.docx").exists()


def test_a_report_tells_of_batches_and_of_what_was_reused(kit):
    """The tier that served each model; for reused answers what they had cost, and when the first of them came."""
    models = [MODEL, "deepseek:deepseek-flash"]
    study = kit.run("Why?", models, max_tokens=40, mode="batch-or-live", options={"poll_s": 0.05}).result()
    words = study.report().replace("\\", "")
    tiers = f"batch for “{MODEL}”; as the provider chooses for “{models[1]}”"
    assert f"Service tier: {tiers}." in words
    assert f"| API; service tier: {tiers} |" in words
    grown = kit.run("Why?", [*models, "xai:grok-4.3"], max_tokens=40, reuse=True).result()
    words = grown.report().replace("\\", "")
    assert f"2 were reused from earlier runs ({study.id})" in words
    assert words.count(f" (what was reused had cost ${study.total_cost.normalize():f})") == 3
    asked = datetime(2026, 11, 29, 12, 42, tzinfo=UTC)
    again = {"started_at": asked + timedelta(days=40), "ended_at": asked + timedelta(days=40)}
    facts = report._Facts(
        row=again, plan=None, configs=[], unanswered=[], versions=[{"first": asked}], sessions=1, worst=Decimal()
    )
    assert report._dates(facts) == "2026-11-29 12:42 to 2027-01-08 12:42 UTC"
    assert report._dates(replace(facts, row={**again, "ended_at": None})).startswith("started on 2027-01-08 12:42 UTC")


def test_no_text_breaks_a_report(kit, tmp_path):
    """Prompts, labels, names and levels come as they are: no heading, link, image, script or cell is made of them."""
    scenario = llmkit.Scenario(HOSTILE, dimensions={"a|b": HOSTILE}, scenario_id="x|*y*")
    config = llmkit.Config(MODEL, label="<b>|", system=HOSTILE)
    run = kit.run(scenario, config, name=" ".join(HOSTILE.split()), max_tokens=40).result()
    run.report(tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    seen = Tags(page)
    assert not seen.names & {"script", "img", "a", "b"}
    assert page.count("<h1>") == 1
    assert {row.count("<t") for row in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)} == {2, 8}


def test_a_report_of_a_run_without_answers(kit, sim):
    """Nothing is left to the reader's fancy: all failed, nothing is known of versions."""
    kit.use_simulator(sim)
    sim.set(faults={"blocked": 1.0})
    words = kit.run("Why?", MODEL).result().report().replace("\\", "")
    assert "no version reported" in words
    assert "0 were answered; excluded for lack of an answer: 1 failed" in words


def test_a_report_tells_of_an_early_stop_and_counts_sessions(kit, sim):
    """Why asking ended before the plan did, without advice; how often the run was begun, however each session ended."""
    kit.use_simulator(sim)
    kit.catalog.update_provider(MODEL.partition(":")[0], requests_per_minute=100_000)
    questions = [llmkit.question.likert(f"Tax {number} is fair.") for number in range(40)]
    run = kit.run(questions, MODEL, stop_when=llmkit.half_width("answer.score", 3)).result()
    words = run.report()
    assert "Stopped early, because answer.score is known to ± 3 for every configuration. Cost" in words
    assert "sessions" not in words
    words = kit.resume(run.id).result().report()
    assert words.count("UTC, in 2 sessions") == 2
    assert "Stopped early" not in words


def test_every_text_is_in_the_appendix_once(kit):
    """Scenarios that ask the same stand together, and what many have as their system prompt is told once."""
    scenarios = [
        llmkit.Scenario("Is tea good?", system="You are a nurse.", dimensions={"round": n // 2}) for n in range(14)
    ] + [llmkit.Scenario("Is rum good?", system="You are a nurse.")]
    kit.catalog.update_provider(MODEL.partition(":")[0], requests_per_minute=10_000)
    words = kit.run(scenarios, MODEL, max_tokens=40).result().report().replace("\\", "")
    for text in ("You are a nurse.", "Is tea good?", "Is rum good?"):
        assert words.count(text) == 1
    assert words.count("(system prompt 1)") == 2
    assert "and 4 more**" in words


def test_a_page_has_charts_and_a_hostile_label_is_text_in_them(kit, tmp_path):
    """Costs, lengths and times as SVG inside the page, each with words for those who do not see it."""
    ways = [llmkit.Config(MODEL, label="<script>alert(1)</script> $x^2$ & ü"), llmkit.Config(MODEL, label="plain")]
    kit.run("Why?", ways, samples=3).result().report(tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    seen = Tags(page)
    assert page.count("<svg") == page.count("<figcaption>") == 3
    assert not seen.names & {"script", "img", "a", "foreignObject"}
    assert {value for name, value in seen.attributes if name == "role"} == {"img"}
    assert not [value for name, value in seen.attributes if name in ("href", "src")]
    assert "&lt;script&gt;alert(1)" in page


def _shown(tokens):
    return "".join(each.content for token in tokens for each in (token.children or [token]))


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=60))
def test_any_text_is_shown_as_it_is(text):
    """One line of text comes out of Markdown as it went in."""
    shown = _shown(MarkdownIt("commonmark").enable("table").parse("a " + markdown.plain(text)))
    assert shown.split() == ["a", *text.split()]


@given(st.text("`~\n a#", max_size=40))
def test_any_text_stays_in_its_block(text):
    """A block of text holds all of it, whatever fences are in it."""
    (block,) = MarkdownIt("commonmark").parse(markdown.verbatim(text))
    assert block.content == text + "\n"
