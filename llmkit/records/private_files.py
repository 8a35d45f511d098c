"""Files that only this user can read, and the folder for those kept on this machine, wherever a catalog comes from."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import platformdirs


def config_folder() -> Path:
    """``$LLMKIT_CONFIG_DIR``, else the user's configuration folder."""
    return Path(os.environ.get("LLMKIT_CONFIG_DIR") or platformdirs.user_config_path("llmkit"))


def replace_private(path: Path, data: bytes) -> None:
    """Write or replace a file at once: readers, even after a crash, find all of its old or all of its new content."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # of mode 0600
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
