"""A model as a run asks it: everything that its requests have in common, computed once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import NamedTuple

from llmkit.money import pricing
from llmkit.money.service_tiers import askable, at_host, in_batch
from llmkit.providers.wires import Wire, asked_tier, wire_for
from llmkit.records import Completion, Failure, Model, Price, Provider, Rates, Request
from llmkit.runs.plan import Configuration, most_output_tokens


class Bound(NamedTuple):
    """Upper bounds on every request of a configuration: the tokens of its answer (``None``: no limit), and the rates of
    the dearest service tier that may serve it.
    """

    max_output_tokens: int | None
    rates: pricing.Dearest

    def worst_case(self, input_tokens: int) -> Decimal | None:
        """The most that a request of ``input_tokens`` can cost; ``None`` when unlimited or unknown."""
        most = self.max_output_tokens
        if most is None and any(written != 0 for _, _, written in self.rates):  # what is free needs no limit
            return None
        return pricing.most_of(self.rates, input_tokens, most or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A model with everything that its requests have in common.

    ``rejects`` are parameters that the model has refused in this run, which its requests now omit.
    """

    model: Model
    provider: Provider
    wire: Wire
    price: Price
    fallback: Rates | None
    rejects: frozenset[str] = frozenset()
    in_batches: bool = False
    _bounds: dict[str, Bound] = field(default_factory=dict)

    @classmethod
    def of(cls, model: Model, provider: Provider, *, in_batches: bool = False) -> Target:
        """A model that has rejected nothing yet in this run."""
        return cls(
            model=model,
            provider=provider,
            wire=wire_for(provider, model),
            price=model.full_price,
            fallback=pricing.default_rates(provider),
            in_batches=in_batches,
        )

    def bound(self, config: Configuration, request: Request) -> Bound:
        """The bounds on all requests of a configuration, of which ``request`` is one."""
        bound = self._bounds.get(config.label)
        if bound is None:
            tiers = map(self._billed_tier, self.wire.may_serve(request.body or {}, askable(self.price)))
            rates = pricing.dearest(self.price, tiers, self.fallback)
            bound = self._bounds[config.label] = Bound(most_output_tokens(request, self.model), rates)
        return bound

    def served_tier(self, request: Request, result: Completion | Failure) -> str | None:
        """The service tier of a reply: as reported, else as requested."""
        return self._billed_tier(result.service_tier or asked_tier(request.body or {}))

    def _billed_tier(self, tier: str | None) -> str | None:
        """The tier, combined with that of batches if it is served in one, and with that of the provider's host."""
        return at_host(self.price, in_batch(tier) if self.in_batches else tier, self.provider.base_url)

    def without(self, parameter: str) -> Target:
        """The same target without a parameter."""
        config = self.model.api_config
        learned = sorted({*config.get("learned_rejects", ()), parameter})
        model = replace(self.model, api_config={**config, "learned_rejects": learned})
        return replace(self, model=model, rejects=self.rejects | {parameter}, _bounds={})
