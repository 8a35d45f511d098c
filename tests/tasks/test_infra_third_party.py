"""Against fakellm, a server in OpenAI's format that others wrote: what is asked there is plain OpenAI, and is used."""

import json
import urllib.request

import pytest

ABOUT = "Saving water at home"
THREE = {"scenarios": [{"prompt": f"What would you do first, option {i}?"} for i in (1, 2, 3)]}


def seen(server):
    """The models of the requests, in order, as the server itself counts them."""
    with urllib.request.urlopen(f"{server.url}/_fakellm/stats") as answer:
        return [request["model"] for request in reversed(json.load(answer)["recent"])]


@pytest.mark.parametrize(
    "answer",
    [
        THREE,
        f"Here you are:\n```json\n{json.dumps(THREE)}\n```\nGood luck!",
        f"Sure! {json.dumps(THREE)}",
        [entry["prompt"] for entry in THREE["scenarios"]],
    ],
    ids=["json", "fenced", "between words", "bare list"],
)
def test_scenarios_come_however_the_server_wraps_them(third_party, answer):
    """A server that ignores the schema and answers in its own way is understood; its tokens are priced."""
    kit, server = third_party([("exactly 3 scenarios", answer)])
    scenarios = kit.expand(ABOUT, 3).result(60)
    assert [s.prompt for s in scenarios] == [entry["prompt"] for entry in THREE["scenarios"]]
    assert seen(server) == ["writer"]
    assert scenarios.total_cost > 0
    assert not scenarios.run.probes["simulated"].any()


def test_a_model_that_answers_in_prose_is_told_once(third_party):
    """The second request says what was wrong, and its answer is used."""
    kit, server = third_party([("could not be used", THREE), ("exactly", "I would rather talk about something else.")])
    scenarios = kit.expand(ABOUT, 3).result(60)
    assert len(scenarios) == 3
    assert seen(server) == ["writer", "writer"]
    assert scenarios.account.problems == ("The answer is not JSON, though a schema asked for it.",)


def test_answers_are_coded_with_quotes_that_are_checked(third_party):
    """A quote that the model made up is flagged; an answer with a category of its own invention is asked again."""
    codes = [
        {"id": 1, "category": "AGAINST", "quote": "not  pay"},
        {"id": 2, "category": "for", "quote": "I never said this"},
        {"id": 3, "category": "perhaps", "quote": "Maybe"},
    ]
    rules = [
        ("<doc-", {"codes": codes}),
        ("tax one", "I would not pay for that."),
        ("tax two", "Yes, gladly."),
        ("tax three", "Maybe."),
    ]
    kit, server = third_party(rules)
    run = kit.run(["tax one", "tax two", "tax three"], "local:subject", order="sequential").result(60)
    with pytest.warns(UserWarning, match="2 quotes not found"):
        coded = kit.code(run, {"for": "agrees", "against": "refuses"}).result(60)
    # the third is asked again alone, and as document 1 it gets the code that the server has for that
    assert list(coded["category"]) == ["against", "for", "against"]
    assert list(coded["quote_found"]) == [True, False, False]
    assert coded["error"].isna().all()
    assert seen(server).count("writer") == 2


def test_setting_the_infra_model_changes_whom_the_server_sees(third_party):
    """The models of a run are never asked for internal tasks."""
    kit, server = third_party([("exactly", THREE), ("<doc-", "A summary."), ("hello", "An answer.")])
    run = kit.run("hello", "local:subject").result(60)
    kit.expand(ABOUT, 3).result(60)
    kit.catalog.set_infra_model("scenario_expansion", "local:other")
    kit.expand(ABOUT, 3).result(60)
    assert list(kit.summarize(run).result(60)["summary"]) == ["A summary."]
    assert seen(server) == ["subject", "writer", "other", "writer"]
