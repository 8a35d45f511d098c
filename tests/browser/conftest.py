"""One JupyterLab server, one Chromium and one page for all, which takes seconds to load; an empty shell for each test.

They end with the last test of this folder: Playwright keeps an event loop running in the thread of the tests, which
others cannot use.
"""

import contextlib
import os

import pytest
from lab_page import PATIENCE, Lab, Server, browser_path

resources = contextlib.ExitStack()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """End them."""
    if nextitem is None or nextitem.path.parent != item.path.parent:
        resources.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """What the page showed, with a test that failed."""
    report = yield
    if report.failed and (lab := item.funcargs.get("lab")):
        report.sections.append(("the page", lab.describe()))
    return report


@pytest.fixture(scope="session")
def server(tmp_path_factory, python):
    """A JupyterLab without a token on a free port of this machine."""
    pytest.importorskip("jupyterlab")
    running = Server(tmp_path_factory.mktemp("lab"), python)
    resources.callback(running.close)
    return running


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A headless Chromium at home in a temporary folder; without one the tests are skipped, but not in CI."""
    path = browser_path()
    if path is None:
        message = "No chromium on the PATH: apt-get install chromium"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)

    playwright = resources.enter_context(sync_playwright())
    home = str(tmp_path_factory.mktemp("browser"))
    running = playwright.chromium.launch(
        executable_path=path,
        args=["--no-sandbox"],
        ignore_default_args=["--hide-scrollbars"],
        env={**os.environ, "HOME": home, "XDG_CONFIG_HOME": home},
    )
    resources.callback(running.close)
    return running


@pytest.fixture(scope="session")
def shared_lab(browser, server):
    """The page that the tests share."""
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
def database(shipped_catalog, copy_catalog, tmp_path):
    """Where a test's catalog lies, with limits as they are shipped."""
    copy_catalog(shipped_catalog, tmp_path / "catalog")
    return tmp_path / "catalog" / "k.duckdb"
