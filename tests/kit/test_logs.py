"""The log: one event for each thing that matters, with its fields; ``log_to`` writes it for whoever asks."""

import getpass
import io
import logging
import os
import stat

import pytest

import llmkit

LUNA = "openai:gpt-6-luna"
RETRY = llmkit.RetryPolicy(max_attempts=3, rate_limit_waits=(0.01,))


@pytest.fixture
def records(caplog):
    """The log's records by event, down to DEBUG."""
    caplog.set_level(logging.DEBUG, logger="llmkit")

    def of(event):
        return [record for record in caplog.records if record.getMessage() == event]

    return of


@pytest.fixture(autouse=True)
def restored_log():
    """Handlers and level of llmkit's log, as they were before the test."""
    log = logging.getLogger("llmkit")
    handlers, level = list(log.handlers), log.level
    yield
    for handler in set(log.handlers) - set(handlers):
        log.removeHandler(handler)
        handler.close()
    log.setLevel(level)


def test_a_run_its_retries_and_its_pauses_are_events(kit, sim, records):
    """Start, end, retry and pause once each, with the run, probe, provider, model, code and seconds."""
    sim.script("openai", ["rate_limit"])
    run = kit.run("a question", LUNA, retry=RETRY).result(60)
    (started,), (ended,) = records("run started"), records("run ended")
    assert (started.run, started.probes, started.levelname) == (run.id, 1, "INFO")
    assert (ended.run, ended.status, ended.seconds > 0) == (run.id, "completed", True)
    for event in ("retry", "pause"):
        (record,) = records(event)
        assert (record.levelname, record.run, record.probe) == ("INFO", run.id, f"{run.id}.000000")
        assert (record.provider, record.model, record.code) == ("openai", LUNA, "RATE_LIMITED")
        assert record.seconds >= 0
    sent = records("sent")
    assert [(record.levelname, record.status, record.code) for record in sent] == [
        ("DEBUG", 429, "RATE_LIMITED"),
        ("DEBUG", 200, None),
    ]
    assert {(record.run, record.probe, record.provider, record.model) for record in sent} == {
        (run.id, f"{run.id}.000000", "openai", LUNA)
    }


def test_a_resumed_run_and_an_edited_catalog_are_events(kit, sim, records):
    """Resuming says how many probes are asked; an edit says who changed what."""
    sim.script("openai", ["quota"])
    run = kit.run("a question", LUNA).result(60)
    kit.resume(run.id).result(60)
    (record,) = records("resume")
    assert (record.levelname, record.run, record.probes) == ("INFO", run.id, 1)
    kit.catalog.update_model(LUNA, display_name="Another name")
    record = records("catalog edit")[-1]
    assert (record.levelname, record.action, record.reference) == ("INFO", "update_model", LUNA)
    assert record.actor == getpass.getuser()


def test_another_model_than_the_configured_one_is_an_event(kit, records):
    """A task that falls back says which model it takes, and which it should have taken."""
    configured = kit.catalog.infra_model("scenario_expansion").reference
    kit.catalog.deprecate_model(configured)
    with pytest.warns(UserWarning, match="is used instead"):
        kit.expand("cities", n=2).result(60)
    (record,) = records("fallback")
    assert (record.levelname, record.configured) == ("INFO", configured)
    assert record.model.startswith(f"{record.provider}:")


def test_log_to_a_file_writes_one_line_an_event(kit, sim, tmp_path):
    """With its fields, readable by its owner only, and never twice however often it is called."""
    path = tmp_path / "llmkit.log"
    llmkit.log_to(path)
    llmkit.log_to(path_or_stream=str(path))
    sim.script("openai", ["rate_limit"])
    run = kit.run("a question\nwith lines", LUNA, retry=RETRY).result(60)
    lines = path.read_text().splitlines()
    events = [line.split(" ", 3)[3] for line in lines]
    assert [event.split(" run=")[0] for event in events] == ["run started", "pause", "retry", "run ended"]
    assert all(f"run={run.id}" in line and " INFO llmkit.runs " in line for line in lines)
    assert f"provider=openai model={LUNA} code=RATE_LIMITED" in lines[2]
    assert "a question" not in path.read_text()
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_log_to_a_stream_at_another_level(kit):
    """A second call for the same stream changes its level, and DEBUG shows every request."""
    stream = io.StringIO()
    llmkit.log_to(stream, "WARNING")
    kit.run("a", LUNA).result(60)
    assert stream.getvalue() == ""
    handler = llmkit.log_to(stream, "debug")
    kit.run("a", LUNA).result(60)
    assert stream.getvalue().count(" sent ") == 1
    logging.getLogger("llmkit").removeHandler(handler)
    kit.run("a", LUNA).result(60)
    assert stream.getvalue().count(" sent ") == 1


@pytest.mark.parametrize(
    ("target", "level", "field"),
    [("/nope/x.log", "INFO", "path"), (5, "INFO", "path"), ("x.log", "LOUD", "level"), ("x.log", None, "level")],
)
def test_what_log_to_refuses(target, level, field):
    """A file that cannot be written and a level that is none."""
    with pytest.raises(llmkit.ValidationError) as caught:
        llmkit.log_to(target, level)
    assert caught.value.field == field


def test_edits_carry_the_name_of_who_opened_the_catalog(database):
    """The login name, or what ``open`` was told; undo takes back what any user changed."""
    with llmkit.open(database, simulate=True, actor="ada") as kit:
        kit.catalog.update_model(LUNA, display_name="Ada's")
        assert kit.catalog.history(LUNA)["actor"].iloc[-1] == "ada"
    with llmkit.open(database, simulate=True) as kit:
        kit.catalog.undo()
        assert kit.catalog.history(LUNA)["actor"].iloc[-1] == getpass.getuser()
        assert kit.catalog.model(LUNA).display_name != "Ada's"
    with pytest.raises(llmkit.ValidationError, match="actor must be one line"):
        llmkit.open(database, actor=5)


def test_another_target_replaces_the_first(tmp_path):
    """An event is written once, also when a link to the log is named."""
    (tmp_path / "link.log").symlink_to(tmp_path / "a.log")
    llmkit.log_to(tmp_path / "link.log")
    handler = llmkit.log_to(tmp_path / "a.log")
    logging.getLogger("llmkit.runs").warning("once")
    assert (tmp_path / "a.log").read_text().count("once") == 1
    logging.getLogger("llmkit").removeHandler(handler)
