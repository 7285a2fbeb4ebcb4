"""How answers are judged.

Each true cause counts; a named cause is right if it has exactly the same pairs as a true one, no more and no fewer.

- **F1**: of a drop with k true causes, the first k named ones are taken. Precision and recall over all drops together.
- **strict**: share of drops where the set of causes said to hold together is exactly the true one. k is not given away.
- **hit**: share of drops of which a true cause is among the first five named; **all**: of which every one is.
- **false alarms**: share of calm windows called anything but calm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from bench.localisation.generate import Case
from interlock.core.desk.localisation.localising import localise
from interlock.core.desk.localisation.model import Leaf, Where

FIRST = 5
SLOW = 0.06
"""Seconds from which on a case is timed twice."""


class Answer(NamedTuple):
    is_alarm: bool
    named: Sequence[Where]
    """Best first."""
    together: frozenset[Where] | None
    """Those said to hold at once; None where the method does not say."""


Method = Callable[[Sequence[Leaf]], Answer]


def ours(leaves: Sequence[Leaf]) -> Answer:
    finding = localise(leaves)
    together = frozenset(cause.where for cause in finding.causes if not cause.alternative)
    return Answer(finding.verdict != "calm", [cause.where for cause in finding.causes], together)


def baseline(name: Callable[[Sequence[Leaf]], list[Where]]) -> Method:
    def answer(leaves: Sequence[Leaf]) -> Answer:
        named = name(leaves)
        return Answer(bool(named), named, None)

    return answer


class Score:
    """Sums over cases of one method."""

    def __init__(self, method: Method) -> None:
        self._method = method
        self.drops = self.calms = self.alarms = 0
        self.right = self.named = self.true = 0
        self.exact = self.hits = self.whole_hits = 0
        self.seconds: list[float] = []
        """Of processor time, for each case: other processes on the machine count less than in wall time. Of one that seems slow
        the lesser of two times: nothing is remembered in between, and what else the machine does can only add."""

    def add(self, case: Case) -> None:
        answer, seconds = self._timed(case)
        if seconds > SLOW:
            seconds = min(seconds, self._timed(case)[1])
        self.seconds.append(seconds)
        if not case.truth:
            self.calms += 1
            self.alarms += answer.is_alarm
            return
        first = set(answer.named[: len(case.truth)])
        listed = case.truth & set(answer.named[:FIRST])
        self.drops += 1
        self.true += len(case.truth)
        self.named += len(first)
        self.right += len(case.truth & first)
        self.exact += answer.together == case.truth
        self.hits += bool(listed)
        self.whole_hits += listed == case.truth

    def _timed(self, case: Case) -> tuple[Answer, float]:
        began = time.process_time()
        answer = self._method(case.leaves)
        return answer, time.process_time() - began

    @property
    def f1(self) -> float:
        return 2 * self.right / (self.named + self.true) if self.true else 0.0

    @property
    def strict(self) -> float:
        return self.exact / self.drops

    @property
    def hit(self) -> float:
        return self.hits / self.drops

    @property
    def all(self) -> float:
        return self.whole_hits / self.drops

    @property
    def false_alarms(self) -> float:
        return self.alarms / self.calms

    def seconds_at(self, share: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def scored(cases: Iterable[Case], methods: dict[str, Method]) -> dict[str, Score]:
    scores = {name: Score(method) for name, method in methods.items()}
    for case in cases:
        for score in scores.values():
            score.add(case)
    return scores
