"""Whether databases of several members hold the same."""

import pandas as pd


def assert_same_tables(kits, names):
    """These tables have the same rows in the databases of all these kits."""
    for name in names:
        first, *others = (kit.sql(f"SELECT * FROM {name} ORDER BY ALL") for kit in kits)
        for other in others:
            pd.testing.assert_frame_equal(first, other)
