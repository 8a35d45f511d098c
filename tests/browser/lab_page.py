"""A real JupyterLab and a real browser, as the browser tests use them."""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import axe_core_python
import nbformat
from playwright.sync_api import Error

PATIENCE = 60_000  # ms, for a machine that does other things as well
SCREENSHOTS = Path(__file__).parent / "screenshots"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_AXE = Path(axe_core_python.__file__).with_name("axe.min.js")
_KERNEL = "from ipykernel.kernelapp import launch_new_instance; launch_new_instance()"
_SETTINGS = {
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none", "autoStartDefaultKernel": True},
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
}


def browser_path():
    """The first Chromium on the PATH, or ``None``."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


class Server:
    """One JupyterLab server whose every file lies in ``home``; ``python`` begins the command line of its kernels."""

    def __init__(self, home, python):
        self.root = home / "notebooks"
        self.root.mkdir(parents=True)
        config = home / "config"
        (config / "labconfig").mkdir(parents=True)
        (config / "labconfig" / "default_setting_overrides.json").write_text(json.dumps(_SETTINGS))
        spec = home / "data" / "kernels" / "python3" / "kernel.json"
        spec.parent.mkdir(parents=True)
        command = [*python, "-c", _KERNEL, "-f", "{connection_file}"]
        spec.write_text(json.dumps({"argv": command, "display_name": "Python 3", "language": "python"}))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        places = {
            "HOME": home,
            "JUPYTER_CONFIG_DIR": config,
            "JUPYTER_DATA_DIR": home / "data",
            "JUPYTER_RUNTIME_DIR": home / "runtime",
            "JUPYTERLAB_SETTINGS_DIR": home / "settings",
            "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces",
            "IPYTHONDIR": home / "ipython",
            "LLMKIT_CONFIG_DIR": home / "llmkit",
            "LLMKIT_DB": home / "llmkit.duckdb",
        }
        self._log = open(home / "server.log", "w")  # noqa: SIM115 - open as long as the server
        options = {
            "ServerApp.port": port,
            "ServerApp.port_retries": 0,
            "ServerApp.open_browser": False,
            "ServerApp.root_dir": self.root,
            "ServerApp.allow_root": True,
            "IdentityProvider.token": "",
            "LabApp.expose_app_in_browser": True,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *(f"--{name}={value}" for name, value in options.items())],
            env={**os.environ, **{name: str(place) for name, place in places.items()}},
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self._wait(home / "server.log")

    def _wait(self, log):
        deadline = time.monotonic() + PATIENCE / 1000
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/api", timeout=5):
                return
            time.sleep(0.1)
        raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")

    def close(self):
        """Stop the server and its kernels."""
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._log.close()


class Lab:
    """One page of JupyterLab."""

    def __init__(self, page, server):
        self.page = page
        self.server = server
        self.alerts = []
        self.messages = []
        page.on("console", lambda message: self.messages.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.messages.append(f"page error: {error}"))
        page.on("dialog", lambda dialog: (self.alerts.append(dialog.message), dialog.dismiss()))
        self.load()

    def load(self):
        """Open JupyterLab afresh."""
        self.page.goto(f"{self.server.url}/lab?reset")
        self.page.wait_for_function("window.jupyterapp && document.querySelector('.jp-LabShell')", timeout=PATIENCE)
        self.page.evaluate("window.jupyterapp.restored")
        self.page.add_style_tag(content=".cm-cursor, .jp-toast-container {display: none !important}")
        self.do("application:set-mode", mode="single-document")
        if self.page.locator("#jp-left-stack").is_visible():
            self.do("application:toggle-left-area")

    def do(self, command, **arguments):
        """One of JupyterLab's commands; returns when it has ended."""
        self.page.evaluate(
            "([command, args]) => window.jupyterapp.commands.execute(command, args).then(() => null)",
            [command, arguments],
        )

    def notebook(self, name, *cells):
        """Write a notebook of code cells and open it."""
        document = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in cells])
        document.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(document, self.server.root / f"{name}.ipynb")
        return self.open(f"{name}.ipynb")

    def open(self, path, *, kernel=True):
        """Open a notebook that is there."""
        factory = (
            {} if kernel else {"kernelPreference": {"shouldStart": False, "canStart": True, "autoStartDefault": False}}
        )
        self.page.evaluate(
            """async ([path, options]) => {
                const found = await window.jupyterapp.commands.execute('docmanager:open', {path, ...options});
                window.notebook = found;
                await found.context.ready;
                await found.revealed;
                if (!('kernelPreference' in options)) { await found.context.sessionContext.ready; }
            }""",
            [path, factory],
        )
        return Notebook(self)

    def theme(self, name):
        """Change the theme, for example to ``JupyterLab Dark``."""
        self.do("apputils:change-theme", theme=name)
        light = "false" if "Dark" in name else "true"
        self.page.wait_for_selector(f"body[data-jp-theme-light='{light}']", state="attached")
        self.page.wait_for_timeout(300)  # the style sheet of the theme is swapped after the attribute

    def describe(self):
        """The page as a screen reader has it, and what its console said last."""
        try:
            shown = self.page.locator("body").aria_snapshot(timeout=5_000)
        except Error as error:  # the page may have crashed or hang
            shown = repr(error)
        return "\n".join((shown, *self.messages[-20:]))

    def close_all(self):
        """Close every tab and stop every kernel."""
        self.page.evaluate(
            """async () => {
                for (const widget of [...window.jupyterapp.shell.widgets('main')]) {
                    if (widget.context && widget.context.sessionContext) {
                        await widget.context.sessionContext.shutdown().catch(() => null);
                        widget.context.model.dirty = false;
                    }
                    widget.dispose();
                }
            }"""
        )


class Notebook:
    """The notebook that is open."""

    def __init__(self, lab):
        self.lab = lab
        self.page = lab.page

    def run(self):
        """Run all cells; returns when the kernel has answered the last. Fails on the first error output."""
        self.lab.do("notebook:run-all-cells")
        errors = self.page.locator(
            ".jp-NotebookPanel:not(.lm-mod-hidden) [data-mime-type*='stderr'], "
            ".jp-NotebookPanel:not(.lm-mod-hidden) [data-mime-type*='error']"
        )
        assert not errors.count(), errors.all_inner_texts()

    def run_code(self, code):
        """Run code in the kernel as another notebook's cell would, without an output here."""
        self.page.evaluate(
            """code => window.notebook.context.sessionContext.session.kernel
                .requestExecute({code}).done.then(() => null)""",
            code,
        )

    def restart(self):
        """Restart the kernel, and forget the outputs."""
        self.page.evaluate("window.notebook.context.sessionContext.session.kernel.restart()")
        self.lab.do("notebook:clear-all-cell-outputs")

    def save(self):
        """Save the file."""
        self.page.evaluate("window.notebook.context.save()")

    def output(self, cell=-1):
        """The output area of a cell."""
        cells = self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-CodeCell")
        return cells.nth(cell if cell >= 0 else cells.count() + cell).locator(".jp-Cell-outputArea")

    def panel(self, cell=-1):
        """A panel in the output of a cell, when it is on the screen."""
        found = self.output(cell).locator(".widget-vbox").first
        found.wait_for()
        return found

    def screenshot(self, name, target=None):
        """A picture of a panel or of the page, for people to look at."""
        SCREENSHOTS.mkdir(exist_ok=True)
        (target or self.page).screenshot(path=SCREENSHOTS / f"{name}.png")

    def violations(self, target):
        """What axe-core finds serious or critical within a panel: rule, and the elements it is about."""
        if not self.page.evaluate("typeof window.axe === 'object'"):
            self.page.evaluate(_AXE.read_text(encoding="utf-8"))
        found = target.evaluate(
            "element => window.axe.run(element, {resultTypes: ['violations']}).then(results => results.violations)"
        )
        return [
            (entry["id"], node["html"][:200], node["failureSummary"])
            for entry in found
            if entry["impact"] in ("serious", "critical")
            for node in entry["nodes"]
        ]


def stands_below(sentence, field):
    """Whether a sentence is on the screen just below the field that it is about."""
    above, below = field.bounding_box(), sentence.bounding_box()
    return 0 < below["y"] - above["y"] < 60


def plain(text):
    """Text as people read it: runs of blanks as one."""
    return re.sub(r"\s+", " ", text).strip()
