"""The kit: wires the parts together."""

from llmkit.kit.kit import Kit, open_kit

__all__ = ["Kit", "open_kit"]
