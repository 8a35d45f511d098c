"""A loader for untrusted YAML, with limits on expansion by aliases and on nesting, and no key twice."""

from __future__ import annotations

from typing import Any, cast

import yaml

DEEPEST = 40
MOST_NODES = 1_000_000
"""The most values in a file, counting those of aliases."""
LONGEST_SCALAR = 1_000
"""The most characters of a number, date or the like; texts may be longer."""

_TEXT = "tag:yaml.org,2002:str"


class BoundedLoader(yaml.SafeLoader):
    """A safe loader that raises ``YAMLError`` for documents that would exceed the limits."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = self._count = 0
        self._sizes: dict[int, int] = {}  # of completed nodes, by id, with everything in them

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Read a node, and count it."""
        is_alias, before = self.check_event(yaml.AliasEvent), self._count
        mark = cast("Any", self).peek_event().start_mark
        self._depth += 1
        if self._depth > DEEPEST:
            raise yaml.MarkedYAMLError(problem=f"nested more than {DEEPEST} levels deep", problem_mark=mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias and id(node) not in self._sizes:
            raise yaml.MarkedYAMLError(problem="an alias inside the node that it refers to", problem_mark=mark)
        if isinstance(node, yaml.ScalarNode) and node.tag != _TEXT and len(node.value) > LONGEST_SCALAR:
            raise yaml.MarkedYAMLError(problem="a number or date that is too long", problem_mark=mark)
        self._count += self._sizes.get(id(node), 1)
        self._sizes.setdefault(id(node), self._count - before)
        if self._count > MOST_NODES:
            raise yaml.MarkedYAMLError(problem=f"more than {MOST_NODES:,} values with its aliases", problem_mark=mark)
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        """Refuse a key that stands twice, of which YAML would silently drop the first."""
        node = cast("Any", super()).compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            name = (key.tag, str(key.value))
            if name in seen:
                raise yaml.MarkedYAMLError(problem=f"{key.value!r} stands twice", problem_mark=key.start_mark)
            seen.add(name)
        return node
