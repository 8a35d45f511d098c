"""The schedule of retries, to the second, with a clock that only counts."""

import dataclasses
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmkit.errors import Code, ValidationError
from llmkit.providers.transport import Delay, RetryPolicy, retrying
from llmkit.records import Completion, Failure

pytestmark = pytest.mark.anyio

REPLY = Completion(text="yes", finish_reason="stop", usage=None)
BACKED_OFF = [Code.OVERLOADED, Code.SERVER_ERROR, Code.TIMEOUT, Code.NETWORK_ERROR]


@pytest.fixture
def anyio_backend():
    """The event loop that runs live on."""
    return "asyncio"


def failure(code, **more):
    """A failure of that code."""
    return Failure(code=code, message="no", **more)


class Trial:
    """Attempts that give these results one after the other (the last one for ever), and what was waited for."""

    def __init__(self, *results, policy=None, retry_unknown=True):
        self.results, self.policy, self.retry_unknown = results, policy or RetryPolicy(), retry_unknown
        self.attempts, self.slept, self.told = [], [], []

    async def attempt(self):
        """The next result."""
        number = len(self.attempts) + 1
        self.attempts.append(number)
        return self.results[min(number, len(self.results)) - 1]

    async def sleep(self, seconds):
        """Note the wait and return at once."""
        self.slept.append(seconds)

    def tell(self, failed, delay):
        """Note what would be shown, and what the gate would be told."""
        self.told.append((failed.code, delay.seconds, delay.pauses_provider, len(self.attempts)))

    async def run(self, *, on_wait=False):
        """All attempts."""
        return await retrying(
            self.attempt,
            self.policy,
            retry_unknown=self.retry_unknown,
            on_wait=self.tell if on_wait else None,
            sleep=self.sleep,
        )


async def test_an_answer_is_not_asked_for_again():
    """One attempt, no wait."""
    trial = Trial(REPLY)
    assert await trial.run() is REPLY
    assert (trial.attempts, trial.slept) == ([1], [])


async def test_a_rate_limit_without_a_time_waits_30_60_90_120_seconds():
    """The schedule is exact, and after the last retry the failure is returned as it is."""
    limited = failure(Code.RATE_LIMITED, status=429)
    trial = Trial(limited)
    assert await trial.run() is limited
    assert trial.attempts == [1, 2, 3, 4, 5]
    assert trial.slept == [30, 60, 90, 120]
    assert limited.retryable


@pytest.mark.parametrize("code", [Code.RATE_LIMITED, Code.OVERLOADED, Code.SERVER_ERROR])
@pytest.mark.parametrize("seconds", [0.0, 0.02, 7.0, 17.5, 3600.0])
async def test_the_time_that_a_server_asks_for_is_kept_exactly(code, seconds):
    """Retry-After wins over every schedule, without jitter, and holds for all who ask that provider."""
    trial = Trial(failure(code, retry_after=seconds), REPLY)
    assert await trial.run() is REPLY
    assert trial.slept == [seconds]
    assert RetryPolicy().delay(failure(code, retry_after=seconds), 1) == Delay(seconds, pauses_provider=True)


async def test_a_wait_beyond_the_longest_is_final():
    """A server that asks for more than an hour is left for a later resume."""
    limited = failure(Code.RATE_LIMITED, retry_after=3600.5)
    trial = Trial(limited)
    assert await trial.run() is limited
    assert (trial.attempts, trial.slept) == ([1], [])


async def test_a_pause_of_the_provider_is_left_to_the_gate():
    """With a listener nothing is slept here: the gate holds the next attempt, and everybody else's."""
    trial = Trial(failure(Code.RATE_LIMITED), failure(Code.TIMEOUT), REPLY, policy=RetryPolicy(jitter=False))
    assert await trial.run(on_wait=True) is REPLY
    assert trial.told == [(Code.RATE_LIMITED, 30, True, 1), (Code.TIMEOUT, 2, False, 2)]
    assert trial.slept == [0, 2]


@pytest.mark.parametrize("code", BACKED_OFF)
async def test_broken_answers_wait_one_to_thirty_seconds(code):
    """Doubled with each attempt, for this probe alone."""
    policy = RetryPolicy(jitter=False, max_attempts=8)
    trial = Trial(failure(code), policy=policy)
    await trial.run()
    assert trial.slept == [1, 2, 4, 8, 16, 30, 30]
    assert not policy.delay(failure(code), 1).pauses_provider


@given(st.integers(1, 100), st.sampled_from(BACKED_OFF))
def test_jitter_stays_between_the_plain_wait_and_its_double(attempt, code):
    """Never under a second, never over thirty, and spread also where the waits are longest."""
    seconds = [RetryPolicy(max_attempts=100).delay(failure(code), attempt).seconds for _ in range(20)]
    least = min(2 ** (attempt - 1), 15)
    assert all(least <= wait <= min(2 * least, 30) for wait in seconds)
    assert len(set(seconds)) > 10


async def test_an_invalid_response_is_retried_once():
    """Garbage twice is garbage, whatever came in between."""
    garbage = failure(Code.INVALID_RESPONSE)
    trial = Trial(garbage)
    assert await trial.run() is garbage
    assert trial.attempts == [1, 2]
    mixed = Trial(garbage, failure(Code.TIMEOUT), garbage, REPLY)
    assert await mixed.run() is garbage
    assert mixed.attempts == [1, 2, 3]


@pytest.mark.parametrize("code", sorted({*Code} - {*BACKED_OFF, Code.RATE_LIMITED, Code.INVALID_RESPONSE}))
@pytest.mark.parametrize("scope", ["attempt", "probe", "model", "provider"])
async def test_nothing_else_is_tried_again(code, scope):
    """Money that has run out, a bad key, a refusal or a cancelled flight returns at once."""
    trial = Trial(failure(code, scope=scope, retry_after=1.0))
    assert (await trial.run()).code is code
    assert (trial.attempts, trial.slept) == ([1], [])


async def test_what_holds_for_the_probe_whatever_is_tried_is_not_tried():
    """A failure that says so is final even when its code is one that may pass."""
    trial = Trial(failure(Code.TIMEOUT, scope="probe"))
    await trial.run()
    assert trial.attempts == [1]


async def test_a_rejected_parameter_goes_back_at_once():
    """The caller drops it and asks again; waiting would not help."""
    trial = Trial(failure(Code.SERVER_ERROR, rejected_param="temperature"))
    assert (await trial.run()).rejected_param == "temperature"
    assert trial.attempts == [1]


@pytest.mark.parametrize(("retry_unknown", "attempts"), [(True, [1, 2]), (False, [1])])
async def test_what_may_have_been_billed_is_asked_again_only_when_told_to(retry_unknown, attempts):
    """A run with a budget does not risk paying twice."""
    trial = Trial(failure(Code.NETWORK_ERROR, maybe_billed=True), REPLY, retry_unknown=retry_unknown)
    await trial.run()
    assert trial.attempts == attempts


async def test_an_error_inside_an_attempt_is_not_swallowed():
    """A journal that cannot be written ends the run; it is not tried five times."""
    calls = []

    async def attempt():
        calls.append(1)
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        await retrying(attempt, RetryPolicy(), retry_unknown=True)
    assert calls == [1]


async def test_a_fast_policy_has_the_same_shape_in_milliseconds():
    """Tests and rehearsals keep the schedule, a thousand times as fast."""
    trial = Trial(failure(Code.RATE_LIMITED), policy=RetryPolicy.fast())
    await trial.run()
    assert trial.slept == pytest.approx([0.03, 0.06, 0.09, 0.12])
    assert RetryPolicy.fast().delay(failure(Code.OVERLOADED, retry_after=20.0), 1).seconds == pytest.approx(0.02)
    assert RetryPolicy.fast(max_attempts=2) == RetryPolicy(max_attempts=2).scaled(0.001)


def test_a_policy_survives_being_stored():
    """A resumed run has the policy that it was started with."""
    policy = RetryPolicy(max_attempts=3, rate_limit_waits=(1, 2), retry_unknown=False)
    assert RetryPolicy(**json.loads(json.dumps(dataclasses.asdict(policy)))) == policy


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"max_attempts": 2.5},
        {"max_attempts": 101},
        {"rate_limit_waits": ()},
        {"rate_limit_waits": "30"},
        {"rate_limit_waits": (30, -1)},
        {"rate_limit_waits": 30},
        {"backoff_initial": -1},
        {"backoff_initial": 31},
        {"backoff_max": float("inf")},
        {"max_retry_after": float("nan")},
        {"scale": "1"},
        {"timeout_s": 0},
        {"retry_unknown": "yes"},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong):
    """The error names the field."""
    with pytest.raises(ValidationError) as caught:
        RetryPolicy(**wrong)
    assert caught.value.field in {*wrong, "backoff_max"}


@pytest.mark.parametrize("said", ["The provider's rate limit is reached: slow down", "The rate limit is reached."])
def test_a_wait_that_is_too_long_is_explained_in_sentences(said):
    """Also after the provider's own words, which may end without a full stop."""
    judged = RetryPolicy().judged(Failure(code=Code.RATE_LIMITED, message=said, retry_after=7200.0))
    assert judged.message == f"{said.rstrip('.')}. The provider asks to wait 120 minutes: resume the run after that."


STOPPED = """
import anyio, sys
from llmkit.errors import Code
from llmkit.providers.transport import RetryPolicy, retrying
from llmkit.records import Failure

async def attempt():
    return Failure(code=Code.CANCELLED, message="The run was stopped.")

anyio.run(lambda: retrying(attempt, RetryPolicy(), retry_unknown=True))
print("tenacity" in sys.modules)
"""


def test_a_failure_that_is_final_loads_no_library():
    """Loading one after a Ctrl-C would change the exit code of the script that was stopped."""
    ended = subprocess.run([sys.executable, "-c", STOPPED], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.strip() == "False"
