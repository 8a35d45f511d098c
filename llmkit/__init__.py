"""llmkit: ask many language models the same questions, and account for every token and cent.

>>> import llmkit
>>> kit = llmkit.open(simulate=True)
>>> run = kit.run(["What is a fair price?"], samples=3).result()
>>> run.costs()
"""

import importlib as _importlib
import logging as _logging
from typing import TYPE_CHECKING as _TYPE_CHECKING

from llmkit.catalog import Catalog, DefaultChange, Deprecation
from llmkit.errors import (
    BudgetExceeded,
    CatalogBusy,
    CatalogTooNew,
    Code,
    EditConflict,
    JournalError,
    LlmkitError,
    MissingApiKey,
    ModelDeprecated,
    ModelNotFound,
    NotFinished,
    OriginNotApproved,
    RequestFailed,
    RunNotFound,
    RunRefused,
    UnsupportedProvider,
    ValidationError,
)
from llmkit.kit import Kit, log_to, open_capsule
from llmkit.kit import open_kit as open
from llmkit.records import Config, DatedPrice, Model, Price, PriceTier, PriceWindow, Provider, Rates, Scenario, Usage

if _TYPE_CHECKING:  # imported when they are first used: opening a catalog needs none of them
    from llmkit import simulator
    from llmkit.analysis import (
        Agreement,
        Comparison,
        Dataset,
        Design,
        HalfWidth,
        Replication,
        Run,
        agreement,
        compare,
        concat,
        dataset,
        half_width,
    )
    from llmkit.money.estimate_table import Estimate
    from llmkit.providers.transport import RetryPolicy
    from llmkit.runs import Handle, ModelProgress, Progress, RunEvent, RunHandle
    from llmkit.scenarios import (
        Level,
        question,
        scenarios_from_csv,
        scenarios_from_template,
        scenarios_from_yaml,
        scenarios_to_csv,
        scenarios_to_frame,
        scenarios_to_yaml,
        template_from_yaml,
    )
    from llmkit.tasks import Expansion, InfraHandle

__version__ = "0.1.0"

# Without a handler, Python prints bare messages to stderr. Users learn what they must know from warnings and errors.
_logging.getLogger("llmkit").addHandler(_logging.NullHandler())

_LATER = "analysis", "runs", "scenarios", "tasks", "providers.transport", "money.estimate_table", "simulator"
"""The modules of the names that are imported when they are first used."""

__all__ = [
    "Agreement",
    "BudgetExceeded",
    "Catalog",
    "CatalogBusy",
    "CatalogTooNew",
    "Code",
    "Comparison",
    "Config",
    "Dataset",
    "DatedPrice",
    "DefaultChange",
    "Deprecation",
    "Design",
    "EditConflict",
    "Estimate",
    "Expansion",
    "HalfWidth",
    "Handle",
    "InfraHandle",
    "JournalError",
    "Kit",
    "Level",
    "LlmkitError",
    "MissingApiKey",
    "Model",
    "ModelDeprecated",
    "ModelNotFound",
    "ModelProgress",
    "NotFinished",
    "OriginNotApproved",
    "Price",
    "PriceTier",
    "PriceWindow",
    "Progress",
    "Provider",
    "Rates",
    "Replication",
    "RequestFailed",
    "RetryPolicy",
    "Run",
    "RunEvent",
    "RunHandle",
    "RunNotFound",
    "RunRefused",
    "Scenario",
    "UnsupportedProvider",
    "Usage",
    "ValidationError",
    "agreement",
    "compare",
    "concat",
    "dataset",
    "half_width",
    "log_to",
    "open",
    "open_capsule",
    "question",
    "scenarios_from_csv",
    "scenarios_from_template",
    "scenarios_from_yaml",
    "scenarios_to_csv",
    "scenarios_to_frame",
    "scenarios_to_yaml",
    "simulator",
    "template_from_yaml",
]


def __getattr__(name: str) -> object:
    for later in _LATER if name in __all__ else ():
        module = _importlib.import_module(f"llmkit.{later}")
        if name == later or hasattr(module, name):
            globals()[name] = module if name == later else getattr(module, name)
            return globals()[name]
    raise AttributeError(f"module 'llmkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
