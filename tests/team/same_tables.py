"""Whether databases of several members hold the same."""

import pandas as pd

COSTS = ("run_id", "config", "status", "sample", "day")


def assert_same_tables(kits, names):
    """All know the same of all runs before they are opened; then these tables have the same rows in all databases."""
    for known in ([kit.runs() for kit in kits], [kit.costs(by=COSTS) for kit in kits]):
        for other in known[1:]:
            pd.testing.assert_frame_equal(known[0], other)
    for kit in kits:
        for run_id in kit.runs()["run_id"]:
            kit.load(run_id)
    for name in names:
        first, *others = (kit.sql(f"SELECT * FROM {name} ORDER BY ALL") for kit in kits)
        for other in others:
            pd.testing.assert_frame_equal(first, other)
