"""A warning names the line of the user's code that llmkit was called from."""

import inspect
import subprocess
import sys
import threading
import warnings

import pytest

import llmkit
from llmkit.records.user_warnings import warn

LUNA, HAIKU = "openai:gpt-6-luna", "anthropic:claude-haiku-5-5"


def no_limits(kit):
    """A limit that several functions check, one after the other."""
    kit.catalog.update_provider("openai", tokens_per_minute=0)


def a_dear_heir(kit):
    """A warning inside the context manager of an edit."""
    kit.catalog.update_model(HAIKU, cost_input_per_million="0.001", cost_output_per_million="0.001")
    kit.catalog.deprecate_model(HAIKU)


def left_out(kit):
    """A parameter that a model does not take."""
    kit.run("a", LUNA, temperature=0, options={"reasoning_effort": "low"}).result(60)


WARNED = [(no_limits, "would stop every request"), (a_dear_heir, "Choose another"), (left_out, "left out of")]


@pytest.mark.parametrize(("ask", "words"), WARNED)
def test_a_warning_names_the_line_of_the_call(kit, ask, words):
    """However many functions and generators of ours lie between."""
    with pytest.warns(UserWarning, match=words) as told:
        ask(kit)
    lines, first = inspect.getsourcelines(ask)
    for each in told:
        assert each.filename == __file__
        assert each.lineno == first + len(lines) - 1


def test_a_script_is_named_where_it_opens_a_catalog(tmp_path):
    """At its top level, too, where nothing of the user's is above it."""
    path, script = tmp_path / "c.duckdb", tmp_path / "study.py"
    llmkit.open(path).close()
    path.write_bytes(b"no database" * 1000)
    script.write_text(f"import llmkit\n\nllmkit.open({str(path)!r})\n", encoding="utf-8")
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=True)
    assert f"{script}:3: UserWarning: The database" in ended.stderr


def test_a_thread_without_a_line_of_the_users_warns_all_the_same():
    """A warning on the background thread names ours."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        thread = threading.Thread(target=warn, args=("On its own.",))
        thread.start()
        thread.join()
    assert [str(each.message) for each in told] == ["On its own."]
