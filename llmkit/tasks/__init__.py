"""Internal tasks by the infrastructure models: scenarios from a description, summaries and codes of answers."""

from llmkit.tasks.coding import Codebook, read_codebook
from llmkit.tasks.expansion import Account, Expansion
from llmkit.tasks.expansion_spec import Dimensions
from llmkit.tasks.infra_task import Infra, InfraHandle
from llmkit.tasks.structured import Schema, answer_check, json_schema

__all__ = [
    "Account", "Codebook", "Dimensions", "Expansion", "Infra", "InfraHandle", "Schema", "answer_check",
    "json_schema", "read_codebook",
]  # fmt: skip
