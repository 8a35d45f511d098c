"""The form to code by hand: which answers it shows, what the browser is told, and where codes go."""

import pandas as pd
import pytest

import llmkit

MODELS = ["openai:gpt-6-luna", "mistral:mistral-small-2603"]
CODEBOOK = {"warm": "friendly", "cold": ""}


@pytest.fixture
def run(kit):
    """Conversations of two turns with two models."""
    return kit.run([f"Question {n}?" for n in range(10)], MODELS, followups=["Why?"], samples=2).result()


def test_the_sample_is_blind_and_of_every_configuration(kit, run):
    """As many answers of each, in an order that tells nothing; the same by the same seed, another by another."""
    form = kit.coding_form(run, CODEBOOK, n=12)
    ids = form.df["probe_id"].tolist()
    models = run.probes.set_index("probe_id").loc[ids, "model"]
    assert models.value_counts().to_dict() == dict.fromkeys(MODELS, 6)
    assert ids != sorted(ids)
    assert kit.coding_form(run.id, list(CODEBOOK), n=12).df["probe_id"].tolist() == ids
    assert kit.coding_form(run, CODEBOOK, n=12, seed=1).df["probe_id"].tolist() != ids
    assert len(kit.coding_form(run, CODEBOOK, n=1000).df) == 40


def test_the_browser_is_told_texts_alone(kit, run):
    """Neither who answered nor which probe it is; all turns of the conversation."""
    told = kit.coding_form(run, CODEBOOK, n=3)._data()
    assert told["categories"] == [("warm", "friendly"), ("cold", "")]
    assert [set(item) for item in told["items"]] == [{"turns", "category"}] * 3
    assert [[turn["prompt"] for turn in item["turns"]][1] for item in told["items"]] == ["Why?"] * 3
    assert not [name for name in (run.id, "luna", "mistral") if name in str(told)]


def test_codes_of_people_stand_beside_those_of_models(kit, run):
    """Each person's own, with who and when; agreement takes both in one table."""
    form = kit.coding_form(run, CODEBOOK, n=40)
    for place in range(40):
        assert form._reply({"type": "code", "place": place, "category": ("warm", "cold")[place % 2]}) == ({}, [])
    form.code(0, None)
    assert form.df["category"].isna().tolist() == [True] + [False] * 39
    with llmkit.open(kit.path, simulate=True, actor="ben") as other:
        theirs = other.coding_form(run.id, CODEBOOK, n=40)
        assert theirs.df["category"].isna().all()
        theirs.code(1, "warm")
    assert form.df["category"][1] == "cold"
    codes = run.hand_codes()
    assert codes["infra_model"].nunique() == 2
    by_model = pd.DataFrame({"probe_id": form.df["probe_id"], "infra_model": "a:model", "category": "warm"})
    agreement = llmkit.agreement(pd.concat([by_model, codes]))
    assert len(agreement.table) == 20
    assert "39 of 40 answers" in form._repr_mimebundle_()["text/html"]


def test_what_cannot_be_coded_is_refused(kit, run, monkeypatch):
    """A sentence in the form where a code cannot be kept, and an error where there is nothing to code."""
    form = kit.coding_form(run, CODEBOOK, n=2)
    told = []  # to the browser
    monkeypatch.setattr(form.answers, "send", lambda message, buffers: told.append(message))
    form.answers._receive({"type": "code", "place": 0, "category": ["a"], "number": 1})
    assert "A code is a text" in told[0]["error"]
    for wrong in (lambda: kit.coding_form(run, []), lambda: kit.coding_form(run, CODEBOOK, n=0)):
        with pytest.raises(llmkit.ValidationError):
            wrong()
