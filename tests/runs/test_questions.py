"""Questions with types: asked of every provider, shuffled by a recorded seed, read and checked, put back in order."""

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import llmkit
from llmkit import Scenario, question
from llmkit.records import Model, Params, Question
from llmkit.runs.plan import Configuration, Plan

COLOURS = ["red", "green", "blue"]
EACH = {
    "choice": question.choice("Which?", COLOURS),
    "likert": question.likert("It is fair."),
    "yes_no": question.yes_no("Is it fair?"),
    "number": question.number("How many?", 0, 10),
    "rank": question.rank("Rank them.", COLOURS),
    "matrix": question.matrix("Rate them.", ["price", "size"], [1, 2, 3]),
    "free": question.free("Why?"),
}


@pytest.mark.parametrize("kind", EACH)
def test_each_type_is_answered_by_all_providers(kit, kind):
    """Over every wire, with its schema, and each answer is one that was asked for."""
    run = kit.run([EACH[kind]]).result(60)
    probes = run.probes
    assert set(probes["status"]) == {"ok"}
    assert set(probes["provider"]) == set(kit.catalog.defaults())
    assert run.attempts["request"].notna().all()
    if kind == "number":
        assert probes["answer"].between(0, 10).all()
    elif kind == "rank":
        assert all(sorted(answer) == sorted(COLOURS) for answer in probes["answer"])
        ranks = probes[[f"answer.{colour}" for colour in COLOURS]]
        assert set(ranks.sum(axis=1)) == {6}
    elif kind == "matrix":
        assert probes["answer.price"].cat.categories.tolist() == [1, 2, 3]
        assert probes["answer.size"].cat.ordered
    elif kind == "free":
        assert probes["answer"].tolist() == probes["response"].tolist()
    else:
        assert probes["answer"].cat.categories.tolist() == list(EACH[kind].question.options)
        assert probes["answer"].notna().all()
    if kind in ("likert", "yes_no"):
        codes = probes["answer"].cat.codes
        assert probes["answer.score"].tolist() == (codes + 1 if kind == "likert" else 1 - codes).tolist()


def test_questions_scenarios_and_prompts_mix_in_one_run(kit):
    """Each is asked in its own way, and costs are grouped by what was answered."""
    persona = Scenario("Is it fair?", system="You are a farmer.", dimensions={"job": "farmer"})
    run = kit.run(
        [question.yes_no(persona), "Tell me more.", EACH["choice"], EACH["rank"]], "openai:gpt-6-luna"
    ).result(60)
    probes = run.probes
    assert probes["status"].eq("ok").all()
    assert probes["job"].tolist()[0] == "farmer"
    assert probes["system"].tolist()[0] == "You are a farmer."
    assert probes["answer"].isna().tolist() == [False, True, False, False]
    assert probes["prompt"].tolist() == ["Is it fair?", "Tell me more.", "Which?", "Rank them."]
    assert run.costs("answer")["probes"].sum() == 4
    assert kit.load(run.id).probes["answer"].tolist()[2] == probes["answer"].tolist()[2]


def test_a_row_named_like_another_column_takes_nothing_from_it(kit):
    """Where a matrix has a row called position or score, other questions keep theirs beside its answers."""
    grid = question.matrix("Rate them.", ["position", "score"], ["low", "high"])
    probes = kit.run([EACH["likert"], grid], "openai:gpt-6-luna").result(60).probes
    assert probes["answer.score"].iloc[0] in range(1, 6)
    assert probes["answer.position"].iloc[0] in range(1, 6)
    assert set(probes[["answer.position", "answer.score"]].iloc[1]) <= {"low", "high"}


def test_options_are_shown_in_an_order_of_each_probe_and_put_back(kit, sim):
    """The same seed shows the same orders; positions say where the answer stood in what was sent."""
    ask = {"samples": 20, "options": {"order_seed": 3}}
    run = kit.run([EACH["choice"]], "mistral:mistral-small-2603", **ask).result(60)
    sent = [body["messages"][-1]["content"] for body in (request.body for request in sim.requests) if body]
    orders = [[line[2:] for line in text.splitlines() if line.startswith("- ")] for text in sent]
    assert len({tuple(order) for order in orders}) > 3
    attempts = run.attempts.merge(run.probes[["probe_id", "answer", "answer.position"]], on="probe_id")
    for row in attempts.to_dict("records"):
        shown = [line[2:] for line in row["request"].replace("\\n", "\n").splitlines() if line.startswith("- ")]
        assert shown[row["answer.position"] - 1].strip() == row["answer"]
    again = kit.run([EACH["choice"]], "mistral:mistral-small-2603", **ask).result(60)
    assert again.probes["answer.position"].tolist() == run.probes["answer.position"].tolist()


def test_answers_bought_before_are_read_again_in_a_study_that_grows(kit, sim):
    """Shuffled questions are asked in the same order again, so that a scenario, a model and a sample more cost what is
    new, and reused answers land in the same columns.
    """
    asked, luna, mistral = [EACH["likert"], EACH["rank"]], "openai:gpt-6-luna", "mistral:mistral-small-2603"
    first = kit.run(asked, luna, samples=4).result(60).probes
    before = sim.stats()["requests"]
    grown = kit.run([EACH["choice"], *asked], [mistral, luna], samples=5, reuse=True).result(60).probes
    assert sim.stats()["requests"] - before == 3 * 2 * 5 - 8
    again = grown[grown["reused_from"].notna()]
    names = ["answer", "answer.position", "answer.score"]
    assert again[names].astype(str).values.tolist() == first[names].astype(str).values.tolist()
    assert len(set(grown["answer.position"].dropna())) > 1


def test_a_model_that_takes_no_schema_is_found_wherever_its_questions_stand(kit, sim):
    """A prompt without a question before them hides neither the refusal that is asked for nor the warning."""
    ask = {"prompts": [Scenario("Hello"), EACH["likert"]], "models": "openai:gpt-5.4-pro"}
    with pytest.raises(llmkit.ValidationError, match="does not accept schema"):
        kit.run(**ask, options={"strict": True})
    assert kit.runs().empty
    with pytest.warns(UserWarning, match="does not accept schema: left out"):
        kit.run(**ask).result(60)


def test_an_estimate_shuffles_questions_as_the_run_will(kit):
    """With an ``order_seed``, what is bought already is the same for an estimate as for the run."""
    ask = {"models": "openai:gpt-6-luna", "samples": 4, "options": {"order_seed": 3}}
    kit.run([EACH["rank"]], **ask).result(60)
    assert kit.estimate([EACH["rank"]], **ask, reuse=True).total == 0


def test_a_question_asked_twice_is_shuffled_twice(kit):
    """A list that repeats a question is as good as samples; who wants other orders names an ``order_seed``."""
    handles = [kit.run([EACH["rank"]] * 12, "openai:gpt-6-luna", options={"order_seed": seed}) for seed in (1, 2)]
    first, second = (handle.result(60).attempts["request"].tolist() for handle in handles)
    assert len(set(first)) > 2
    assert sorted(first) != sorted(second)


def test_runs_of_before_show_their_options_as_they_did():
    """What was stored without a seed for options was shuffled by the position in the grid."""
    model = Model(provider="p", model_id="m", display_name="M")
    scenarios, configs = (EACH["choice"],), (Configuration(model=model, label="m", params=Params()),)
    before = Plan(scenarios=scenarios, configs=configs, samples=9, params=Params(), order_seed=7)
    assert [before.order_of(n) for n in range(9)] == [EACH["choice"].question.order(f"7:{n}") for n in range(9)]
    now = replace(before, option_seed=7)
    assert [now.order_of(n) for n in range(9)] == [replace(now, order_seed=1).order_of(n) for n in range(9)]


def test_a_planted_order_effect_is_found():
    """Somebody who always takes what stands first chooses position 1 always, and no option more than others."""
    asked = EACH["choice"].question
    orders = [asked.order(f"7:{number}") for number in range(300)]
    answers = [asked.read(f'{{"answer": "{COLOURS[order[0]]}"}}', order) for order in orders]
    frame = pd.DataFrame(answers).assign(first=lambda table: table["position"] == 1, who="lazy")
    assert llmkit.compare(frame, "first", "who").levels.loc[0, "low"] > 0.95
    for colour in COLOURS:
        shares = llmkit.compare(frame.assign(chosen=frame[""] == colour), "chosen", "who").levels.loc[0]
        assert shares["low"] < 1 / 3 < shares["high"]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("choice", '{"answer": "purple"}'),
        ("choice", "I would rather not say."),
        ("choice", '{"choice": "red"}'),
        ("choice", '{"answer": ["red"]}'),
        ("likert", '{"answer": null}'),
        ("number", '{"answer": 11}'),
        ("number", '{"answer": true}'),
        ("number", "many"),
        ("rank", '{"answer": ["red", "red", "blue"]}'),
        ("rank", '{"answer": "red"}'),
        ("matrix", '{"price": 1}'),
        ("matrix", '{"price": 1, "size": 9}'),
        ("matrix", "[1, 2]"),
    ],
)
def test_an_answer_that_is_none_is_refused_with_a_sentence(kind, text):
    """It becomes a failed probe, kept with what it cost."""
    asked = EACH[kind].question
    with pytest.raises(ValueError, match=r"\w+ \w+ \w+"):
        asked.read(text, asked.order("1:1"))


@pytest.mark.parametrize(
    ("kind", "text", "answer"),
    [
        ("choice", "Red.", "red"),
        ("choice", '```json\n{"answer": "GREEN"}\n```', "green"),
        ("yes_no", '"Yes"', "yes"),
        ("number", '{"answer": "7"}', 7),
        ("number", "2.5", 2.5),
        ("number", "**7**", 7),
    ],
)
def test_plain_words_count_where_they_are_clear(kind, text, answer):
    """Models without schemas answer as people do."""
    asked = EACH[kind].question
    assert asked.read(text, asked.order("1:1"))[""] == answer


@pytest.mark.parametrize(
    ("options", "text", "answer"),
    [
        ((-1, 0, 1), '{"answer": "1"}', 1),
        ((-1, 0, 1), "-1", -1),
        ((-1, 0, 1), "- 1.", 1),
        ((1, 2, 3), '{"answer": -1}', None),
        ((1, 2, 3), '{"answer": 3.0}', 3),
        ((1, 2, 3), '{"answer": 2.5}', None),
        ((5, 10), ".5", None),
        (("A", "A-", "B"), '{"answer": "a-"}', "A-"),
        (("A", "A-", "B"), "**A**", "A"),
        (("No.", "No"), "'no.'", None),
        (("cafe\u0301", "tea"), "- **CAF\u00c9**.", "cafe\u0301"),
        (("yes", "no"), "\uff39\uff25\uff33", "yes"),
    ],
)
def test_options_that_differ_by_a_sign_are_told_apart(options, text, answer):
    """What is part of an option is never taken for an ornament around it; where ornaments leave a doubt, none is it."""
    asked = Question(kind="choice", options=options)
    order = asked.order("1:1")
    if answer is None:
        with pytest.raises(ValueError, match="not one of the options"):
            asked.read(text, order)
    else:
        assert asked.read(text, order)[""] == answer


def test_rows_that_differ_by_a_sign_have_cells_of_their_own():
    """A matrix reads each row from its own cell, however the model writes the rows' names."""
    asked = Question(kind="matrix", rows=("A", "A-", "Price"), options=(1, 2))
    assert asked.read('{"a": 1, "A-": 2, "price.": "2"}', ()) == {"A": 1, "A-": 2, "Price": 2}


@pytest.mark.parametrize(("text", "answer"), [("1e300", 1e300), ("9007199254740991", 2**53 - 1), ("`\u22122.0`", -2)])
def test_numbers_beyond_what_floats_tell_apart_stay_floats(text, answer):
    """No digits are made up, and a column of answers stays one of numbers."""
    number = Question(kind="number").read(text, ())[""]
    assert (number, type(number)) == (answer, type(answer))


def test_a_number_too_large_for_a_float_is_none():
    """It is refused in words, not by an error of Python's."""
    with pytest.raises(ValueError, match="is not a number"):
        Question(kind="number").read("1" + "0" * 400, ())


@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=2, max_size=8), st.integers())
def test_every_order_holds_every_option_once(options, seed):
    """Also of scales, which are shown from either end, and a question survives being stored."""
    for kind in ("choice", "likert", "rank"):
        asked = Question(kind=kind, options=tuple(options))
        assert sorted(asked.order(str(seed))) == list(range(len(options)))
        assert Question.from_row(asked.to_row()) == asked
        assert Question(kind=kind, options=tuple(options), shuffle=False).order(str(seed)) == tuple(range(len(options)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: question.choice("Which?", ["red"]),
        lambda: question.choice("Which?", ["red", "Red"]),
        lambda: question.choice("Where?", ["Café", "Cafe\u0301"]),
        lambda: question.choice("Which?", "red"),
        lambda: question.choice("Which?", ["red", ""]),
        lambda: question.choice(" ", COLOURS),
        lambda: question.likert("Fair?", [None, 1]),
        lambda: question.number("How many?", 3, 3),
        lambda: question.number("How many?", low="none"),
        lambda: question.rank("Rank.", ["position", "speed"]),
        lambda: question.matrix("Rate.", []),
        lambda: question.yes_no("Fair?", followups=["Why?"]),
        lambda: question.yes_no("Fair?", topic="a sugar tax"),
    ],
)
def test_questions_that_make_no_sense_are_refused(make):
    """Where they are written."""
    with pytest.raises(llmkit.ValidationError):
        make()


def test_a_schema_that_would_be_for_no_prompt_is_refused(kit, sim):
    """Questions are answered by their type, so that beside nothing else it would do nothing."""
    choice = question.choice("Which?", ["a", "b"])
    schema = {"type": "object", "properties": {"mood": {"type": "string"}}, "required": ["mood"]}
    for ask in (kit.run, kit.estimate):
        with pytest.raises(llmkit.ValidationError, match="by their type") as caught:
            ask([choice, EACH["free"]], "openai:gpt-6-luna", schema=schema)
        assert caught.value.field == "schema"
    assert sim.count("requests") == 0
    probes = kit.run([choice, "How are you?"], "openai:gpt-6-luna", schema=schema).result(60).probes
    assert probes["answer.mood"].notna().tolist() == [False, True]


def test_a_column_of_the_name_of_answers_is_refused(kit):
    """A gold answer that travels along needs another name."""
    with pytest.raises(llmkit.ValidationError, match="rename it"):
        kit.run([question.yes_no("Fair?", dimensions={"answer": "yes"})])


def test_runs_are_compared_by_scenario_alone_and_together(kit):
    """``run.compare`` clusters by scenario; ``concat`` puts runs side by side under their names."""
    asked = [question.likert(f"Statement {number}.") for number in range(5)]
    models = ["openai:gpt-6-luna", "mistral:mistral-small-2603"]
    runs = [kit.run(asked, models, samples=2, name=name).result(60) for name in ("first", "second")]
    comparison = runs[0].compare("answer.score", by="config")
    assert comparison.levels["n_clusters"].tolist() == [5, 5]
    assert comparison.levels["by"].tolist() == models
    assert comparison.levels["cost"].sum() == pytest.approx(float(runs[0].total_cost))
    together = llmkit.compare(llmkit.concat(runs), "answer.score", "run_name", "scenario_id")
    assert together.levels["by"].tolist() == ["first", "second"]
    assert together.differences["n_clusters"].tolist() == [5]
    with pytest.raises(llmkit.ValidationError, match="Give the runs"):
        llmkit.concat([])
    with pytest.warns(UserWarning, match=f"count double: {runs[0].id}"):
        assert len(llmkit.concat([*runs, kit.load(runs[0].id)])) == 3 * len(runs[0].probes)
