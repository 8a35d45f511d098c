"""Configurations: the same model asked in several ways, each a level of the grid with a label of its own."""

import json

import pytest

import llmkit
from llmkit import Config, Scenario
from llmkit.runs import stored_plan

LUNA, SMALL = "openai:gpt-6-luna", "mistral:mistral-small-2603"  # the second takes a temperature
EXAMPLES = [
    {"role": "user", "content": "What of Oslo?"},
    {"role": "assistant", "content": "Cold."},
]


def _configs():
    return [
        LUNA,
        Config(SMALL, label="cool", temperature=0.1),
        Config(SMALL, label="hot", temperature=1.2, seed=5, stop="END", system="Be bold."),
        Config(LUNA, label="deep", reasoning_effort="high", max_tokens=900),
    ]


def test_each_configuration_is_asked_in_its_own_way(kit, sim):
    """Models, references and configurations mix; what a configuration does not say is as the run asks."""
    run = kit.run(["a", "b"], _configs(), samples=2, temperature=0.7, system="Be kind.").result(60)
    probes = run.probes
    assert probes["config"].unique().tolist() == [LUNA, "cool", "hot", "deep"]
    assert probes["status"].eq("ok").all()
    assert len(probes) == 16
    assert probes.groupby("config")["system"].unique().str.join("").to_dict() == {
        LUNA: "Be kind.", "cool": "Be kind.", "hot": "Be bold.", "deep": "Be kind.",
    }  # fmt: skip
    bodies = [request.body for request in sim.requests]
    asked = [body for body in bodies if body["model"] == SMALL.split(":")[1]]
    assert sorted({body["temperature"] for body in asked}) == [0.1, 1.2]
    hot = [body for body in asked if body["temperature"] == 1.2]
    assert {body["random_seed"] for body in hot} == {5, 6}
    assert all("Be bold." in str(body) and "END" in str(body) for body in hot)
    assert sum("effort': 'high'" in str(body) for body in bodies) == 4


def test_costs_estimates_and_stored_requests_know_configurations(kit):
    """Costs by configuration add up to the run's, estimates have a row for each, and requests are made anew alike."""
    estimate = kit.estimate(["a", "b"], _configs(), samples=2)
    assert estimate.df["config"].tolist() == [LUNA, "cool", "hot", "deep"]
    run = kit.run(["a", "b"], _configs(), samples=2).result(60)
    costs = run.costs("config").set_index("config")
    assert costs["probes"].to_dict() == {LUNA: 4, "cool": 4, "hot": 4, "deep": 4}
    assert costs["estimated_cost"].sum() == pytest.approx(float(run.total_cost))
    assert run.attempts["request"].notna().all()
    assert kit.calibration()["probes"].tolist() == [4, 4, 4, 4]
    learnt = kit.estimate(["a", "b"], _configs(), samples=2).df
    assert set(learnt["observations"]) == {8}  # each answer once, though its model was asked in two ways


def test_a_run_is_stored_with_its_configurations(kit):
    """What is stored of a run asks the same again, in another process too."""
    run = kit.run(["a", "b"], _configs(), temperature=0.7, options={"top_p": 0.5}).result(60)
    row = kit._store.run(run.id, with_scenarios=True)
    plan = stored_plan(json.loads(json.dumps({**row, "started_at": None, "ended_at": None})))
    cool, hot, deep = plan.configs[1:]
    assert (cool.params.temperature, cool.params.top_p, cool.system) == (0.1, 0.5, None)
    assert (hot.params.temperature, hot.params.stop, hot.params.seed, hot.system) == (1.2, ("END",), 5, "Be bold.")
    assert (deep.params.temperature, deep.params.reasoning_effort, deep.params.max_tokens) == (0.7, "high", 900)
    assert plan.configs[0].params == plan.params


def test_a_configuration_goes_on_where_its_run_was_stopped(kit, sim):
    """Resumed, it is asked what is left, in its own way."""
    sim.script("mistral", ["quota"])
    kit.catalog.update_provider("mistral", max_parallel_requests=1)
    run = kit.run(["a", "b"], _configs()).result(60)
    assert run.probes["status"].value_counts().to_dict() == {"ok": 4, "skipped": 3, "failed": 1}
    again = kit.resume(run.id).result(60)
    assert set(again.probes["status"]) == {"ok"}
    assert again.attempts["request"].notna().all()


@pytest.mark.parametrize(
    ("models", "sentence"),
    [
        ([LUNA, Config(LUNA, temperature=0)], "named twice.*label="),
        ([Config(LUNA, "x"), Config("openai:gpt-6-sol", "x")], "'?x'? is named twice: give every Config a label"),
        ([Config(LUNA, "x", temprature=0.1)], "Config 'x': Unknown option 'temprature'.*system, temperature"),
        ([Config(LUNA, "x", temperature=3)], "Config 'x': temperature must be a number from 0 to 2"),
        ([Config(LUNA, "x", adaptive=True)], "Unknown option 'adaptive'"),
        ([Config(LUNA, "x", system=7)], "Config 'x'"),
        (Config("openai:gpt-6-lunna"), "There is no model"),
        ([3], "models|reference"),
    ],
)
def test_configurations_that_make_no_sense_are_refused(kit, models, sentence):
    """Before anything is sent, with the label in the sentence."""
    with pytest.raises(llmkit.LlmkitError, match=sentence):
        kit.run("hello", models)


def test_two_system_prompts_are_refused(kit):
    """A configuration's would silently take the place of the persona's."""
    with pytest.raises(llmkit.ValidationError, match="both have a system prompt"):
        kit.run([Scenario("hello", system="You are a child.")], [Config(LUNA, "x", system="Be brief.")])


def test_prompts_of_a_generator_go_with_a_system_prompt(kit):
    """They can be read only once."""
    run = kit.run(iter(["a", "b"]), Config(LUNA, "x", system="Be brief."), max_tokens=50).result(60)
    assert run.probes["system"].tolist() == ["Be brief."] * 2


@pytest.mark.parametrize("arguments", [("",), (None,), (LUNA, " "), (LUNA, 3)])
def test_a_configuration_has_a_reference_and_a_label_of_text(arguments):
    """Anything else is refused where it is written."""
    with pytest.raises(llmkit.ValidationError):
        Config(*arguments)


def test_earlier_turns_are_sent_on_every_wire(kit, sim):
    """Examples stand before the prompt, to all providers, and after a follow-up still."""
    run = kit.run([Scenario("And Rome?", messages=EXAMPLES, followups=("And Lima?",))]).result(60)
    providers = len(kit.catalog.defaults())
    assert run.probes["status"].tolist() == ["ok"] * providers
    bodies = [request.body for request in sim.requests if request.body]
    assert len(bodies) == 2 * providers
    for body in bodies:
        text = json.dumps(body)
        assert text.index("What of Oslo?") < text.index("Cold.") < text.index("And Rome?")
    assert run.attempts["request"].notna().all()


def test_earlier_turns_survive_tables_and_files(tmp_path):
    """Scenarios with examples come back from a DataFrame, CSV and YAML as they were."""
    scenarios = [Scenario("And Rome?", messages=EXAMPLES), Scenario("And Lima?")]
    expected = [scenarios[0].messages, ()]
    llmkit.scenarios_to_csv(scenarios, tmp_path / "a.csv")
    llmkit.scenarios_to_yaml(scenarios, tmp_path / "a.yaml")
    assert [s.messages for s in llmkit.scenarios_from_csv(tmp_path / "a.csv")] == expected
    assert [s.messages for s in llmkit.scenarios_from_yaml(tmp_path / "a.yaml")] == expected


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "content": "Be brief."}],
        [{"role": "user", "content": "a"}],
        [{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}],
        [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
        [{"role": "user", "content": "a"}, {"role": "assistant", "content": " "}],
        [{"role": "user", "content": "a"}, {"role": "assistant"}],
        [{"role": "user", "content": 3}, {"role": "assistant", "content": "b"}],
        "What of Oslo?",
        7,
    ],
)
def test_turns_of_nobody_are_refused(messages):
    """Roles other than user and assistant in turn, or turns without text."""
    with pytest.raises(llmkit.ValidationError, match="essage"):
        Scenario("And Rome?", messages=messages)
