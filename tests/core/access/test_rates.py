"""Token buckets: how many at once, how many over time, and how much memory."""

from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.core.access.rates import Allowance, RateLimit, RateLimiter


def test_burst_is_allowed_then_refused_with_the_time_to_wait():
    limiter = RateLimiter(RateLimit(per_s=2.0, burst=3))
    assert limiter.take("c", 10.0) == Allowance(True, 3, 2, 0.5, 0)
    assert limiter.take("c", 10.0) == Allowance(True, 3, 1, 1.0, 0)
    assert limiter.take("c", 10.0) == Allowance(True, 3, 0, 1.5, 0)
    refused = limiter.take("c", 10.0)
    assert (refused.allowed, refused.remaining, round(refused.reset_s, 6), refused.retry_after_s) == (False, 0, 0.5, 1)


def test_waiting_for_retry_after_is_enough():
    limiter = RateLimiter(RateLimit(per_s=0.1, burst=1))
    assert limiter.take("c", 0.0).allowed
    refused = limiter.take("c", 3.0)
    assert (refused.allowed, refused.retry_after_s) == (False, 7)
    assert not limiter.take("c", 9.99).allowed
    assert limiter.take("c", 3.0 + 7).allowed


def test_refused_requests_do_not_push_the_next_one_back():
    limiter = RateLimiter(RateLimit(per_s=1.0, burst=1))
    limiter.take("c", 0.0)
    for _ in range(50):
        assert not limiter.take("c", 0.5).allowed
    assert limiter.take("c", 1.0).allowed


def test_clients_do_not_share_a_bucket():
    limiter = RateLimiter(RateLimit(per_s=1.0, burst=1))
    assert limiter.take("a", 0.0).allowed
    assert limiter.take("b", 0.0).allowed
    assert not limiter.take("a", 0.0).allowed


def test_limit_of_its_own_counts_instead_of_the_default():
    limiter = RateLimiter(RateLimit(per_s=1.0, burst=1))
    own = RateLimit(per_s=10.0, burst=5)
    assert [limiter.take("c", 0.0, own).allowed for _ in range(6)] == [True] * 5 + [False]


def test_memory_is_bounded_and_busy_clients_are_kept_before_idle_ones():
    limiter = RateLimiter(RateLimit(per_s=1.0, burst=10), clients_max=100)
    for _ in range(10):
        limiter.take("busy", 0.0)  # the oldest, and empty until 10
    for n in range(99):
        limiter.take(f"idle{n}", 0.0)  # full again at 1
    for n in range(50):
        limiter.take(f"new{n}", 5.0)
    assert len(limiter) <= 100
    assert limiter.take("busy", 5.0).remaining == 4


def test_memory_is_bounded_when_nobody_is_idle():
    limiter = RateLimiter(RateLimit(per_s=0.001, burst=10), clients_max=100)
    for n in range(1_000):
        limiter.take(f"c{n}", 0.0)
        assert len(limiter) <= 100


@settings(max_examples=200, deadline=None)
@given(
    per_s=st.floats(0.01, 1000),
    burst=st.integers(1, 50),
    gaps=st.lists(st.floats(0, 10), min_size=1, max_size=200),
)
def test_never_more_than_the_burst_and_the_rate_allow(per_s, burst, gaps):
    limiter, now, taken = RateLimiter(RateLimit(per_s, burst)), 0.0, 0
    for gap in gaps:
        now += gap
        allowance = limiter.take("c", now)
        taken += allowance.allowed
        assert taken <= burst + now * per_s + 1e-6
        assert 0 <= allowance.remaining < burst or allowance.remaining == 0
        assert allowance.allowed or allowance.retry_after_s >= 1
