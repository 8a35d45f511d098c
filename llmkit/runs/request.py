"""The arguments of a run, as its user gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

from llmkit.errors import ValidationError
from llmkit.providers.transport import RetryPolicy
from llmkit.records import Config, Model
from llmkit.records.checks import numbers, shapes, texts
from llmkit.records.checks.shared_budgets import check_project
from llmkit.runs.modes import Mode
from llmkit.runs.plan import AskingOrder
from llmkit.runs.progress import RunEvent
from llmkit.runs.reuse import Reuse, check_reuse
from llmkit.runs.stop_rules import StopRule
from llmkit.scenarios import Prompts

CLUSTER_OPTIONS = ("trust_network", "worker_timeout")
"""The options of a run on a cluster."""
RUN_OPTIONS = ("adaptive", "order_seed", "overdraw", "poll_s", *CLUSTER_OPTIONS)
"""The keys of ``options`` that are not parameters of each request."""

Models: TypeAlias = str | Model | Config | Sequence[str | Model | Config] | None
"""What ``models`` may be; ``None`` for the defaults."""

OPTIONS_EXAMPLE = "{'top_p': 0.9}"
ON_EVENT = "every RunEvent"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """The arguments of ``kit.run``, checked for their types; ``schema`` is a JSON schema."""

    prompts: Prompts
    models: Models = None
    samples: int = 1
    kind: str = "probe"
    name: str | None = None
    system: str | None = None
    followups: str | Sequence[str] | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    budget: Decimal | int | str | float | None = None
    order: AskingOrder = "interleaved"
    on_event: Callable[[RunEvent], None] | None = None
    stop_when: StopRule | None = None
    retry: RetryPolicy | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    schema: Mapping[str, Any] | None = None
    project: str | None = None
    replicates: str | None = None
    """The id of the run of which this asks a part again."""
    service_tier: str | None = None
    reuse: Reuse = False
    reuse_within: float | None = None
    mode: Mode = "live"

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", texts.optional_text(self.name, "name"))
        check_project(self.project)
        shapes.function(self.on_event, "on_event", ON_EVENT)
        if self.stop_when is not None and not isinstance(self.stop_when, StopRule):
            raise ValidationError(
                "stop_when is a rule such as llmkit.half_width('answer.score', 0.03).", field="stop_when"
            )
        shapes.instance(self.retry, RetryPolicy, "retry", "llmkit.RetryPolicy(max_attempts=2)")
        shapes.mapping(self.options, "options", OPTIONS_EXAMPLE)
        check_reuse(self.reuse, self.reuse_within)
        shapes.one_of(self.mode, Mode, "mode")

    @property
    def asks(self) -> bool:
        """Whether to request the answers that are not reused."""
        return self.reuse != "only"

    @property
    def adaptive(self) -> bool:
        """Whether to search for the best concurrency below the limit."""
        return texts.flag(self.options.get("adaptive", False), "adaptive")

    @property
    def overdraw(self) -> bool:
        """Whether to send requests to providers whose balance is negative."""
        return texts.flag(self.options.get("overdraw", False), "overdraw")

    @property
    def poll_s(self) -> float | None:
        """Seconds between polls of a batch; ``None`` for the default."""
        seconds = self.options.get("poll_s")
        if seconds is None:
            return None
        if (number := numbers.amount(seconds, "poll_s")) <= 0:  # 0 would ask without a pause
            raise ValidationError(
                "poll_s is the number of seconds between checks of a batch: more than 0.", field="poll_s"
            )
        return float(number)

    @property
    def order_seed(self) -> int | None:
        """The seed of the order of asking; ``None`` for a random one."""
        seed = self.options.get("order_seed")
        return None if seed is None else numbers.whole(seed, "order_seed")

    @property
    def request_options(self) -> dict[str, Any]:
        """The options that are parameters of each request, such as ``top_p``."""
        return {name: value for name, value in self.options.items() if name not in RUN_OPTIONS}
