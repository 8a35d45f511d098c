"""Internal tasks by the infrastructure models: scenarios from a description, summaries and codes of answers."""

from llmkit.tasks.coding import Codebook, code, read_codebook
from llmkit.tasks.expansion import Account, Expansion, expand
from llmkit.tasks.expansion_spec import Dimensions
from llmkit.tasks.infra_task import Infra, InfraHandle
from llmkit.tasks.structured import Schema, answer_check, json_schema
from llmkit.tasks.summaries import summarize

__all__ = [
    "Account", "Codebook", "Dimensions", "Expansion", "Infra", "InfraHandle", "Schema", "answer_check", "code",
    "expand", "json_schema", "read_codebook", "summarize",
]  # fmt: skip
