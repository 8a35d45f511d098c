"""The folder for what is this user's on this machine, wherever a catalog comes from."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def config_folder() -> Path:
    """``$LLMKIT_CONFIG_DIR``, else the user's configuration folder."""
    return Path(os.environ.get("LLMKIT_CONFIG_DIR") or platformdirs.user_config_path("llmkit"))
