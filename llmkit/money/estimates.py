"""Estimate the cost of a run from earlier answers, with an 80% interval of the total.

Answer lengths come from history: from answers of the same model to the same scenario template; if there are fewer than
:data:`MIN_OBSERVATIONS`, from all answers of that model; then of its provider; then of all models; and without any
history from documented constants. The interval is a studentised bootstrap of the total, which reflects both the chance
in the new answers and the uncertainty of a short history. Answers are clustered by scenario, and runs drift: both add
variance (:mod:`llmkit.money.prediction`).

The simulation uses floats; amounts leave this module as Decimal, rounded to ten decimals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Self
from zlib import crc32

import numpy as np

from llmkit.errors import ValidationError
from llmkit.money.cut_answers import Floats
from llmkit.money.history import (
    ALL_PLAIN,
    CHARS_PER_TOKEN,
    SECONDS,
    TOKENS_PER_SECOND,
    History,
    Observation,
    Sample,
)
from llmkit.money.prediction import DRAWS, interval, predict
from llmkit.money.pricing import MILLION, QUANTUM, input_rates, rates_at, total, with_fallback
from llmkit.records import EXACT, Model, Price, Rates, Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The requests to each model, reduced to numbers: arrays have one entry per request of one sample.

    ``chars`` is the length of our own text in bytes of UTF-8, as in :class:`Observation`; ``letters`` its total length
    in characters; ``earlier`` the number of answers sent back with each request.
    """

    chars: Floats
    letters: float
    earlier: Floats
    samples: int = 1
    template: str | None = None

    @classmethod
    def of(
        cls,
        scenarios: Sequence[Scenario],
        *,
        samples: int = 1,
        template: str | None = None,
        extra_chars: int = 0,
        answered: Sequence[int] | None = None,
    ) -> Self:
        """Count scenarios; ``extra_chars`` are added to every request (a JSON schema, say).

        ``answered``: how many turns of each scenario already have an answer and are not sent.
        """
        if not scenarios or samples < 1:
            raise ValidationError("An estimate needs at least one scenario and at least one sample.")
        chars: list[int] = []
        earlier: list[int] = []
        letters = 0
        for scenario, first in zip(scenarios, answered or [0] * len(scenarios), strict=True):
            texts = (scenario.system or "", *(message.content for message in scenario.messages), *scenario.prompts)
            size = count = 0
            for turn, text in enumerate(texts, len(scenario.prompts) - len(texts)):
                size, count = size + len(text.encode("utf-8", "replace")), count + len(text)
                if turn >= first:
                    chars.append(size)
                    earlier.append(turn)
                    letters += count
        return cls(
            chars=np.array(chars, dtype=float) + extra_chars,
            letters=float(letters + extra_chars * len(chars)),
            earlier=np.array(earlier, dtype=float),
            samples=samples,
            template=template,
        )

    @property
    def scenarios(self) -> int:
        """How many conversations start in each sample; at least one."""
        return max(1, int((self.earlier == 0).sum()))

    @property
    def turns(self) -> frozenset[int]:
        """The turn numbers that occur, from 1."""
        return frozenset(int(each) + 1 for each in np.unique(self.earlier))

    @property
    def requests(self) -> int:
        """How many requests each model gets."""
        return len(self.chars) * self.samples


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEstimate:
    """The expected tokens (totals of the run) and cost on one model.

    ``cost``, ``low`` and ``high`` are US dollars, ``low`` to ``high`` an 80% interval; all ``None`` when the model is
    unpriced. ``cost`` is set so that actual cost divided by it averages 1. ``draws`` are simulated totals. ``seconds``
    is the mean duration of an answer. ``config`` is the label of the configuration, ``left_out`` names the parameters
    that its model does not accept.
    """

    config: str
    model: str
    provider: str
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    basis: str
    observations: int = 0
    chars_per_token: float = CHARS_PER_TOKEN
    seconds: float = SECONDS
    left_out: tuple[str, ...] = ()
    cost: Decimal | None = None
    low: Decimal | None = None
    high: Decimal | None = None
    draws: Floats = field(default_factory=lambda: np.zeros(DRAWS), repr=False, compare=False)

    @property
    def tokens(self) -> float:
        """Mean tokens of a request and its answer."""
        return (self.input_tokens + self.output_tokens) / max(self.requests, 1)

    def up_to(self, dearer: Self) -> Self:
        """Return a copy whose upper bound is raised to that of a dearer estimate of the same model."""
        if self.cost is None or self.high is None or dearer.high is None or dearer.high <= self.high:
            return self
        draws: Floats = np.where(self.draws > float(self.cost), dearer.draws, self.draws)
        return replace(self, high=dearer.high, draws=draws)

    @classmethod
    def nothing(cls, model: Model, config: str) -> Self:
        """The estimate of a model whose answers are all reused."""
        free = Decimal(0)
        return cls(
            config=config,
            model=model.reference,
            provider=model.provider,
            basis="reused",
            cost=free,
            low=free,
            high=free,
        )


def estimate_model(
    model: Model,
    workload: Workload,
    history: History,
    *,
    at: datetime,
    effort: str | None = None,
    max_tokens: int | None = None,
    fallback: Rates | None = None,
    config: str | None = None,
    caching: tuple[float, float] | None = None,
    seed: int = 0,
) -> ModelEstimate:
    """Estimate a workload on a model at the prices of ``at``.

    ``effort`` is the reasoning effort to be requested, or the model's own default; ``None`` when the model does not
    reason or the effort is unknown. ``max_tokens`` caps the answers; ``fallback`` is as in :func:`pricing.cost`;
    ``config`` is the label of the configuration, by default the model's reference. ``caching`` holds the shares of our
    own text expected to be read from and written to the provider's cache, the latter infinite where all is that is not
    read. The same arguments give the same estimate, whatever other models are estimated alongside.
    """
    label = model.reference if config is None else config
    basis, observations, spread = history.nearest(model, workload.template, effort, workload.turns)
    sample = Sample.of(observations, effort) if observations else Sample.constant(effort)
    cap = min((limit for limit in (max_tokens, model.max_output_tokens) if limit is not None), default=None)
    sample = sample.uncut(observations, cap, effort)
    if cap is not None:
        sample = sample.capped(cap)
    own = workload.chars * sample.tokens_per_char
    tokens = own + workload.earlier * sample.visible.mean()
    result = ModelEstimate(
        config=label,
        model=model.reference,
        provider=model.provider,
        requests=workload.requests,
        input_tokens=round(tokens.sum() * workload.samples),
        output_tokens=round(sample.output.mean() * workload.requests),
        basis=f"{basis}, answers cut" if sample.doubt else basis,
        observations=len(observations),
        chars_per_token=workload.letters / own.sum() if own.sum() else 1 / sample.tokens_per_char,
        seconds=_mean_seconds(observations, float(sample.output.mean())),
    )
    # cached shares depend on the prompts, so history says nothing about them for other prompts
    mix = ALL_PLAIN if spread else sample.mix
    if caching is not None:
        read, written = (share * own.sum() / tokens.sum() for share in caching)
        written = min(written, 1 - read)
        mix = ALL_PLAIN.copy()  # the other kinds stay 0
        mix[:3] = 1 - read - written, read, written
    rates = _mean_rates(model.price, tokens, at, mix, fallback)
    if rates is None:
        return result
    rate_in, rate_out = rates
    resent = workload.earlier.mean()
    # the cost of one request of this run for each earlier answer, if its own lengths turn out the same
    costs = rate_out * sample.output + rate_in * (resent * sample.visible + own.mean() * (1 + sample.excess))
    generator = np.random.default_rng([seed, crc32(label.encode())])
    doubt = (spread**2 + sample.doubt**2) ** 0.5
    expected, draws = predict(
        np.maximum(costs, 0), workload.requests, doubt, generator, observations, workload.scenarios, sample.guessed
    )
    if cap is not None:  # no run costs more than full-length answers to prompts half as long again
        most = workload.requests * (rate_out * cap + rate_in * (resent * cap + 1.5 * own.mean()))
        expected, draws = min(expected, most), np.minimum(draws, most)
    low, high = interval(expected, draws)
    return replace(result, cost=_money(expected), low=_money(low), high=_money(high), draws=draws)


def combine(estimates: Sequence[ModelEstimate]) -> tuple[Decimal, Decimal, Decimal]:
    """The total of priced models and its interval, from sums of their draws: independent errors partly cancel."""
    expected = total(each.cost for each in estimates)
    low, high = interval(float(expected), np.sum([each.draws for each in estimates], axis=0))
    return expected, min(_money(low), expected), max(_money(high), expected)


def _mean_seconds(observations: Sequence[Observation], output_tokens: float) -> float:
    """The mean duration of earlier answers, or one computed from ``output_tokens`` where none was measured."""
    durations = [each.seconds for each in observations if each.seconds is not None]
    return sum(durations) / len(durations) if durations else SECONDS + output_tokens / TOKENS_PER_SECOND


def _mean_rates(
    price: Price, tokens: Floats, at: datetime, mix: Floats, fallback: Rates | None
) -> tuple[float, float] | None:
    """US dollars per token of input and of output, averaged over requests of these sizes; ``None`` when unpriced."""
    bounds = sorted(tier.above for tier in price.price_tiers)
    tier = np.searchsorted(bounds, tokens, side="left")  # how many bounds are below the request's input
    weights = np.bincount(tier, weights=tokens), np.bincount(tier).astype(float)
    rate_in = rate_out = 0.0
    for index in np.unique(tier):
        rates = with_fallback(rates_at(price, bounds[index - 1] + 1 if index else 0, at), fallback)
        if rates.cost_output_per_million is None:
            return None
        rate_out += float(rates.cost_output_per_million) * weights[1][index] / len(tokens)
        for share, rate in zip(mix, input_rates(rates), strict=True):
            if share and rate is None:
                return None
            rate_in += share * float(rate or 0) * weights[0][index] / tokens.sum()
    return rate_in / MILLION, rate_out / MILLION


def _money(amount: float) -> Decimal:
    return Decimal(amount).quantize(QUANTUM, context=EXACT)
