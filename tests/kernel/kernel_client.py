"""A client of one IPython kernel."""

import ast
import time

from jupyter_client.manager import KernelManager

from llmkit.catalog import load_seed

SETUP = """
import asyncio, llmkit
class Remote:
    def url_for(self, provider):
        return {urls}[provider]
    def close(self):
        pass
kit = llmkit.open({path!r}, simulate=True)
kit.use_simulator(Remote())
"""
PROVIDERS = tuple(load_seed().providers)


class CellFailed(Exception):
    """A cell ended in an error; ``name`` is the exception's class."""

    def __init__(self, name, value):
        super().__init__(f"{name}: {value}")
        self.name = name


class Kernel:
    """A kernel in a process of its own."""

    def __init__(self):
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel()
        self._connect()

    def _connect(self):
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def open_kit(self, path, sim):
        """Open a catalog in the kernel, on a simulator of this process."""
        self.run(SETUP.format(urls={name: sim.url_for(name) for name in PROVIDERS}, path=str(path)))

    def start(self, code):
        """Send a cell; returns its id."""
        return self.client.execute(code)

    def finish(self, cell, timeout=120):
        """Wait until the cell is over; returns what its last line shows, and raises when it failed."""
        shown, failure = None, None
        while True:
            message = self.client.get_iopub_msg(timeout=timeout)
            if message["parent_header"].get("msg_id") != cell:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "execute_result":
                shown = content["data"]["text/plain"]
            elif kind == "error":
                failure = CellFailed(content["ename"], content["evalue"])
            elif kind == "status" and content["execution_state"] == "idle":
                break
        if failure is not None:
            raise failure
        return shown

    def run(self, code):
        """Run a cell to its end; returns the value of its last line."""
        shown = self.finish(self.start(code))
        return None if shown is None else ast.literal_eval(shown)

    def interrupt(self):
        """What the Stop button does."""
        self.manager.interrupt_kernel()

    def stop(self, cell):
        """Press Stop; returns how the cell failed and how many seconds after."""
        pressed = time.monotonic()
        self.interrupt()
        try:
            self.finish(cell)
        except CellFailed as failure:
            return failure.name, time.monotonic() - pressed
        raise AssertionError("the cell ended as if nothing had been pressed")

    def restart(self):
        """What Restart does: the process dies, another takes its place."""
        self.client.stop_channels()
        self.manager.restart_kernel(now=True)
        self._connect()

    def close(self):
        """End the kernel."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
