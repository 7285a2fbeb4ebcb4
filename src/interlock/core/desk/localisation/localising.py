"""Choosing: the set of causes that together explain a drop best, in as few words as possible."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from interlock.core.desk.localisation import views
from interlock.core.desk.localisation.model import (
    DIMENSIONS,
    OUTCOME,
    Cause,
    Evidence,
    Finding,
    Leaf,
    Verdict,
    Where,
    refuse_faulty,
)
from interlock.core.desk.localisation.search import EXPANDED_AGAIN, SLICE_MAX, Candidate, Ground, Remainder
from interlock.core.desk.localisation.tally import Slice

CAUSES_MAX = 5
FOLLOWED = 40
"""So many of the best slices of three attributes are weighed again once a cause has been taken out."""
TOGETHER_MAX = 3
"""More causes at once are not looked for."""
BELIEF_MIN = 4.6
"""exp(-4.6): chance alone makes such a drop in one of a hundred windows at most."""
BELIEF_FURTHER_MIN = 1.0
"""The same where a drop is certain already, for further causes and for alternatives."""
BEYOND_ALL = 3.0
"""By so much must a slice explain more than "everything drops alike" does."""
FIRST_TRIED = 3
"""So many slices are tried as the first cause: two causes within one slice can make that slice look like the best one."""
ANOTHER = 3.0
"""The price of a further cause, on top of its name's."""

FURTHER_DISCOUNT = 0.02
"""And so much of the whole score: with very many attempts, rates that are only nearly right would make causes up."""


class _Reading(NamedTuple):
    causes: tuple[Candidate, ...]
    score: float


def localise(
    leaves: Sequence[Leaf],
    dimensions: Sequence[str] = DIMENSIONS,
    *,
    outcome: str = OUTCOME,
    causes_max: int = CAUSES_MAX,
) -> Finding:
    """Which slices of traffic explain that fewer payments succeed now than before.

    `before` is best a longer window than now, at a like time of day. `outcome` names the dimension that only failed
    attempts have, if there is one. Raises Invalid for leaves that do not fit the dimensions or cannot be counts.
    """
    refuse_faulty(leaves, dimensions, outcome)
    at = dimensions.index(outcome) if outcome in dimensions else None
    ground = Ground(leaves, dimensions=len(dimensions), outcome=at)
    whole = Remainder.whole(ground)
    overall = whole.overall()
    candidates = whole.candidates()
    best = _best_reading(whole, candidates)
    verdict: Verdict = "calm"
    if best is not None and best.score >= overall.score + BEYOND_ALL:
        verdict = "drop"
    elif best is not None or overall.belief >= BELIEF_MIN:
        verdict = "inconclusive"
    together = best.causes if best is not None and verdict == "drop" else ()
    lost = max(overall.lost, sum(one.lost for one in together))
    causes: tuple[Cause, ...] = ()
    if verdict == "drop":
        picked = _listed(together, candidates, causes_max)
        causes = tuple(_cause(one, ground, dimensions, lost, alternative=one not in together) for one in picked)
    evidence = _evidence(overall)
    return Finding(
        verdict, evidence, lost, causes, views.summary(verdict, evidence, lost, causes, alike=best is not None)
    )


def _best_reading(whole: Remainder, candidates: Sequence[Candidate]) -> _Reading | None:
    first = [one for one in candidates if one.belief >= BELIEF_MIN][:FIRST_TRIED]
    return max((_extended(whole, one, candidates) for one in first), key=lambda reading: reading.score, default=None)


def _extended(whole: Remainder, first: Candidate, candidates: Sequence[Candidate]) -> _Reading:
    """Take `first` out, look again, and so on while something believable is left."""
    causes = [first]
    score = first.score
    rest = whole
    left = candidates
    while len(causes) < TOGETHER_MAX:
        rest = rest.without(causes[-1].where, known=_apart(left, causes[-1]))
        left = rest.candidates(EXPANDED_AGAIN)
        following = next((one for one in left if _is_further(one, causes)), None)
        if following is None:
            break
        causes.append(following)
        score += following.score - ANOTHER
    return _Reading(tuple(causes), score * (1 - FURTHER_DISCOUNT * (len(causes) - 1)))


def _apart(left: Sequence[Candidate], cause: Candidate) -> list[Slice]:
    """Slices to weigh again: the short ones, and the best of the long ones, most of which say the cause in more words."""
    apart = [one.where for one in left if one.score > 0 and not set(cause.where) <= set(one.where)]
    short = [where for where in apart if len(where) < SLICE_MAX]
    return short + [where for where in apart if len(where) == SLICE_MAX][:FOLLOWED]


def _is_further(one: Candidate, causes: Sequence[Candidate]) -> bool:
    """Whether it is believable, and no part of a cause there is already, nor a whole that one is a part of."""
    if one.belief < BELIEF_FURTHER_MIN or one.score <= ANOTHER:
        return False
    here = set(one.where)
    return not any(here <= set(cause.where) or here >= set(cause.where) for cause in causes)


def _listed(together: Sequence[Candidate], candidates: Sequence[Candidate], causes_max: int) -> list[Candidate]:
    """What holds together, largest loss first; then other readings, best score first."""
    listed = sorted(together, key=lambda one: -one.lost)
    named = {one.where for one in together}
    others = (one for one in candidates if one.belief >= BELIEF_FURTHER_MIN and one.where not in named)
    return [*listed, *others][:causes_max]


def _cause(one: Candidate, ground: Ground, dimensions: Sequence[str], lost: float, *, alternative: bool) -> Cause:
    where: Where = tuple((dimensions[at], value) for at, value in ground.named(one.where))
    evidence = _evidence(one)
    share = min(1.0, max(0.0, one.lost / lost)) if lost > 0 else 0.0
    failing = any(at == ground.outcome for at, _ in one.where)
    statement = views.cause(where, evidence, lost=one.lost, of=lost, counts_one_error=failing)
    return Cause(where, one.score, statement, evidence, one.lost, share, alternative)


def _evidence(one: Candidate) -> Evidence:
    counts = one.counts
    return Evidence(
        before_total=int(counts.before_total),
        before_good=int(counts.before_total - counts.before_bad),
        now_total=int(counts.now_total),
        now_good=int(counts.now_total - counts.now_bad),
        expected_good=counts.now_total - one.expected,
        significance=math.exp(-max(0.0, one.belief)),
    )
