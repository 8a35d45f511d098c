"""How many requests are worth having in flight."""

from llmkit.limiter.adaptive import Adaptive


def served(state, latency, count, at_most=20):
    """The state after so many answers."""
    for _ in range(count):
        state = state.answered(latency, at_most)
    return state


def test_it_grows_by_one_a_round_up_to_the_limit():
    """Each round of answers adds about one, until the catalog's limit is reached."""
    assert 4 <= served(Adaptive(), 1.0, 10).allowed <= 5
    assert served(Adaptive(), 1.0, 1000).allowed == 20


def test_a_refusal_halves_it_once_a_round():
    """A refusal halves the number; the other refusals of the same round do not halve it again."""
    state = served(Adaptive(), 1.0, 100, at_most=12)
    once = state.refused()
    assert once.allowed == 6
    assert once.refused().refused().allowed == 6
    assert served(once, 1.0, 7).refused().allowed < 4


def test_it_is_halved_where_latency_bends():
    """When the average latency passes twice the best, more in flight only wait for each other."""
    state = served(Adaptive(), 1.0, 60)
    before = state.allowed
    after = served(state, 4.0, 4)
    assert after.allowed <= before / 2 + 1


def test_it_never_goes_below_one():
    """There is always room for one request."""
    state = Adaptive()
    for _ in range(10):
        state = state.refused()
    assert state.allowed == 1.0
