"""What every test starts from: no real keys, a catalog of its own, no display."""

import os

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

# Set here and not in a fixture: matplotlib reads it once, when the first test module imports it.
os.environ["MPLBACKEND"] = "Agg"

settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)
settings.register_profile("dev", deadline=None, max_examples=50)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(autouse=True)
def isolated_environment(monkeypatch, tmp_path_factory):
    """Take real keys away, and point the catalog and the user's configuration at folders of this test alone."""
    for name in KEY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    home = tmp_path_factory.mktemp("llmkit")
    monkeypatch.setenv("LLMKIT_DB", str(home / "catalog.duckdb"))
    monkeypatch.setenv("LLMKIT_CONFIG_DIR", str(home / "config"))
