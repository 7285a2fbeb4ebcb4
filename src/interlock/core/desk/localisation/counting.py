"""Attempts of two windows, tallied into leaves from the desk's rows."""

from __future__ import annotations

from collections.abc import Sequence
from operator import add

from interlock.core.desk.figures.folding import Folding
from interlock.core.desk.figures.model import ATTEMPTS, DESK
from interlock.core.desk.localisation.model import DIMENSIONS, OUTCOME, Leaf
from interlock.core.kernel import ids
from interlock.core.kernel.clock import Millis
from interlock.core.kernel.documents import Tallies, Tally

GOOD = frozenset({"approved", "requires_action"})
OPEN = "pending"
VALUES_MAX = 200
"""Of one dimension are told apart, those with the most failures now. The others count as not known: nothing is named by them."""


PAST = Folding(frozenset(DIMENSIONS) - {OUTCOME}, hour_max=1_500, day_max=4_000)
"""So much is remembered of the calm time: with ten thousand attempts an hour nearly each would be a combination of its own.
Errors are all told apart: one whose failures before were not counted as its own would look like a new one, in every calm hour."""


async def leaves(
    tallies: Tallies, past: Tallies, *, since: Millis, until: Millis, before_since: Millis, before_until: Millis
) -> list[Leaf]:
    """Authorisations begun in [since, until) beside those of the calm time before, which are counted by `past`."""
    now = await _counted(tallies, since, until)
    before = await _counted(past, before_since, before_until)
    found: dict[tuple[str | None, ...], list[int]] = {}
    for rows, place in ((before, 0), (now, 2)):
        for row in rows:
            *attributes, outcome = row.values
            if outcome == OPEN:
                continue
            good = outcome in GOOD
            if good:
                attributes[_ERROR] = None
            elif attributes[_ERROR] is None:
                attributes[_ERROR] = outcome
            values = tuple(None if value is None else str(value) for value in attributes)
            counts = found.setdefault(values, [0, 0, 0, 0])
            counts[place] += row.number
            counts[place + 1] += row.number if good else 0
    return bounded([Leaf(attributes, *counts) for attributes, counts in found.items()])


def bounded(found: Sequence[Leaf], values_max: int = VALUES_MAX) -> list[Leaf]:
    """The same attempts with no more than so many values of any dimension; leaves that have become the same are one."""
    columns = list(zip(*(leaf.attributes for leaf in found), strict=True))
    kept = [_most_failing(column, found, values_max) for column in columns]
    if all(few is None for few in kept):
        return list(found)
    sums: dict[tuple[str | None, ...], Leaf] = {}
    for leaf in found:
        values = tuple(
            value if few is None or value in few else None for value, few in zip(leaf.attributes, kept, strict=True)
        )
        known = sums.get(values)
        counts = leaf[1:] if known is None else map(add, known[1:], leaf[1:])
        sums[values] = Leaf(values, *counts)
    return list(sums.values())


def telling(found: Sequence[Leaf]) -> tuple[list[Leaf], tuple[str, ...]]:
    """The same leaves by those dimensions alone that tell attempts apart: one that all of them share explains nothing."""
    width = range(len(DIMENSIONS))
    places = [place for place in width if len({leaf.attributes[place] for leaf in found} - {None}) > 1] or [0]
    kept = [leaf._replace(attributes=tuple(leaf.attributes[place] for place in places)) for leaf in found]
    return kept, tuple(DIMENSIONS[place] for place in places)


def _most_failing(column: Sequence[str | None], found: Sequence[Leaf], values_max: int) -> frozenset[str] | None:
    """The values to keep, or None for all of them."""
    weights: dict[str, tuple[int, int]] = {}
    for value, leaf in zip(column, found, strict=True):
        if value is not None:
            bad, total = weights.get(value, (0, 0))
            weights[value] = (bad + leaf.now_total - leaf.now_good, total + leaf.now_total + leaf.before_total)
    if len(weights) <= values_max:
        return None
    return frozenset(sorted(weights, key=lambda value: (weights[value], value), reverse=True)[:values_max])


async def _counted(tallies: Tallies, since: Millis, until: Millis) -> Sequence[Tally]:
    return await tallies.tally(
        ATTEMPTS.name,
        tenant=DESK,
        by=(*DIMENSIONS, "outcome"),
        where={"operation": "authorize"},
        id_from=ids.format_id(ids.ATTEMPT, max(0, since), 0),
        id_before=ids.format_id(ids.ATTEMPT, max(0, until), 0),
    )


_ERROR = DIMENSIONS.index(OUTCOME)
