"""One JupyterLab server for all, one Chromium for each file; an empty shell for each test.

A Chromium ends with its file: Playwright keeps an event loop running in the thread of the tests, which others cannot
use.
"""

import os

import pytest
from lab_page import PATIENCE, Lab, Server, browser_path


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A JupyterLab without a token on a free port of this machine."""
    pytest.importorskip("jupyterlab")
    running = Server(tmp_path_factory.mktemp("lab"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A headless Chromium at home in a temporary folder; without one the tests are skipped, but not in CI."""
    path = browser_path()
    if path is None:
        message = "No chromium on the PATH: apt-get install chromium"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)

    with sync_playwright() as playwright:
        home = str(tmp_path_factory.mktemp("browser"))
        running = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox"],
            ignore_default_args=["--hide-scrollbars"],
            env={**os.environ, "HOME": home, "XDG_CONFIG_HOME": home},
        )
        yield running
        running.close()


@pytest.fixture(scope="module")
def shared_lab(browser, server):
    """The page that a file's tests share: loading JupyterLab takes seconds."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(PATIENCE)
    return Lab(page, server)


@pytest.fixture
def lab(shared_lab):
    """JupyterLab in its light theme with nothing open, 1280 px wide."""
    shared_lab.alerts.clear()
    yield shared_lab
    shared_lab.page.set_viewport_size({"width": 1280, "height": 900})
    shared_lab.theme("JupyterLab Light")
    shared_lab.close_all()


@pytest.fixture
def database(tmp_path):
    """Where a test's catalog lies."""
    return tmp_path / "catalog.duckdb"
