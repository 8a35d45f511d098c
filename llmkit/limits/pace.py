"""When the next request of a provider may start: its rate limits, its pauses, and what its headers say.

All times are seconds since the epoch, shared by every process that uses the same catalog. A state is never changed:
each transition returns a new one.

- *Requests*: a bucket of at most ``max_parallel`` credits that refills at ``requests_per_minute`` paces the starts evenly;
  a log of the last minute makes sure that no 60 s hold more than ``requests_per_minute`` of them, bursts included.
- *Tokens*: reserved in the same log from an estimate, corrected when the real number is known. A request that is larger
  than the limit goes alone.
- *Pause*: nothing starts until it is over; then one request goes first, the others wait for its outcome. After each pause
  the pace is a share of the allowed one and grows back slowly, so that another client of the same key is left room.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

from llmkit.limits.allowance import MINUTE, Allowance
from llmkit.records import Provider, RateInfo

RATE_LIMITED = "rate limited by the provider"
TRIAL = "after a pause, one goes first"
REQUESTS_PER_MINUTE = "requests per minute"
TOKENS_PER_MINUTE = "tokens per minute"
REQUESTS_LEFT = "few requests left, says the provider"
TOKENS_LEFT = "few tokens left, says the provider"

BUCKET = 0.25  # seconds: how finely the last minute is remembered
JITTER = 0.05  # seconds by which one request may overtake another on its way to the server
TRIAL_TIMEOUT = 30.0  # seconds after which the one that went first is given up and another goes
LONGEST_PAUSE = 86_400.0
CLOCK_STEP = 5.0  # seconds: a state written later than this from now is from before a clock change
BACK_OFF = 0.7  # the share of the pace that is kept after a pause
RECOVERY = 0.3 / MINUTE  # share of the pace that is regained a second
LEAST_SHARE = 0.1
FEW = 1.5  # credits: who has no more is not coming from a rest
ALMOST = 1e-6  # a credit that is whole but for rounding


@dataclass(frozen=True, slots=True)
class Limits:
    """What a provider (or one of its models) allows; ``tokens_per_minute`` of ``None`` is no limit. 0 counts as 1."""

    max_parallel: int
    requests_per_minute: int
    tokens_per_minute: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_parallel", max(1, self.max_parallel))
        object.__setattr__(self, "requests_per_minute", max(1, self.requests_per_minute))
        if self.tokens_per_minute is not None:
            object.__setattr__(self, "tokens_per_minute", max(1, self.tokens_per_minute))

    @classmethod
    def of(cls, provider: Provider) -> Self:
        """The limits of a catalog entry."""
        return cls(provider.max_parallel_requests, provider.requests_per_minute, provider.tokens_per_minute)


class Bucket(NamedTuple):
    """Starts and tokens of one quarter of a second; ``index`` counts these since the epoch."""

    index: int
    starts: int
    tokens: int

    @property
    def forgotten_at(self) -> float:
        """When even the last start of the bucket, arriving late, is more than a minute old."""
        return (self.index + 1) * BUCKET + MINUTE + JITTER


@dataclass(frozen=True, slots=True)
class Seen:
    """What the headers of one model last said, and when a request to it last started."""

    requests: Allowance | None = None
    tokens: Allowance | None = None
    last_start: float = 0.0


@dataclass(frozen=True, slots=True)
class PaceState:
    """All that decides when the next request may start; a fresh one lets a full burst go.

    ``rested`` marks a burst after a rest. ``trial_due`` and ``trial_at`` say that one request is to go first, or went.
    ``share`` is the part of the pace in use at ``share_at``. ``slots`` is the number of slots that may be taken, also
    after the limit was lowered. ``seen`` is keyed by model reference (``""``: any model).
    """

    updated_at: float = 0.0
    credit: float = 0.0
    credit_at: float = 0.0
    rested: bool = False
    buckets: tuple[Bucket, ...] = ()
    pause_until: float = 0.0
    pause_reason: str = ""
    trial_due: bool = False
    trial_at: float | None = None
    share: float = 1.0
    share_at: float = 0.0
    slots: int = 0
    seen: Mapping[str, Seen] = field(default_factory=dict)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what ``to_bytes`` wrote; anything else (empty, torn, of another version) is a fresh state."""
        try:
            row = json.loads(data)
            row["buckets"] = tuple(Bucket(*bucket) for bucket in row["buckets"])
            row["seen"] = {
                model: Seen(Allowance.from_row(requests), Allowance.from_row(tokens), last_start)
                for model, (requests, tokens, last_start) in row["seen"].items()
            }
            return cls(**row)
        except (ValueError, TypeError, KeyError, AttributeError):
            return cls()

    def to_bytes(self) -> bytes:
        """The state as one line of JSON."""
        row: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        row["seen"] = {
            model: (seen.requests and seen.requests.to_row(), seen.tokens and seen.tokens.to_row(), seen.last_start)
            for model, seen in self.seen.items()
        }
        return json.dumps(row, separators=(",", ":")).encode()


# --- questions ------------------------------------------------------------------------------------------------------


def healed(state: PaceState, now: float) -> PaceState:
    """The state, or a fresh one when it was written in the future (the clock was set back)."""
    return PaceState() if state.updated_at > now + CLOCK_STEP else state


def is_paused(state: PaceState, now: float) -> bool:
    """Whether a pause is under way."""
    return now < state.pause_until


def next_start(state: PaceState, limits: Limits, now: float, tokens: int = 0) -> tuple[float, str]:
    """Seconds until a request of about ``tokens`` may start, and what it waits for; ``(0.0, "")`` when it may now.

    The wait can turn out longer (others start first) or shorter (tokens are given back, the trial succeeds).
    """
    if is_paused(state, now):
        return state.pause_until - now, state.pause_reason
    if state.trial_at is not None and now < state.trial_at + TRIAL_TIMEOUT:
        return state.trial_at + TRIAL_TIMEOUT - now, TRIAL
    waits = (
        (_credit_wait(state, limits, now), REQUESTS_PER_MINUTE),
        (_room_wait(state, now, "starts", 1, limits.requests_per_minute), REQUESTS_PER_MINUTE),
        (_room_wait(state, now, "tokens", tokens, limits.tokens_per_minute), TOKENS_PER_MINUTE),
    )
    wait, reason = max(waits)
    return (wait, reason) if wait > 0 else (0.0, "")


def headroom(state: PaceState, model: str, now: float, tokens: int = 0) -> tuple[float, str]:
    """Seconds that the provider's own headers ask a request to ``model`` to wait, and why; ``(0.0, "")`` for none."""
    seen = state.seen.get(_key(state.seen, model), Seen())
    if seen.requests is not None and (wait := seen.last_start + seen.requests.spacing(now) - now) > 0:
        return wait, REQUESTS_LEFT
    if seen.tokens is not None and (wait := seen.tokens.wait_for(tokens, now)) > 0:
        return wait, TOKENS_LEFT
    return 0.0, ""


# --- transitions ----------------------------------------------------------------------------------------------------


def start(state: PaceState, limits: Limits, now: float, tokens: int = 0, model: str = "") -> PaceState:
    """After a request of about ``tokens`` started; only when ``next_start`` says that it may."""
    rate = _rate(state, limits)
    full = float(limits.max_parallel)
    credit = min(full, state.credit + rate * max(0.0, now - state.credit_at))
    spread = JITTER * rate
    rested = state.rested or credit >= max(full - spread, FEW)
    credit -= 1
    if rested and credit < 1 and spread <= 1:
        # The requests of a burst reach the server spread out, so its count of them begins late: wait that long, once.
        credit, rested = credit - spread, False
    goes_first = state.trial_due or state.trial_at is not None
    return replace(
        state,
        updated_at=now,
        credit=credit,
        credit_at=now,
        rested=rested,
        buckets=_added(_remembered(state, now), int(now // BUCKET), 1, tokens),
        trial_due=False,
        trial_at=now if goes_first else None,
        seen=_used(state.seen, model, tokens, now),
    )


def settle(state: PaceState, now: float, started_at: float, reserved: int, actual: int) -> PaceState:
    """After a request that started at ``started_at`` turned out to use ``actual`` tokens and not ``reserved``."""
    index = int(started_at // BUCKET)
    buckets = _remembered(state, now)
    if actual == reserved or all(bucket.index != index for bucket in buckets):
        return state
    return replace(state, updated_at=now, buckets=_added(buckets, index, 0, actual - reserved))


def pause(state: PaceState, now: float, seconds: float, reason: str = RATE_LIMITED) -> PaceState:
    """Stop all starts for ``seconds``. While a pause is under way the state is returned as it is.

    When it is over there is no burst, and the pace is lower: the provider just said that it was too much.
    """
    if is_paused(state, now):
        return state
    until = now + min(max(0.0, seconds), LONGEST_PAUSE)
    return replace(
        state,
        updated_at=now,
        pause_until=until,
        pause_reason=reason,
        trial_due=True,
        trial_at=None,
        credit=1.0,
        credit_at=until,
        rested=False,
        share=max(LEAST_SHARE, BACK_OFF * _share(state, now)),
        share_at=until,
    )


def outcome(state: PaceState, now: float, ok: bool | None, started_at: float) -> PaceState:
    """After the request that started at ``started_at`` was served (True), refused as too much (False), or neither.

    Only the outcome of the request that went first after a pause matters: when it was served, all may go; otherwise
    another one goes first.
    """
    if state.trial_at is None or started_at < state.trial_at:
        return state
    return replace(state, updated_at=now, trial_at=None, trial_due=not ok)


def observe(
    state: PaceState, info: RateInfo, now: float, *, sent_at: float | None = None, since: int = 0, model: str = ""
) -> PaceState:
    """After a response of ``model`` said what is left.

    Its request was sent at ``sent_at`` (``None``: just now), and ``since`` requests were sent after it.
    """
    seen = state.seen.get(model, Seen())
    when = {"now": now, "sent_at": now if sent_at is None else sent_at}
    requests, tokens = seen.requests, seen.tokens
    if info.requests_limit and info.requests_remaining is not None:
        left, reset = info.requests_remaining, info.requests_reset
        requests = Allowance.reported(
            requests, limit=info.requests_limit, remaining=left, reset=reset, since=since, **when
        )
    if info.tokens_limit and info.tokens_remaining is not None:
        left, reset = info.tokens_remaining, info.tokens_reset
        tokens = Allowance.reported(tokens, limit=info.tokens_limit, remaining=left, reset=reset, since=0, **when)
    if requests is seen.requests and tokens is seen.tokens:
        return state
    return replace(state, updated_at=now, seen={**state.seen, model: Seen(requests, tokens, seen.last_start)})


# --- arithmetic -----------------------------------------------------------------------------------------------------


def _share(state: PaceState, now: float) -> float:
    return min(1.0, state.share + RECOVERY * max(0.0, now - state.share_at))


def _rate(state: PaceState, limits: Limits) -> float:
    """Credits a second."""
    return limits.requests_per_minute / MINUTE * _share(state, state.credit_at)


def _credit_wait(state: PaceState, limits: Limits, now: float) -> float:
    rate = _rate(state, limits)
    missing = 1 - ALMOST - state.credit - rate * max(0.0, now - state.credit_at)
    return max(0.0, missing / rate)


def _room_wait(state: PaceState, now: float, what: str, amount: int, limit: int | None) -> float:
    """Seconds until ``amount`` more of ``what`` fit under ``limit`` a minute; into an empty minute everything fits."""
    if limit is None:
        return 0.0
    buckets = _remembered(state, now)
    too_much = sum(getattr(bucket, what) for bucket in buckets) + min(amount, limit) - limit
    for bucket in buckets:
        if too_much <= 0:
            return 0.0
        too_much -= getattr(bucket, what)
        forgotten_at = bucket.forgotten_at
        if too_much <= 0:
            return forgotten_at - now
    return 0.0


def _remembered(state: PaceState, now: float) -> tuple[Bucket, ...]:
    return tuple(bucket for bucket in state.buckets if bucket.forgotten_at > now)


def _added(buckets: tuple[Bucket, ...], index: int, starts: int, tokens: int) -> tuple[Bucket, ...]:
    """The log with starts and tokens added to one bucket; in order, also after the clock went back a little."""
    log = {bucket.index: bucket for bucket in buckets}
    old = log.get(index, Bucket(index, 0, 0))
    log[index] = Bucket(index, old.starts + starts, max(0, old.tokens + tokens))
    return tuple(log[i] for i in sorted(log))


def _key(seen: Mapping[str, Seen], model: str) -> str:
    """Whose headers speak for a model: its own, else those that were not said to be of one model."""
    return model if model in seen else ""


def _used(seen: Mapping[str, Seen], model: str, tokens: int, now: float) -> Mapping[str, Seen]:
    key = _key(seen, model)
    if key not in seen:
        return seen
    old = seen[key]
    return {**seen, key: Seen(old.requests and old.requests.less(1), old.tokens and old.tokens.less(tokens), now)}
