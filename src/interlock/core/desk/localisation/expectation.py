"""The failure rate to expect of each row, from what all rows did before: every attribute multiplies it by a factor of its own.

Most combinations of attributes are too rare to have a rate. With a factor for each attribute a slice's expectation follows
its mix: that a merchant with a bad rate sends more today is no drop, and a fault that hits easy and hard payments alike
is seen to hit them alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from interlock.core.desk.localisation import chance

PRIOR_FAILURES = 3.0
"""A factor leans towards 1 as if so many further failures had been expected, and seen."""

Codes = NDArray[np.intp]
"""Of one dimension: a number for the value in each row."""
Numbers = NDArray[np.float64]


def expected_rates(columns: Sequence[Codes], bad: Numbers, total: Numbers) -> Numbers:
    """One rate for each row, from the failures and attempts of all rows before.

    One sweep of raking, from the attribute with the fewest values to the one with the most.
    """
    overall = chance.expected_rate(bad=bad.sum(), total=total.sum(), prior=chance.UNKNOWN_RATE)
    rates: Numbers = np.full(len(bad), overall)
    for codes in sorted(columns, key=lambda codes: np.count_nonzero(np.bincount(codes))):
        expected = np.bincount(codes, total * rates)
        found = np.bincount(codes, bad)
        rates = rates * ((found + PRIOR_FAILURES) / (expected + PRIOR_FAILURES))[codes]
    return rates.clip(chance.RATE_MIN, chance.RATE_MAX)
