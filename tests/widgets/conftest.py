"""Panels over a real catalog in a real DuckDB file; nothing is sent but to a simulator on this machine."""

import threading

import pytest

from llmkit.kit import open_kit


@pytest.fixture
def kit(database):
    """A kit whose every provider counts as available."""
    with open_kit(database, simulate=True) as opened:
        yield opened
    for thread in threading.enumerate():
        if thread.name == "llmkit-panel":  # it may still show the end of a run, before the catalog is deleted
            thread.join(60)


@pytest.fixture
def keyless_kit(database, monkeypatch):
    """A kit that would ask real providers, with a key for Mistral only."""
    monkeypatch.setenv("MISTRAL_API_KEY", "test-key")
    with open_kit(database) as opened:
        yield opened


@pytest.fixture
def events(kit):
    """Counts what was written so far, to see that something wrote nothing."""
    return lambda: len(kit.catalog.history())
