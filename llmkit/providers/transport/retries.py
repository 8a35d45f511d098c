"""When a failed request is retried, and after what wait."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any, Self, TypeVar

import anyio

from llmkit.errors import Code, ValidationError
from llmkit.records import Failure
from llmkit.records.checks import numbers, shapes, texts

if TYPE_CHECKING:
    import tenacity

T = TypeVar("T")

_RETRIED = frozenset(
    {
        Code.RATE_LIMITED,
        Code.OVERLOADED,
        Code.SERVER_ERROR,
        Code.TIMEOUT,
        Code.NETWORK_ERROR,
        Code.INVALID_RESPONSE,  # once
    }
)
_PAUSING = frozenset({Code.RATE_LIMITED, Code.OVERLOADED, Code.SERVER_ERROR})


@dataclass(frozen=True, slots=True)
class Delay:
    """Seconds to wait before the next attempt; with ``pauses_provider``, all the provider's probes wait."""

    seconds: float
    pauses_provider: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often, and after which waits, a request is retried. Times are in seconds.

    ``max_attempts`` includes the first attempt. A wait that the server asks for is kept exactly; if it is longer than
    ``max_retry_after``, the failure is final and the provider's other probes are skipped (``kit.resume`` asks them
    later). A rate limit without such a wait uses ``rate_limit_waits``, by number of attempts made. Everything else
    waits ``backoff_initial``, doubled with each attempt up to ``backoff_max``, with ``jitter`` up to twice as long.

    ``retry_unknown`` says whether to retry when a connection broke after the request was sent: the lost answer may have
    been billed. ``None`` means yes in runs without a budget and no in runs with one. ``timeout_s`` is the time limit
    for an answer. ``scale`` multiplies every wait, even those that a server asks for; for tests and rehearsals.

    Raises:
        ValidationError: a value is invalid.
    """

    max_attempts: int = 5
    rate_limit_waits: tuple[float, ...] = (30.0, 60.0, 90.0, 120.0)
    backoff_initial: float = 1.0
    backoff_max: float = 30.0
    jitter: bool = True
    max_retry_after: float = 3600.0
    retry_unknown: bool | None = None
    timeout_s: float = 600.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        for name, check in _CHECKS.items():
            object.__setattr__(self, name, check(getattr(self, name), name))
        if self.backoff_max < self.backoff_initial:
            raise ValidationError("backoff_max must not be less than backoff_initial.", field="backoff_max")
        if self.timeout_s == 0:
            raise ValidationError("timeout_s must be more than 0 seconds.", field="timeout_s")

    @classmethod
    def fast(cls, **changes: Any) -> Self:
        """The default policy with every wait reduced to a thousandth, for tests and rehearsals."""
        return cls(**{"scale": 0.001, **changes})

    def scaled(self, factor: float) -> Self:
        """This policy with every wait multiplied by ``factor``."""
        return replace(self, scale=self.scale * factor)

    def judged(self, failure: Failure) -> Failure:
        """The failure, extended to the whole provider if the server asks for a wait longer than ``max_retry_after``."""
        wait = failure.retry_after or 0.0
        if failure.code not in _PAUSING or wait <= self.max_retry_after:
            return failure
        remedy = f"The provider asks to wait {ceil(wait / 60):,} minutes: resume the run after that."
        return replace(failure, scope="provider", message=f"{failure.message.rstrip('.')}. {remedy}")

    def delay(self, failure: Failure, attempt: int) -> Delay:
        """The wait after attempt number ``attempt`` (from 1) failed."""
        if failure.retry_after is not None:
            return Delay(failure.retry_after * self.scale, pauses_provider=failure.code in _PAUSING)
        if failure.code is Code.RATE_LIMITED:
            wait = self.rate_limit_waits[min(attempt, len(self.rate_limit_waits)) - 1]
            return Delay(wait * self.scale, pauses_provider=True)
        return Delay(self._backoff(attempt) * self.scale)

    def _backoff(self, attempt: int) -> float:
        whole: float = min(self.backoff_initial * 2 ** (attempt - 1), self.backoff_max)
        if not self.jitter:
            return whole
        least = min(whole, max(self.backoff_max / 2, self.backoff_initial))  # so that waits vary at the upper end too
        return random.uniform(least, min(2 * least, self.backoff_max))

    def _is_retried(self, failure: Failure, *, retry_unknown: bool, times: int) -> bool:
        """Whether to retry after a failure; ``times``: how often its code has occurred, including this one."""
        return (
            failure.code in _RETRIED
            and failure.scope != "probe"
            and failure.rejected_param is None
            and (failure.code is not Code.INVALID_RESPONSE or times == 1)
            and (retry_unknown or not failure.maybe_billed)
            and (failure.retry_after is None or failure.retry_after <= self.max_retry_after)
        )


async def retrying(
    attempt: Callable[[], Awaitable[T | Failure]],
    policy: RetryPolicy,
    *,
    retry_unknown: bool,
    on_wait: Callable[[Failure, Delay], None] | None = None,
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
) -> T | Failure:
    """Call ``attempt`` until it succeeds or no retry is left; then return its last result unchanged.

    ``on_wait`` is called before each wait with the failure and the delay. It handles delays that pause the provider
    (the gate holds the next attempt); all other waits, or all without ``on_wait``, are slept here.
    """
    first = await attempt()
    if not isinstance(first, Failure) or not policy._is_retried(first, retry_unknown=retry_unknown, times=1):
        return first
    # The schedule uses tenacity, which this project was asked to build on: do not replace it with a custom loop. It is
    # loaded and set up for retries only, since both cost more than a request that succeeds. A run that is stopped must
    # not load it either: any ``exec`` after a Ctrl-C, as of its dataclasses, makes Python 3.11 exit with another code.
    import tenacity

    made, seen = [first], Counter[Code]()
    delay = Delay(0.0)

    async def next_attempt() -> T | Failure:
        return made.pop() if made else await attempt()

    def worth_retrying(result: T | Failure) -> bool:
        if not isinstance(result, Failure):
            return False
        seen[result.code] += 1
        return policy._is_retried(result, retry_unknown=retry_unknown, times=seen[result.code])

    def wait(state: tenacity.RetryCallState) -> float:
        nonlocal delay
        delay = policy.delay(_result(state), state.attempt_number)
        return 0.0 if delay.pauses_provider and on_wait else delay.seconds

    def tell(state: tenacity.RetryCallState) -> None:
        if on_wait is not None:
            on_wait(_result(state), delay)

    retry = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_result(worth_retrying),
        stop=tenacity.stop_after_attempt(policy.max_attempts),
        wait=wait,
        before_sleep=tell,
        sleep=sleep,
        retry_error_callback=_result,
    )
    try:
        result: T | Failure = await retry(next_attempt)
    finally:
        retry.iter_state.reset()  # breaks a reference cycle, so that ``retry`` is freed at once
    return result


def _result(state: tenacity.RetryCallState) -> Any:
    return state.outcome.result() if state.outcome else None


def _waits(values: Any, field: str) -> tuple[float, ...]:
    if waits := tuple(_seconds(value, field) for value in shapes.several(values, field, "a list of seconds")):
        return waits
    raise ValidationError(f"{field} must be a list of seconds, at least one.", field=field)


def _seconds(value: Any, field: str) -> float:
    if not shapes.is_number(value) or value < 0:
        raise ValidationError(f"{field} must be a number of seconds, 0 or more.", field=field)
    return float(value)


_CHECKS: Mapping[str, Callable[[Any, str], Any]] = {
    "max_attempts": lambda value, field: numbers.whole(value, field, 1, 100),
    "rate_limit_waits": _waits,
    **dict.fromkeys(("backoff_initial", "backoff_max", "max_retry_after", "timeout_s", "scale"), _seconds),
    "jitter": texts.flag,
    "retry_unknown": lambda value, field: None if value is None else texts.flag(value, field),
}
