"""Where a key could be left behind, and looking there."""

import base64
import json
import traceback
from pathlib import Path
from urllib.parse import quote

CANARY = "sk-canary-7Hq2Xw9ZtR4mKp8L"
FORMS = (CANARY, base64.b64encode(CANARY.encode()).decode().rstrip("="), quote(CANARY, safe=""), CANARY[::-1])


def holds(text):
    """Whether a text or bytes hold the key in some form; half of it is enough."""
    data = text if isinstance(text, bytes) else str(text).encode("utf-8", "replace")
    return any(form.encode() in data for form in FORMS) or CANARY[:16].encode() in data


def files_with_key(*folders):
    """The files below the folders that hold the key."""
    files = [file for folder in folders for file in Path(folder).rglob("*") if file.is_file()]
    assert files
    return [file for file in files if holds(file.read_bytes())]


def tables_with_key(kit):
    """The tables that hold the key: a database may compress its columns, so that the file does not show it."""
    with kit.snapshot() as copy:
        names = [name for (name,) in copy.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        assert "attempts" in names
        return [name for name in names if holds(copy.execute(f"SELECT * FROM {name}").fetchall())]


def records_with_key(records):
    """The log records that hold the key in any of their fields."""
    return [record for record in records if holds(json.dumps(vars(record), default=repr)) or holds(record.getMessage())]


def chain(error):
    """An exception and all that it came from."""
    seen = []
    while error is not None and error not in seen:
        seen.append(error)
        error = error.__cause__ or error.__context__
    return seen


def shows_key(error):
    """Whether an error shows the key: in its text, its repr, its attributes, or in a traceback with local variables."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    own = [frame for frame in report.stack if "/llmkit/" in frame.filename]
    shown = [str(report), *(value for frame in own for value in (frame.locals or {}).values())]
    for each in chain(error):
        shown += [str(each), repr(each), repr(vars(each)), repr(each.args)]
    return any(map(holds, shown))
