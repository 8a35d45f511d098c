"""The pace against servers that count as real ones do, with jitter on the way and with another client beside us."""

import pytest
from counting_servers import FixedWindow, SlidingWindow, TokenBucket, simulate

from llmkit.limiter.pace import Limits

LIMITS = Limits(5, 600)
SERVERS = {
    "token bucket": lambda: TokenBucket(600, 600),
    "token bucket of a burst": lambda: TokenBucket(600, 5),
    "token bucket of two bursts": lambda: TokenBucket(600, 10),
    "sliding window, next reset": lambda: SlidingWindow(600),
    "sliding window, whole reset": lambda: SlidingWindow(600, whole=True),
    "fixed window": lambda: FixedWindow(600),
}


@pytest.mark.parametrize("headers", [True, False], ids=["headers", "no headers"])
@pytest.mark.parametrize("name", SERVERS)
def test_alone_the_allowance_is_used_and_hardly_anything_refused(name, headers):
    """At least 97% of 600 requests a minute are served in each minute, and at most 1% are refused."""
    result = simulate(SERVERS[name](), LIMITS, seconds=125, headers=headers)
    begin = result.starts[0]
    minutes = [sum(begin + m <= when < begin + m + 60 for when in result.served) for m in (0, 60)]
    assert min(minutes) >= 582
    assert result.share_refused() <= 0.01


@pytest.mark.parametrize("headers", [True, False], ids=["headers", "no headers"])
@pytest.mark.parametrize("name", SERVERS)
def test_beside_another_client_few_are_refused(name, headers):
    """When another client uses half of the allowance, fewer than 5% of ours are refused, and we get on."""
    result = simulate(SERVERS[name](), LIMITS, seconds=185, headers=headers, others_per_minute=300, seed=1)
    assert result.share_refused() < 0.05
    assert len(result.served) >= 0.5 * 300 * 3


def test_headers_keep_us_from_the_wall():
    """Beside another client on a token bucket the headers slow us down before the wall: less is refused than blind."""
    seen, blind = (
        simulate(TokenBucket(600, 600), LIMITS, seconds=300, headers=headers, others_per_minute=300, seed=2)
        for headers in (True, False)
    )
    assert len(seen.refused) < len(blind.refused)


def test_a_catalog_limit_above_the_real_one_is_found_out():
    """When the catalog allows ten times what the server does, few are refused and most of the real limit is used."""
    result = simulate(FixedWindow(60), Limits(5, 600), seconds=245)
    assert len(result.served) >= 150
    assert result.share_refused() < 0.05
