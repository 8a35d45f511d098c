"""Which model is set for internal tasks, and a real server that others wrote."""

import json
import os
import re
import subprocess
import sys

import pytest
import yaml

import llmkit
from llmkit.catalog.purposes import PURPOSES


@pytest.fixture
def asks(kit):
    """Make a provider's default model the one for all internal tasks; returns its reference."""

    def choose(provider):
        reference = kit.catalog.defaults()[provider].reference
        for purpose in PURPOSES:
            kit.catalog.set_infra_model(purpose, reference)
        return reference

    return choose


class ThirdParty:
    """fakellm, run as its users run it; ``rules`` are pairs of what a request contains and the answer to it."""

    def __init__(self, folder, rules):
        listed = [
            {"name": f"r{i}", "when": {"messages_contain": has}, "respond": {"content": _text(answer)}}
            for i, (has, answer) in enumerate(rules)
        ]
        config = folder / "fakellm.yaml"
        config.write_text(yaml.safe_dump({"version": 1, "rules": listed}))
        command = "from fakellm.cli import main; main()"
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-c", command, "serve", "--port", "0", "--config", str(config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"NO_COLOR": "1"},
        )
        said = (re.search(r"running on (http://\S+)", line) for line in self._process.stderr)
        self.url = next(found for found in said if found)[1]

    def close(self):
        """End the server."""
        self._process.terminate()
        self._process.wait()
        self._process.stderr.close()


def _text(answer):
    return answer if isinstance(answer, str) else json.dumps(answer)


@pytest.fixture
def third_party(tmp_path):
    """Starts fakellm with rules and returns a real (not simulated) kit whose every task goes there, and its stats."""
    opened = []

    def start(rules, model="writer"):
        server = ThirdParty(tmp_path, rules)
        kit = llmkit.open(tmp_path / "real.duckdb")
        opened.extend((kit, server))
        kit.catalog.add_provider("local", base_url=f"{server.url}/v1", api_key_env=None)
        kit.catalog.update_provider("local", max_parallel_requests=5, requests_per_minute=10_000)
        for name in (model, "subject", "other"):
            kit.catalog.add_model(f"local:{name}", cost_input_per_million=1, cost_output_per_million=2)
        for purpose in PURPOSES:
            kit.catalog.set_infra_model(purpose, f"local:{model}")
        return kit, server

    yield start
    for each in opened:
        each.close()
