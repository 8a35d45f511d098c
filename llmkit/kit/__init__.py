"""The kit, which connects the parts of llmkit."""

from llmkit.kit.kit import Kit, open_capsule, open_kit
from llmkit.kit.logs import log_to

__all__ = ["Kit", "log_to", "open_capsule", "open_kit"]
