"""When the next request to a provider may start: its rate limits, its pauses, and its headers.

All times are seconds since the epoch, shared by every process that uses the same catalog. States are immutable: each
transition returns a new one.

- *Requests*: a bucket of at most ``max_parallel`` credits, refilled at ``requests_per_minute``, paces the starts; the
  log of the last minute ensures that no 60 s contain more than ``requests_per_minute``, bursts included.
- *Tokens*: reserved in the same log from an estimate, corrected when the real number is known. A request larger than
  the limit goes alone.
- *Pause*: nothing starts until it is over; then one request goes first, and the others wait for its outcome. After a
  pause the pace is a share of the allowed one and recovers slowly, which leaves room for other clients of the same key.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple, Self
from zlib import crc32

from llmkit.limiter.allowance import NOTHING_SEEN, SEEN_BYTES, Seen
from llmkit.limiter.minute import EMPTY, JITTER, MINUTE, RING_BYTES, STARTS, TOKENS, Minute
from llmkit.limiter.slots import MOST_PROCESSES, NO_SHARE, Share, Shares, with_share
from llmkit.records import Provider, RateInfo

RATE_LIMITED = "rate limited by the provider"
TRIAL = "after a pause, one goes first"
REQUESTS_PER_MINUTE = "requests per minute"
TOKENS_PER_MINUTE = "tokens per minute"
REQUESTS_LEFT = "few requests left, says the provider"
TOKENS_LEFT = "few tokens left, says the provider"

PROVISIONAL_PAUSE = 1.0  # seconds to hold everything until the caller has determined the length of the pause
TRIAL_TIMEOUT = 30.0  # seconds after which the first request is given up and another one goes
LONGEST_PAUSE = 86_400.0
CLOCK_STEP = 5.0  # seconds: a state from further in the future was written before the clock was set back
BACK_OFF = 0.7  # share of the pace kept after a pause
RECOVERY = 0.3 / MINUTE  # share of the pace regained per second
LEAST_SHARE = 0.1
FEW = 1.5  # credits: with fewer, there was no rest
ALMOST = 1e-6  # tolerance for rounding of a whole credit

_MAGIC = b"llmkit 3"
_MARK_BYTES = len(_MAGIC) + 4
_HEAD = Struct(f"<7d3?96x3QB{RING_BYTES}s{SEEN_BYTES}s")  # earlier versions kept a reason in the 96 bytes
_SHARE = Struct("<I2d")
STATE_BYTES = _MARK_BYTES + _HEAD.size + MOST_PROCESSES * _SHARE.size


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a provider (or of one of its models); ``tokens_per_minute=None`` is no limit. 0 counts as 1."""

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


class PaceState(NamedTuple):  # created several times per request, for which a dataclass is slow
    """The state that decides when the next request to a provider, or to one of its models, may start.

    A fresh one allows a full burst. ``rested`` marks a burst after a rest. ``provisional`` marks a pause of unknown
    length. ``trial_due`` means that one request must go first after a pause; ``trial_at`` is when it went (0: none
    did). ``share`` is the part of the pace in use at ``share_at``; ``shares`` holds the slots of each process.
    """

    updated_at: float = 0.0
    credit: float = 0.0
    credit_at: float = 0.0
    pause_until: float = 0.0
    trial_at: float = 0.0
    share: float = 1.0
    share_at: float = 0.0
    rested: bool = False
    provisional: bool = False
    trial_due: bool = False
    minute: Minute = EMPTY
    seen: Seen = NOTHING_SEEN
    shares: Shares = ()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what ``to_bytes`` wrote; anything else (empty, damaged, of another version) gives a fresh state."""
        data, mark = data[_MARK_BYTES:STATE_BYTES], data[:_MARK_BYTES]
        if mark != _mark(data):
            return cls()
        *numbers, first, starts, tokens, count, ring, seen = _HEAD.unpack_from(data)
        shares = data[_HEAD.size : _HEAD.size + count * _SHARE.size]
        row = (
            *numbers,
            Minute(first, starts, tokens, ring),
            Seen.from_bytes(seen),
            tuple(Share(*share) for share in _SHARE.iter_unpack(shares)),
        )
        return cls(*row)

    def to_bytes(self) -> bytes:
        """The state as ``STATE_BYTES`` bytes."""
        minute = self.minute
        totals = minute.first, minute.starts, minute.tokens, len(self.shares), minute.ring
        head = _HEAD.pack(*self[:_NUMBERS], *totals, self.seen.to_bytes())
        rows = (_SHARE.pack(*share) for share in self.shares)
        data = (head + b"".join(rows)).ljust(STATE_BYTES - _MARK_BYTES, b"\0")
        return _mark(data) + data

    def without(self, process: int) -> PaceState:
        """The state after a process turned out to be dead."""
        gone = process < len(self.shares) and self.shares[process] != NO_SHARE
        return self._replace(shares=with_share(self.shares, process, NO_SHARE)) if gone else self


_NUMBERS = PaceState._fields.index("minute")


def _mark(data: bytes) -> bytes:
    """The version and checksum of a state. Nothing else is believed: a wrong time in it could stop everything."""
    return _MAGIC + crc32(data).to_bytes(4)


# --- questions ------------------------------------------------------------------------------------------------------


def healed(state: PaceState, now: float) -> PaceState:
    """The state, or a fresh one if it was written in the future (the clock was set back)."""
    return PaceState() if state.updated_at > now + CLOCK_STEP else state


def is_paused(state: PaceState, now: float) -> bool:
    """Whether a pause is under way."""
    return now < state.pause_until


def next_start(state: PaceState, limits: Limits, now: float, tokens: int = 0) -> tuple[float, str]:
    """Seconds until a request of about ``tokens`` may start, and the reason; ``(0.0, "")`` if it may start now.

    The wait can turn out longer (others start first) or shorter (tokens are released, the trial succeeds).
    """
    if is_paused(state, now):
        return state.pause_until - now, RATE_LIMITED
    if now < state.trial_at + TRIAL_TIMEOUT:
        return state.trial_at + TRIAL_TIMEOUT - now, TRIAL
    waits = [
        (_credit_wait(state, limits, now), REQUESTS_PER_MINUTE),
        (state.minute.wait(now, STARTS, 1, limits.requests_per_minute), REQUESTS_PER_MINUTE),
    ]
    if limits.tokens_per_minute is not None:
        waits.append((state.minute.wait(now, TOKENS, tokens, limits.tokens_per_minute), TOKENS_PER_MINUTE))
    wait, reason = max(waits)
    return (wait, reason) if wait > 0 else (0.0, "")


def headroom(seen: Seen, now: float, tokens: int = 0) -> tuple[float, str]:
    """Seconds to wait according to the provider's headers, and why; ``(0.0, "")`` for none."""
    if seen.requests is not None and (wait := seen.requests.wait(now, seen.last_start)) > 0:
        return wait, REQUESTS_LEFT
    if seen.tokens is not None and (wait := seen.tokens.wait_for(tokens, now)) > 0:
        return wait, TOKENS_LEFT
    return 0.0, ""


# --- transitions ----------------------------------------------------------------------------------------------------


def start(state: PaceState, limits: Limits | None, now: float, tokens: int = 0) -> PaceState:
    """The state after the start of a request of about ``tokens``, which ``next_start`` must have allowed.

    A model without its own limits is only slowed down by its headers.
    """
    seen = state.seen.used(tokens, now)
    if limits is None:
        return state._replace(updated_at=now, seen=seen) if seen else state
    rate = _rate(state, limits)
    full = float(limits.max_parallel)
    credit = min(full, state.credit + rate * max(0.0, now - state.credit_at))
    spread = JITTER * rate
    rested = state.rested or credit >= max(full - spread, FEW)
    credit -= 1
    if rested and credit < 1 and spread <= 1:
        # the requests of a burst reach the server spread out, so it starts counting late: wait that long, once
        credit, rested = credit - spread, False
    goes_first = state.trial_due or state.trial_at > 0
    return state._replace(
        updated_at=now,
        credit=credit,
        credit_at=now,
        rested=rested,
        minute=state.minute.started(now, tokens),
        trial_due=False,
        trial_at=now if goes_first else 0.0,
        seen=seen,
    )


def sent(state: PaceState, now: float, started_at: float, tokens: int) -> PaceState:
    """The state after a request of about ``tokens``, admitted at ``started_at``, was sent now."""
    minute = state.minute.sent(now, started_at, tokens)
    return state if minute is state.minute else state._replace(updated_at=now, minute=minute)


def settle(state: PaceState, now: float, started_at: float, reserved: int, actual: int) -> PaceState:
    """The state after a request started at ``started_at`` used ``actual`` rather than ``reserved`` tokens."""
    minute = state.minute.corrected(now, started_at, actual - reserved)
    return state if minute is state.minute else state._replace(updated_at=now, minute=minute)


def pause(state: PaceState, now: float, seconds: float) -> PaceState:
    """Stop all starts for ``seconds``; during a pause, the state is returned unchanged.

    After the pause there is no burst, and the pace is lower, because the provider was just overloaded.
    """
    if not is_paused(state, now):
        state = state._replace(share=max(LEAST_SHARE, BACK_OFF * _share(state, now)))
    elif not state.provisional:
        return state
    until = now + min(max(0.0, seconds), LONGEST_PAUSE)
    return state._replace(
        updated_at=now,
        pause_until=until,
        provisional=False,
        trial_due=True,
        trial_at=0.0,
        credit=1.0,
        credit_at=until,
        rested=False,
        share_at=until,
    )


def outcome(state: PaceState, now: float, ok: bool | None, started_at: float) -> PaceState:
    """The state after a request started at ``started_at`` was served (True), rate limited (False), or neither.

    A rate limit holds everything for a moment, until ``pause`` sets the length. Otherwise only the first request after
    a pause matters: if it was served, all may go; if not, another one goes first.
    """
    if ok is False:
        return state if is_paused(state, now) else pause(state, now, PROVISIONAL_PAUSE)._replace(provisional=True)
    if not state.trial_at or started_at < state.trial_at:
        return state
    return state._replace(updated_at=now, trial_at=0.0, trial_due=not ok)


def observe(state: PaceState, info: RateInfo, now: float, *, sent_at: float, since: int = 0) -> PaceState:
    """The state after the rate-limit headers of a response, whose request was sent at ``sent_at``, with ``since``
    requests sent after it.
    """
    seen = state.seen.reported(info, now, sent_at, since)
    if (seen.requests, seen.tokens) == (state.seen.requests, state.seen.tokens):
        return state
    return state._replace(updated_at=now, seen=seen)


# --- arithmetic -----------------------------------------------------------------------------------------------------


def _share(state: PaceState, now: float) -> float:
    return min(1.0, state.share + RECOVERY * max(0.0, now - state.share_at))


def _rate(state: PaceState, limits: Limits) -> float:
    """Credits per second."""
    return limits.requests_per_minute / MINUTE * _share(state, state.credit_at)


def _credit_wait(state: PaceState, limits: Limits, now: float) -> float:
    rate = _rate(state, limits)
    missing = 1 - ALMOST - state.credit - rate * max(0.0, now - state.credit_at)
    return max(0.0, missing / rate)
