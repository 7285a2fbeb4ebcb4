"""How far counts are from what was expected, and whether that is more than chance and the usual ups and downs.

Everything is counted in failures. exp(-gain) is Chernoff's bound of the binomial tail: the true probability is smaller,
for small counts too, so a slice of four attempts cannot win by luck of an approximation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

PRIOR_ATTEMPTS = 25
"""A slice's rate before counts as if it had so many further attempts at the rate that coarser slices suggest."""
DRIFT = 0.12
"""Rates wander without a fault: the standard deviation of a slice's log odds from one calm window to the next."""
UNKNOWN_RATE = 0.1
"""Before anything was seen."""
CLUSTERED = 1.3
"""Attempts are not independent: who has failed tries again and fails again. So much larger is the variance for it."""
RATE_MIN = 1e-4
RATE_MAX = 1 - 1e-4


def gain(*, bad: float, total: float, rate: float, typical: float) -> float:
    """Log likelihood ratio of `bad` of `total` failures against the expected `rate`; 0 when no more failed than expected.

    The alternative is that a fault made each success fail with the same probability, whatever the rate before.
    `typical` is the geometric mean of the expected rates of those attempts that failed: `rate` if all have the same.
    """
    if bad <= total * rate:
        return 0.0
    good = total - bad
    severity = 1 - good / (total * (1 - rate))
    spared = good * math.log(1 - severity) if good else 0.0
    return max(0.0, bad * math.log1p(severity * (1 - typical) / typical) + spared)


def contrast(*, bad: float, total: float, rate: float, before_total: float) -> float:
    """Log likelihood ratio of two rates against one in common, now and before; 0 when no more failed than expected.

    `rate` rests on `before_total` attempts and those it leans on. Where few failures were expected this is far more
    careful than `gain`, which takes the expected rate for certain.
    """
    if bad <= total * rate:
        return 0.0
    before = before_total + PRIOR_ATTEMPTS
    pooled = (bad + rate * before) / (total + before)
    found = bad / total
    spared = (total - bad) * math.log((1 - found) / (1 - pooled)) if bad < total else 0.0
    now = bad * math.log(found / pooled) + spared
    return now + before * (rate * math.log(rate / pooled) + (1 - rate) * math.log((1 - rate) / (1 - pooled)))


def expected_rate(*, bad: float, total: float, prior: float) -> float:
    """The failure rate to expect of a slice that had `bad` of `total` before."""
    return within_bounds((bad + PRIOR_ATTEMPTS * prior) / (total + PRIOR_ATTEMPTS))


def within_bounds(rate: float) -> float:
    return min(max(rate, RATE_MIN), RATE_MAX)


def doubt(*, now_total: float, before_total: float) -> float:
    """By how much the variance grows because the expected rate is itself an estimate."""
    return 1 + now_total / (before_total + PRIOR_ATTEMPTS)


def dispersion(*, total: float, rate: float) -> float:
    """By how much it grows because attempts are clustered and rates wander, as in a beta-binomial distribution."""
    return CLUSTERED + total * DRIFT**2 * rate * (1 - rate)


def price(values: Sequence[int], dimensions: int) -> float:
    """What it costs to name a slice: the logarithm of how many of its form could have been named.

    `values` is how many values each of its dimensions has. Half of all belief goes to single attributes, a quarter to
    pairs and so on, so exp(-price) sums to at most 1 over all slices. That makes exp(price - gain) a Bonferroni correction
    over everything searched, and the same price lets the coarser of two equally good slices win.
    """
    forms = math.comb(dimensions, len(values))
    return math.log(2) * len(values) + math.log(forms) + sum(map(math.log, values))
