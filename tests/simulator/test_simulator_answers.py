"""Answers are the same for the same question, differ between samples, and have plausible token counts."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sim_client import MODELS, answer, ask, text_of

from llmkit.simulator import serve

LONG = "This regulation concerns the keeping of bees in allotments. " * 300


@pytest.mark.parametrize("provider", MODELS)
def test_answers_repeat_in_another_simulator(provider):
    """The same seed and request give the same words, another seed gives others."""
    texts = []
    for seed in (1, 1, 2):
        with serve(latency=0, seed=seed) as sim:
            texts.append(answer(sim, provider))
    assert texts[0] == texts[1] != texts[2]


def test_answers_depend_on_prompt_and_model(sim):
    """Another prompt or model is answered in other words, and the words take up the prompt."""
    gardens = answer(sim, prompt="What about gardens?", headers={"x-llmkit-sample": "0"})
    assert "gardens" in gardens
    assert gardens != answer(sim, prompt="What about bridges?", headers={"x-llmkit-sample": "0"})
    assert gardens != answer(sim, prompt="What about gardens?", model="gpt-6-sol", headers={"x-llmkit-sample": "0"})


def test_samples_differ_and_repeat(sim):
    """The sample header decides; without it each repetition is a new sample."""
    named = [answer(sim, headers={"x-llmkit-sample": str(sample)}) for sample in (0, 1, 2, 0, 1, 2)]
    assert named[:3] == named[3:]
    assert len(set(named)) == 3
    counted = [answer(sim) for _ in range(3)]
    assert len(set(counted)) == 3
    sim.reset()
    assert [answer(sim) for _ in range(3)] == counted


def test_seed_and_temperature_0_fix_the_answer(sim):
    """At temperature 0 a repetition is answered alike; another seed changes the answer."""
    cold = [answer(sim, model="gpt-4.1", temperature=0) for _ in range(3)]
    assert len(set(cold)) == 1
    seeded = [answer(sim, model="gpt-4.1", temperature=0, seed=seed) for seed in (1, 2)]
    assert seeded[0] != seeded[1]


def test_a_follow_up_is_answered_in_its_own_right(sim):
    """The conversation so far counts, not only the last prompt."""
    alone = answer(sim, prompt="And why?", headers={"x-llmkit-sample": "0"})
    before = [
        {"role": "user", "content": "Do you like bees?"},
        {"role": "assistant", "content": "Yes."},
        {"role": "user", "content": "And why?"},
    ]
    assert answer(sim, messages=before, headers={"x-llmkit-sample": "0"}) != alone


def test_lengths_have_a_heavy_tail(sim):
    """Of many answers most are short, and a few are several times as long."""
    asked = [ask(sim, prompt=f"Question {n} about tides") for n in range(150)]
    counts = sorted(each.json()["usage"]["completion_tokens"] for each in asked)
    median = counts[75]
    assert 50 < median < 500
    assert counts[-1] > 3 * median


def test_text_is_as_long_as_its_tokens_say(sim):
    """A token stands for about four characters, in and out."""
    body = ask(sim, "deepseek", "x" * 4000, thinking={"type": "disabled"}).json()
    assert 1000 <= body["usage"]["prompt_tokens"] <= 1010
    assert abs(body["usage"]["completion_tokens"] - len(text_of("deepseek", body)) / 4) <= 1


@pytest.mark.parametrize("limit", [1, 7, 40])
def test_max_tokens_is_kept(sim, limit):
    """Reasoning and text together never exceed the limit, and the finish reason says so."""
    body = ask(sim, max_completion_tokens=limit).json()
    assert body["usage"]["completion_tokens"] <= limit
    assert body["choices"][0]["finish_reason"] == "length"


def test_effort_decides_how_much_is_reasoned(sim):
    """None gives none; more effort gives more tokens, on the whole."""

    def reasoned(effort):
        usages = [ask(sim, prompt=f"Puzzle {n}", reasoning_effort=effort).json()["usage"] for n in range(20)]
        return sum(usage["completion_tokens_details"]["reasoning_tokens"] for usage in usages)

    assert 0 == reasoned("none") < reasoned("low") < reasoned("xhigh")


def test_a_long_prefix_is_read_from_the_cache(sim):
    """The second conversation that begins alike has cached tokens, in whole blocks, and never all of them."""
    details = [
        ask(sim, prompt=LONG + question).json()["usage"] for question in ("Why?", "Since when?", "Where exactly?")
    ]
    assert details[0]["prompt_tokens_details"]["cached_tokens"] == 0
    assert details[0]["prompt_tokens_details"]["cache_write_tokens"] > 1024
    for usage in details[1:]:
        cached = usage["prompt_tokens_details"]["cached_tokens"]
        assert 1024 <= cached <= usage["prompt_tokens"]
        assert cached % 128 == 0


def test_each_provider_counts_cached_tokens_its_own_way(sim):
    """DeepSeek in hits and misses, Anthropic apart from the input and only when asked, Gemini in a field of its own."""
    for _ in range(2):
        deepseek = ask(sim, "deepseek", LONG).json()["usage"]
        marked = ask(sim, "anthropic", LONG, cache_control={"type": "ephemeral"}).json()["usage"]
        plain = ask(sim, "anthropic", LONG, system="Be kind.").json()["usage"]
        gemini = ask(sim, "google", LONG).json()["usageMetadata"]
    assert deepseek["prompt_cache_hit_tokens"] > 1024
    assert deepseek["prompt_cache_hit_tokens"] + deepseek["prompt_cache_miss_tokens"] == deepseek["prompt_tokens"]
    assert marked["cache_read_input_tokens"] > 1024
    assert marked["input_tokens"] < 200
    assert plain["cache_read_input_tokens"] == plain["cache_creation_input_tokens"] == 0
    assert gemini["cachedContentTokenCount"] > 1024


def test_stop_sequences_end_the_answer(sim):
    """Nothing after the first stop sequence is sent."""
    body = ask(sim, "mistral", "Tell me about rivers", stop=["."]).json()
    assert "." not in text_of("mistral", body)
    assert body["choices"][0]["finish_reason"] == "stop"


def test_a_scale_and_a_yes_or_no_are_answered_first(sim):
    """Prompts that want a number or a yes get one, so that a demo reads well."""
    number = answer(sim, prompt="On a scale from 1 (not at all) to 7 (fully), how far can you trust it?")
    assert number[0] in "1234567"
    assert number[1] == "."
    assert answer(sim, prompt="Is it right? Answer yes or no.").startswith(("Yes.", "No."))


def test_mistral_sometimes_answers_with_a_list(sim):
    """Content is a string or a list of chunks, thinking among them."""
    contents = [
        ask(sim, "mistral", f"Topic {n}", reasoning_effort=effort).json()["choices"][0]["message"]["content"]
        for n in range(15)
        for effort in ("none", "high")
    ]
    assert {type(content) for content in contents} == {str, list}
    assert any(chunk["type"] == "thinking" for content in contents if isinstance(content, list) for chunk in content)


def test_xai_counts_reasoning_apart_and_names_the_cost(sim):
    """The total has the reasoning, the completion tokens have not, and the cost is in ticks."""
    usage = ask(sim, "xai").json()["usage"]
    reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
    assert reasoning > 0
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] + reasoning
    output = usage["completion_tokens"] + reasoning
    assert usage["cost_in_usd_ticks"] == usage["prompt_tokens"] * 12_500 + output * 25_000


def test_of_requests_at_the_same_moment_none_reads_what_another_writes():
    """A cache is filled when an answer is there: what came before pays in full, what comes after does not."""
    with serve(latency=2) as slow:
        with ThreadPoolExecutor(8) as threads:
            together = list(threads.map(lambda n: ask(slow, prompt=f"{LONG} {n}").json()["usage"], range(8)))
        after = ask(slow, prompt=LONG).json()["usage"]
    assert all(usage["prompt_tokens_details"]["cached_tokens"] == 0 for usage in together)
    assert after["prompt_tokens_details"]["cached_tokens"] > 1024


def test_anthropic_keeps_what_is_marked_and_long_enough(sim):
    """The rest of a request is never written, a text too short for the model's cache neither, and marks are checked."""

    def usage(rules, question, model="claude-haiku-5-5", kind="ephemeral"):
        blocks = [{"type": "text", "text": rules, "cache_control": {"type": kind}}, {"type": "text", "text": question}]
        return ask(sim, "anthropic", blocks, model=model)

    first, second = usage(LONG, "Why? " * 900).json()["usage"], usage(LONG, "Since when?").json()["usage"]
    assert (
        first["cache_creation_input_tokens"] == second["cache_read_input_tokens"] == pytest.approx(len(LONG) / 4, abs=2)
    )
    assert second["cache_creation_input_tokens"] == first["cache_read_input_tokens"] == 0
    for model, tokens, is_kept in (("claude-haiku-5-5", 600, True), ("claude-haiku-5-5", 500, False),
                                   ("claude-haiku-4-5", 4_000, False), ("claude-opus-4-8", 1_100, True)):  # fmt: skip
        written = usage("bees" * tokens, "Why?", model).json()["usage"]["cache_creation_input_tokens"]
        assert (written >= tokens) is is_kept, model
    assert usage(LONG, "Why?", kind="forever").status_code == 400
