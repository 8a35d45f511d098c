"""Cost tables: tokens and money by any columns.

Every table has, after the columns that it is grouped by:

``probes``, ``ok``, ``failed``, ``unpriced``, ``priced``
    counts of probes; ``unpriced`` includes partly unpriced ones, whose cost ``estimated_cost`` lacks, and ``priced``
    are the ok ones with a known cost
``input_tokens``, ``cached_input_tokens``, ``cache_write_tokens``, ``output_tokens``, ``reasoning_tokens``
    as in ``run.probes``
``estimated_cost``, ``cost_per_ok``
    all that is known to have been billed (missing where nothing is), and the same per ok probe; the latter is missing
    where a probe has no price
``original_cost``
    the cost of reused answers when they were bought; missing where none was reused
``failed_cost``, ``retried_cost``, ``wasted_cost``
    the cost of probes that are not ok (missing where unknown); that of failed attempts of ok probes; their sum
``maybe_billed``, ``maybe_billed_cost``
    attempts whose answer never arrived, and the most that they can have cost; not part of ``estimated_cost``
``share_input``, ``share_cached_input``, ``share_cache_write``, ``share_output``, ``share_reasoning``
    the share of each kind of token in the cost of the answers at the rates billed (they add up to 1; ``share_output``
    excludes reasoning); missing where a rate is unknown
``cache_saved``
    what the providers' prompt caches saved: savings from reads, less the surcharge for writes; missing where a rate or
    the tokens are unknown

When grouped by a column of one of these names (``by="input_tokens"``), the table's own is called ``total_<name>``.
Money is in US dollars, summed in DECIMAL before it becomes float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal

import pandas as pd

from llmkit.money import pricing
from llmkit.records.checks import texts
from llmkit.store import Store, cost_tables
from llmkit.store.cost_tables import Consumed
from llmkit.store.heads import TEXTS
from llmkit.store.queries import Source

SHARES = ("share_input", "share_cached_input", "share_cache_write", "share_output", "share_reasoning")


def cost_table(
    source: Source,
    by: str | Sequence[str],
    *,
    run_id: str | None = None,
    since: datetime | date | str | None = None,
    simulated: bool | None = None,
    shares: bool = True,
) -> pd.DataFrame:
    """The table of one run or of all, of real or simulated probes or both, since a time, with or without shares.

    What colleagues asked is fetched first for a table by texts: only then is more than heads needed.

    For one run, a column carried with the prompts takes precedence over a built-in group of the same name; for all
    runs it is the other way round, so that ``month`` means the same for each.
    """
    chosen = cost_tables.Selection(
        by=[by] if isinstance(by, str) or not isinstance(by, Iterable) else list(by),
        own_first=run_id is not None,
        run_id=run_id,
        since=None if since is None else texts.moment(since, "since"),
        simulated=simulated,
    )
    if run_id is None and isinstance(source, Store) and any(name in TEXTS for name in chosen.by):
        source.peers.fetch()
    table, consumed = source.look(lambda c: cost_tables.costs_and_consumed(c, chosen, cached_only=not shares), run_id)
    by_row: list[list[Consumed]] = [[] for _ in range(len(table))]
    for part in consumed:  # one part per set of rates, priced at once
        by_row[part.row].append(part)
    tokens = table[cost_tables.own_name("input_tokens", chosen.by)].notna()
    columns = {"cache_saved": [_saved(parts) if known else None for parts, known in zip(by_row, tokens, strict=True)]}
    if shares:
        rows = [_shares([pricing.split(part.usage, part.rates) for part in parts]) for parts in by_row]
        columns = {name: [row[place] for row in rows] for place, name in enumerate(SHARES)} | columns
    for name, values in columns.items():
        table[cost_tables.own_name(name, chosen.by)] = pd.Series(values, dtype="float64", index=table.index)
    return table


def _saved(parts: Sequence[Consumed]) -> float | None:
    amounts = [pricing.saved_by_cache(part.usage, part.rates) for part in parts]
    return None if None in amounts else float(pricing.total(amounts))


def _shares(parts: Sequence[tuple[Decimal | None, ...]]) -> tuple[float | None, ...]:
    kinds = list(zip(*parts, strict=True)) or [()] * len(SHARES)
    whole = pricing.total(amount for kind in kinds for amount in kind)
    if not whole or any(amount is None for kind in kinds for amount in kind):
        return (None,) * len(SHARES)
    return tuple(float(pricing.total(kind) / whole) for kind in kinds)
