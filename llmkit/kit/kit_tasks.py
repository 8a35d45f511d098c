"""The internal tasks of a kit, as its methods: what the infra models do."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from llmkit import tasks
from llmkit.analysis import Run
from llmkit.tasks import Codebook, Dimensions, Expansion, InfraHandle

if TYPE_CHECKING:
    import pandas as pd

    from llmkit.kit.kit import Kit


def expand(
    kit: Kit,
    description: str,
    n: int = 10,
    dimensions: Dimensions = None,
    *,
    strict: bool = False,
    budget: Decimal | int | str | float | None = None,
) -> InfraHandle[Expansion]:
    """Have the ``scenario_expansion`` model write ``n`` different scenarios; returns at once, as :meth:`run` does.

    The result is a list of :class:`Scenario` with ``.table()`` (to keep, edit and drop), ``.account`` and ``.run``:
    it is recorded as a run of kind ``infra``, with its cost. Answers that are not as asked are asked for once more,
    repeated scenarios are dropped, and missing ones asked for once; a warning says when there are fewer than ``n``.

    Args:
        description: what the scenarios are about, and how they should be.
        n: how many.
        dimensions: ``{name: levels}``, as in ``scenarios_from_template``: each scenario is written for one
            combination, and they come equally often. Or names alone, whose values the model chooses.
        strict: refuse another model than the one that is set, when that one cannot be used. Else the cheapest
            available model that can do it is asked, with a warning.
        budget: US dollars that it cannot exceed.

    Raises:
        LlmkitError: nothing was sent; from the handle: :class:`RequestFailed`, when nothing usable came.
    """
    return tasks.expand(kit._infra, description, n, dimensions, strict=strict, budget=budget)


def summarize(
    kit: Kit,
    run: Run | str,
    question: str | None = None,
    by: str | Sequence[str] = "model",
    *,
    strict: bool = False,
    budget: Decimal | int | str | float | None = None,
) -> InfraHandle[pd.DataFrame]:
    """Have the ``summarization`` model summarize a run's answers, one summary for each group; returns at once.

    Answers that do not fit into the model's context are summarized in parts, and the summaries then together.
    ``by`` names columns of ``run.probes``; ``strict`` and ``budget`` are as in :meth:`expand`, and the models of
    the run are never taken in the place of the one that is set.

    The result has the columns of ``by``, ``summary``, ``n_answers``, ``error`` (missing when all went well),
    ``cost`` (US dollars), ``infra_model`` and ``infra_run_id``.

    Raises:
        LlmkitError: nothing was sent.
    """
    return tasks.summarize(kit._infra, kit._given(run), question, by, strict=strict, budget=budget)


def code(
    kit: Kit,
    run: Run | str,
    codebook: Codebook,
    *,
    strict: bool = True,
    budget: Decimal | int | str | float | None = None,
) -> InfraHandle[pd.DataFrame]:
    """Have the ``judge`` model put every answer of a run into one category; returns at once.

    ``codebook`` is ``{category: definition}``, or a list of categories; add one such as ``other`` for answers that
    fit none. Coding is a measurement, so no other model than the one that is set takes its place, unless
    ``strict=False``; ``budget`` is as in :meth:`summarize`.

    The result has a row for every answer that is ok, to be merged with ``run.probes`` on ``probe_id``:
    ``category``, the ``quote`` that it rests on, ``quote_found`` (whether the answer holds that quote), ``error``
    (why there is no category), ``cost`` (its share, in US dollars), ``infra_model`` and ``infra_run_id``.

    Raises:
        LlmkitError: nothing was sent.
    """
    return tasks.code(kit._infra, kit._given(run), codebook, strict=strict, budget=budget)
