import gzip
import json
import shutil

import pandas as pd
import pytest

import llmkit
from llmkit.analysis import reader_data

TWO = ["openai:gpt-6-luna", "anthropic:claude-haiku-5-5"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Twelve probes of two turns over two models, with a column of the researcher's own."""
    prompts = pd.DataFrame({"prompt": ["Why?", "How?", "When?"], "country": ["DE", "FR", None]})
    with llmkit.open(tmp_path_factory.mktemp("answers") / "c.duckdb", simulate=True) as kit:
        for model in TWO:
            kit.catalog.update_provider(model.partition(":")[0], requests_per_minute=10_000)
        yield kit.run(prompts, TWO, samples=2, followups=["And then?"], system="Be brief.").result()


def test_the_reader_gets_every_answer_and_each_prompt_once(run):
    """All turns of all probes are there, beside the three scenarios that they share."""
    data = reader_data.answers([run])
    assert [scenario["prompts"] for scenario in data["scenarios"]] == [
        [p, "And then?"] for p in ("Why?", "How?", "When?")
    ]
    assert len(data["probes"]) == len(run.probes) == 12
    told = [turn["response"] for probe in data["probes"] for turn in probe["turns"]]
    assert sorted(told) == sorted(run.turns["response"])
    assert data["columns"] == ["country"]
    assert {tuple(probe["values"]) for probe in data["probes"]} == {("DE",), ("FR",), (None,)}


def test_what_does_not_fit_into_a_notebook_is_left_out_and_said(run):
    """Packed into few bytes, the first answers are kept whole, and the page says how many there are elsewhere."""
    data = reader_data.answers([run])
    packed, left_out = reader_data.fitting(data, 1_500)
    kept = json.loads(gzip.decompress(packed))
    assert len(packed) <= 1_500
    assert 0 < left_out == 12 - len(kept["probes"])
    assert kept["probes"] == data["probes"][: len(kept["probes"])]
    assert kept["left_out"].startswith(f"{left_out} more answers")


def test_an_exported_page_reaches_nothing_but_itself(run, tmp_path):
    """The file names no other resource, and a policy forbids any request."""
    page = run.to_html(tmp_path / "answers.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert "http://" not in page
    assert "https://" not in page
    assert "Be brief." not in page  # answers are data, never markup


def test_a_file_that_cannot_be_written_is_refused_with_a_sentence(run, tmp_path):
    """A folder that is not there gives one of llmkit's errors."""
    with pytest.raises(llmkit.ValidationError, match="written"):
        run.to_html(tmp_path / "nowhere" / "answers.html")


def test_the_reader_gets_what_was_noted(run):
    """Marks, comments and codes go with their probes, and are no columns of the researcher's own."""
    probe = run.probes["probe_id"][4]
    run.annotate(probe, mark=True, codes={"tone": 0, "x": False})
    data = reader_data.answers([run])
    assert data["columns"] == ["country"]
    assert data["codes"] == ["tone", "x"]
    notes = {p["id"]: p["notes"] for p in data["probes"]}
    assert notes.pop(probe) == {"mark": True, "code.tone": 0, "code.x": False}
    assert not any(notes.values())


def test_the_turns_before_a_prompt_go_with_it(tmp_path):
    """Earlier turns of a scenario are in the reader's data; other scenarios have none."""
    earlier = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    with llmkit.open(tmp_path / "c.duckdb", simulate=True) as kit:
        run = kit.run([llmkit.Scenario("And then?", messages=earlier), llmkit.Scenario("How?")], TWO[0]).result()
        data = reader_data.answers([run])
    assert data["scenarios"] == [
        {"earlier": earlier, "prompts": ["And then?"]},
        {"earlier": (), "prompts": ["How?"]},
    ]


def test_a_question_is_read_as_each_model_was_asked(tmp_path):
    """The reader gets what was sent below the prompt, its options in the order of that probe, and nothing elsewhere."""
    scenarios = [llmkit.question.choice("Which?", ["red", "green", "blue"]), "How?"]
    with llmkit.open(tmp_path / "c.duckdb", simulate=True) as kit:
        run = kit.run(scenarios, TWO[0], samples=4).result()
        data = reader_data.answers([run])
        requests = run.attempts.set_index("probe_id")["request"].map(json.loads)
        assert set(run.head(1).question_texts) == {data["probes"][0]["id"]}
    texts = [data["questions"][probe["question"]] for probe in data["probes"]]
    shown = [f"Which?\n\n{text}" if text else "How?" for text in texts]
    assert shown == [requests[probe["id"]]["messages"][-1]["content"] for probe in data["probes"]]
    assert len(set(texts)) > 2  # at least two orders, and none


def test_questions_are_read_once(tmp_path):
    """A reader that follows a run does not read all of its prompts again at each look, nor those of its head."""
    with llmkit.open(tmp_path / "kit" / "c.duckdb", simulate=True) as kit:
        run = kit.run(llmkit.question.choice("Which?", ["red", "green"]), TWO[0], samples=2).result()
        assert len(run.head(1).question_texts) == 1
    shutil.rmtree(tmp_path / "kit")
    assert len(run.question_texts) == 2


def test_each_configuration_has_its_own_system_prompt(tmp_path):
    """Of one scenario asked in three ways, the reader gets what was sent with each."""
    ways = [llmkit.Config(TWO[0], label=role, system=f"You are a {role}.") for role in ("nurse", "poet")]
    with llmkit.open(tmp_path / "c.duckdb", simulate=True) as kit:
        data = reader_data.answers([kit.run("Why?", [*ways, TWO[0]]).result()])
    assert len(data["scenarios"]) == 1
    told = {probe["config"]: data["systems"][probe["system"]] for probe in data["probes"]}
    assert told == {"nurse": "You are a nurse.", "poet": "You are a poet.", TWO[0]: None}


def test_the_head_of_a_run_has_its_first_probes(run):
    """Probes, turns and attempts of the first ones, as in the whole tables; costs are those of all."""
    head = run.head(3)
    pd.testing.assert_frame_equal(head.probes, run.probes[:3][list(head.probes)])
    pd.testing.assert_frame_equal(head.turns, run.turns[:6])
    assert set(head.attempts["probe_id"]) == set(run.probes["probe_id"][:3])
    assert head.costs()["probes"].sum() == 12
    with pytest.raises(llmkit.ValidationError, match="n "):
        run.head(0)


def test_a_run_can_be_read_for_one_probe_alone(run):
    """Its row, turns and requests, as in the whole tables; a probe of another run is refused."""
    second = run.probes["probe_id"].iloc[1]
    one = run.only(second)
    for name, order in (("probes", "sample"), ("turns", "turn"), ("attempts", "turn")):
        part, whole = getattr(one, name), getattr(run, name)
        rows = whole.loc[whole["probe_id"] == second, list(part)].sort_values(order, ignore_index=True)
        pd.testing.assert_frame_equal(part.astype(object), rows.astype(object))
    with pytest.raises(llmkit.ValidationError, match="no-such"):
        run.only("no-such")
