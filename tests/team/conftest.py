"""A server for all tests, and a database of its own for each team."""

import itertools

import pytest
from postgres import Server, programs

import llmkit
from llmkit.cli import main

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def server():
    """PostgreSQL, where it is installed."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql), so teams are not tested.")
    server = Server()
    yield server
    server.close()


@pytest.fixture
def url(server):
    """A database that was prepared for a team."""
    url = server.database(f"team{next(_NUMBERS)}")
    assert main(["team", "init", url]) == 0
    return url


@pytest.fixture
def member(url, tmp_path):
    """Opens a file of somebody in the team."""
    kits = []

    def opened(name, **how):
        kits.append(llmkit.open(tmp_path / f"{name}.duckdb", **{"simulate": True, "actor": name, "team": url, **how}))
        return kits[-1]

    yield opened
    for kit in kits:
        kit.close()
