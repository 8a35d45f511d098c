"""Internal tasks: scenarios from a description, summaries and codes of answers, by the models set for that."""

from llmkit.infra.brief import Dimensions
from llmkit.infra.coding import Codebook, code
from llmkit.infra.expansion import Account, Expansion, expand
from llmkit.infra.summaries import summarize
from llmkit.infra.task import Infra, InfraHandle

__all__ = [
    "Account",
    "Codebook",
    "Dimensions",
    "Expansion",
    "Infra",
    "InfraHandle",
    "code",
    "expand",
    "summarize",
]
