"""Which faults a run meets, and how often. Each seed draws a weather of its own: some families of faults, mild or heavy.

All families at once would hide what two of them do together with nothing else in the way, so most seeds have a few.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import NamedTuple

FAMILIES: Mapping[str, Mapping[str, Mapping[str, float]]] = {
    # family -> call of a port -> fault -> share of calls, in mild weather
    "conflicts": {"store.commit": {"conflict": 0.02}},
    "throttling": {
        "store.commit": {"throttled": 0.01},
        "store.get": {"throttled": 0.004},
        "store.query": {"throttled": 0.004},
        "store.query_index": {"throttled": 0.004},
        "store.history": {"throttled": 0.004},
        "feed.read": {"throttled": 0.01},
        "queue.send": {"throttled": 0.01},
        "queue.receive": {"throttled": 0.01},
        "queue.ack": {"throttled": 0.01},
        "queue.release": {"throttled": 0.01},
        "bus.publish": {"throttled": 0.01},
        "subscription.receive": {"throttled": 0.01},
        "subscription.commit": {"throttled": 0.01},
        "documents.upsert": {"throttled": 0.01},
    },
    "uncertain_commits": {"store.commit": {"answer_lost": 0.01, "request_lost": 0.01}},
    "slowness": {
        "store.commit": {"slow": 0.03},
        "store.get": {"slow": 0.01},
        "queue.send": {"slow": 0.02},
        "queue.ack": {"slow": 0.02},
        "bus.publish": {"slow": 0.02},
        "provider.send": {"slow": 0.05},
    },
    "messages": {
        "queue.send": {"duplicated": 0.05, "delayed": 0.05, "sent_and_denied": 0.01},
        "queue.receive": {"redelivered": 0.03, "reordered": 0.1},
        "bus.publish": {"duplicated": 0.05},
        "subscription.receive": {"cut_short": 0.05},
        "feed.read": {"cut_short": 0.05},
    },
    "crashes": {"step": {"crash": 0.0006}},
    # More often where it does most harm: behind a commit that says what is done next, and behind an answer not yet written.
    "standstills": {
        "step": {"standstill": 0.0003},
        "store.commit": {"standstill": 0.003},
        "provider.send": {"standstill": 0.003},
        "provider.not_found": {"standstill": 0.1},
    },
    "time_limits": {"request": {"time_limit": 0.04}},
    "partitions": {"partition": {"partition": 0.5}},
    "clocks": {"clock": {"skew": 0.7, "clock_step": 0.3}},
    "providers": {
        "provider.money": {
            "reset_before_accept": 0.01,
            "timeout_before_accept": 0.01,
            "rate_limited": 0.01,
            "unavailable": 0.01,
            "late_accept": 0.02,
            "timeout_after_accept": 0.01,
            "reset_after_accept": 0.01,
            "error_though_charged": 0.01,
            "garbage": 0.01,
            "truncated": 0.01,
            "stalled": 0.005,
            "huge": 0.005,
            "wrong_amount": 0.01,
            "wrong_currency": 0.005,
            "wrong_reference": 0.005,
            "pending": 0.01,
        },
        "provider.lookup": {"rate_limited": 0.02, "unavailable": 0.03, "garbage": 0.02, "timeout_after_accept": 0.02},
    },
    "outages": {"outage": {"connect_refused": 0.2, "reset": 0.1, "hang": 0.15, "unavailable": 0.15}},
    "notifications": {
        "mail": {"lost": 0.1, "duplicated": 0.1, "delayed": 0.1, "replayed_old": 0.03},
        "forgery": {
            "bad_signature": 0.02,
            "garbage": 0.02,
            "other_tenant": 0.02,
            "unknown_reference": 0.02,
            "burst": 0.01,
        },
    },
    "merchants": {
        "endpoint": {
            "refused": 0.05,
            "timed_out": 0.03,
            "taken_and_timed_out": 0.03,
            "error_500": 0.05,
            "redirect": 0.02,
            "slow": 0.05,
        },
        "closing": {"closed": 0.6},
    },
}
"""Fault families by name."""
STRENGTHS = (0.5, 1.0, 3.0)


class Weather(NamedTuple):
    families: tuple[str, ...]
    strength: float

    def rates(self, call: str) -> dict[str, float]:
        """Fault -> share at one call."""
        found: dict[str, float] = {}
        for family in self.families:
            for fault, rate in FAMILIES[family].get(call, {}).items():
                found[fault] = min(found.get(fault, 0.0) + rate * self.strength, 1.0)
        whole = sum(found.values())
        return found if whole <= 1.0 else {fault: rate / whole for fault, rate in found.items()}


def draw_weather(dice: random.Random) -> Weather:
    """Fair for one seed in twelve; everything at once for one in six; a few families for the others."""
    fate = dice.random()
    if fate < 1 / 12:
        return Weather((), 1.0)
    names = tuple(FAMILIES)
    if fate > 5 / 6:
        return Weather(names, dice.choice(STRENGTHS[:2]))
    return Weather(tuple(name for name in names if dice.random() < 0.35), dice.choice(STRENGTHS))
