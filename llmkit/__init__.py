"""llmkit: ask many language models the same questions, and account for every token and cent.

>>> import llmkit
>>> kit = llmkit.open(simulate=True)
>>> run = kit.run(["What is a fair price?"], samples=3).result()
>>> run.costs()
"""

import importlib as _importlib
import logging as _logging
from typing import TYPE_CHECKING as _TYPE_CHECKING

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
from llmkit.money.estimate_table import Estimate
from llmkit.providers.transport import RetryPolicy
from llmkit.records import Config, DatedPrice, Model, Price, PriceTier, PriceWindow, Provider, Rates, Scenario, Usage
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

if _TYPE_CHECKING:
    from llmkit import simulator

__version__ = "0.1.0"

# Without a handler, Python prints bare messages to stderr. Users learn what they must know from warnings and errors.
_logging.getLogger("llmkit").addHandler(_logging.NullHandler())

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
    if name != "simulator":  # loaded by those who rehearse only
        raise AttributeError(f"module 'llmkit' has no attribute {name!r}")
    return _importlib.import_module("llmkit.simulator")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
