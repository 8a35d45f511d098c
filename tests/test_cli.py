"""The command line, as somebody types it."""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

import llmkit
from llmkit.catalog import load_seed
from llmkit.cli import main


def test_demo_asks_every_shipped_provider_without_keys(capsys):
    """One command: progress on one line, a cost table over all providers, and where the data lies."""
    assert main(["demo", "--prompts", "1"]) == 0
    out, err = capsys.readouterr()
    for provider in load_seed().providers:
        assert re.search(rf"^ *{provider} .* 1 +1 +0 ", out, flags=re.MULTILINE), out
    assert f"{len(load_seed().providers)}/{len(load_seed().providers)}" in err
    path = re.search(r"llmkit\.open\('(.*)'\)\.last_run\(\)\.probes", out)
    assert os.path.exists(path[1])
    page = re.search(r"Or in a browser: (.*)", out)
    assert os.path.exists(page[1])
    assert "make lab" in out


def test_demo_waits_for_no_account(capsys):
    """No provider is slower than one request a second in it, so that five prompts take seconds."""
    assert main(["demo", "--prompts", "1"]) == 0
    path = re.search(r"llmkit\.open\('(.*)'\)\.last_run", capsys.readouterr().out)
    with llmkit.open(path[1]) as kit:
        assert kit.catalog.providers()["requests_per_minute"].min() >= 120


def test_models_are_a_table_or_json(capsys):
    """The catalog for people, and for other programs."""
    assert main(["models", "--provider", "openai"]) == 0
    assert re.search(r"openai:gpt-6-luna .* 0\.10? ", capsys.readouterr().out)
    assert main(["models", "--json"]) == 0
    models = json.loads(capsys.readouterr().out)
    luna = next(model for model in models if model["model"] == "openai:gpt-6-luna")
    assert (luna["cost_input_per_million"], luna["cost_output_per_million"]) == (0.1, 0.5)
    assert luna["is_default"] is True
    assert luna["is_available"] is False


def test_an_error_is_one_sentence(capsys):
    """No traceback for a typing error."""
    assert main(["models", "--provider", "opnai"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("llmkit: ")
    assert "openai" in err
    assert "Traceback" not in err


def test_sim_serves_until_it_is_interrupted():
    """Other programs can talk to the simulator at the address that is printed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "llmkit.cli", "sim"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        first = process.stdout.readline()
        url = re.search(r"http://127\.0\.0\.1:\d+", first)[0]
        assert [process.stdout.readline().split()[0] for _ in load_seed().providers] == list(load_seed().providers)
        request = urllib.request.Request(f"{url}/openai/v1/models", headers={"Authorization": "Bearer any"})
        with urllib.request.urlopen(request, timeout=60) as response:
            assert json.load(response)["data"]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130


def test_the_module_is_the_command():
    """``python -m llmkit`` works where the command itself is not on the path."""
    said = subprocess.run([sys.executable, "-m", "llmkit", "--help"], capture_output=True, text=True, timeout=120)
    assert said.returncode == 0
    assert "doctor" in said.stdout


def test_a_word_that_is_no_command_is_explained(capsys):
    """argparse says what there is."""
    with pytest.raises(SystemExit):
        main(["dmeo"])
    assert "demo" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["backup", "saved"], ["export", "saved"], ["doctor"], ["models"]], ids=" ".join)
def test_a_catalog_that_is_not_there_is_not_made_by_looking_for_it(command, tmp_path, monkeypatch, capsys):
    """A mistyped path does not end in a backup of nothing, nor in a sound but empty catalog."""
    monkeypatch.chdir(tmp_path)
    assert main([*command, "--db", "stduy.duckdb"]) == 1
    said = capsys.readouterr().err
    assert f"There is no catalog at {tmp_path / 'stduy.duckdb'}: name another with --db" in said
    assert not list(tmp_path.iterdir())


def test_the_doctor_tells_a_newcomer_which_keys_are_set(monkeypatch, capsys):
    """It is the first command after the installation, when there is no catalog in the usual place yet."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-newcomer")
    main(["doctor"])
    told = capsys.readouterr()
    assert "OPENAI_API_KEY" in told.out
    assert "sk-newcomer" not in told.out + told.err


def test_whoever_has_read_enough_may_close_the_pipe():
    """``llmkit models | head -1`` ends without a traceback."""
    process = subprocess.Popen(
        [sys.executable, "-m", "llmkit", "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(120) == 141


def test_a_python_that_does_not_write_utf_8_is_told_how_to(tmp_path):
    """DuckDB always does, so that its file would lie beside a journal and locks of another name."""
    world = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LLMKIT_DB": str(tmp_path / "größe.duckdb")}
    said = subprocess.run(
        [sys.executable, "-m", "llmkit", "models"], env=os.environ | world, capture_output=True, text=True, timeout=120
    )
    assert said.returncode == 1
    assert "Start Python with PYTHONUTF8=1." in said.stderr
    assert not list(tmp_path.iterdir())
