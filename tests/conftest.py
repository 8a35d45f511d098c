"""What every test starts from: no real keys, a catalog of its own, no display."""

import os
import shutil
import tempfile

import pytest
from hypothesis import settings

KEY_VARIABLES = (
    "OPENAI_API_KEY",
    "ANTHROPIC_API_KEY",
    "GOOGLE_API_KEY",
    "GEMINI_API_KEY",
    "XAI_API_KEY",
    "DEEPSEEK_API_KEY",
    "MISTRAL_API_KEY",
    "OPENROUTER_API_KEY",
)

settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)
settings.register_profile("dev", deadline=None, max_examples=50)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_configure(config):
    """Before anything is imported, and for the kernels of notebooks, which no fixture reaches."""
    config.llmkit_home = tempfile.mkdtemp(prefix="llmkit-tests-")
    for name in KEY_VARIABLES:
        os.environ.pop(name, None)
    os.environ["LLMKIT_DB"] = os.path.join(config.llmkit_home, "notebooks.duckdb")
    os.environ["LLMKIT_CONFIG_DIR"] = os.path.join(config.llmkit_home, "config")


def pytest_unconfigure(config):
    """Leave nothing behind."""
    shutil.rmtree(config.llmkit_home, ignore_errors=True)


@pytest.fixture(autouse=True)
def isolated_environment(monkeypatch, tmp_path_factory):
    """A catalog and a configuration folder of this test alone, and no keys whatever the test before it set."""
    for name in KEY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    home = tmp_path_factory.mktemp("llmkit")
    monkeypatch.setenv("LLMKIT_DB", str(home / "catalog.duckdb"))
    monkeypatch.setenv("LLMKIT_CONFIG_DIR", str(home / "config"))
    monkeypatch.setenv("MPLBACKEND", "Agg")
