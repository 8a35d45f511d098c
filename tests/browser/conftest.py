"""One JupyterLab server and one Chromium for all browser tests; a page and an empty shell for each."""

import os
from pathlib import Path

import pytest
from lab_page import Lab, Server, browser_path

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """The browser comes last: Playwright keeps an event loop running in this thread until the session ends."""
    items.sort(key=lambda item: item.path.parent == HERE)


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A JupyterLab without a token on a free port of this machine."""
    pytest.importorskip("jupyterlab")
    running = Server(tmp_path_factory.mktemp("lab"))
    yield running
    running.close()


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A headless Chromium at home in a temporary folder; without one the tests are skipped, but not in CI."""
    path = browser_path()
    if path is None:
        message = "No chromium on the PATH: apt-get install chromium"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    from playwright.sync_api import sync_playwright

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


@pytest.fixture(scope="session")
def session_lab(browser, server):
    """The page that all tests share: loading JupyterLab takes seconds."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(15_000)
    return Lab(page, server)


@pytest.fixture
def lab(session_lab):
    """JupyterLab in its light theme with nothing open, 1280 px wide."""
    session_lab.alerts.clear()
    yield session_lab
    session_lab.page.set_viewport_size({"width": 1280, "height": 900})
    session_lab.theme("JupyterLab Light")
    session_lab.close_all()


@pytest.fixture
def database(tmp_path):
    """Where a test's catalog lies."""
    return tmp_path / "catalog.duckdb"
