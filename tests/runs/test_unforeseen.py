"""An error of llmkit's own: it costs the probe in which it happens, and no other."""

import logging

import pytest

import llmkit
from llmkit.providers.wires.openai_chat import OpenAIChat

LONG = "a harmless prompt, the longest of them, with which the run is checked before it begins"
LUNA, SMALL = "openai:gpt-6-luna", "mistral:mistral-small-2603"


@pytest.mark.parametrize(("where", "status"), [("build", "skipped"), ("parse", "failed")])
def test_an_unforeseen_error_ends_its_probe_only(kit, monkeypatch, caplog, where, status):
    """The others are answered, the traceback is logged once, and a reply that came is saved as it was; where nothing
    was sent yet, the probe is one that resume asks.
    """
    works = getattr(OpenAIChat, where)

    def fails(self, call, *reply):
        if "poison" in str(call.messages):
            raise ZeroDivisionError("sk-secret")
        return works(self, call, *reply)

    monkeypatch.setattr(OpenAIChat, where, fails)
    with caplog.at_level(logging.ERROR, logger="llmkit"):
        run = kit.run([LONG, "poison", "b", "poison too"], SMALL, order="sequential").result(60)
    assert run.status == "completed"
    probes = run.probes.set_index("prompt")
    assert probes["status"].to_dict() == {LONG: "ok", "poison": status, "b": "ok", "poison too": status}
    assert probes.loc["poison", "error_code"] == "UNKNOWN"
    assert "ZeroDivisionError" in probes.loc["poison", "error_message"]
    assert "secret" not in probes.loc["poison", "error_message"]
    assert [record.exc_info is not None for record in caplog.records] == [True, False]
    attempts = run.attempts[run.attempts["error_code"] == "UNKNOWN"]
    assert len(attempts) == (2 if where == "parse" else 0)
    assert attempts["maybe_billed"].all()
    assert attempts["reply"].str.contains("choices").all()
    assert kit.resume(run.id).result(60).status == "completed"


def test_limits_that_cannot_be_kept_stop_the_run_with_a_sentence(kit):
    """The gate's folder is a file: nothing is asked without limits, and the run can be begun afterwards."""
    gate = kit.path.with_name(kit.path.name + ".gate")
    for file in gate.iterdir():
        file.unlink()
    gate.rmdir()
    gate.write_text("")
    with pytest.raises(llmkit.LlmkitError, match="cannot be"):
        kit.run("q", LUNA).result(60)
    gate.unlink()
    gate.mkdir()
    assert set(kit.run("q", LUNA).result(60).probes["status"]) == {"ok"}
