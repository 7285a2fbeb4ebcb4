"""Asking for causes: which attempts are held against which."""

from __future__ import annotations

from interlock.core.desk.localisation.counting import leaves, telling
from interlock.core.desk.localisation.model import Finding
from interlock.core.kernel.clock import DAY, HOUR, Millis
from interlock.core.kernel.documents import Tallies
from interlock.core.kernel.errors import Fault, Invalid

WINDOW: Millis = 3 * HOUR
"""Of what is asked about, unless somebody says more."""
WINDOW_MAX: Millis = DAY
BEFORE: Millis = 7 * DAY
"""At least so long is the calm time before the window. It begins with a day, because whole days are remembered."""


async def find_causes(tallies: Tallies, past: Tallies, *, since: Millis, until: Millis) -> Finding:
    """What explains that fewer of the authorisations begun in [since, until) succeed than in the days before.

    Raises Invalid for a window that is empty or longer than a day.
    """
    if not 0 < until - since <= WINDOW_MAX:
        raise Invalid(faults=(Fault("/query/since", "bad_range", "before `until`, by no more than a day"),))
    # Numpy takes a tenth of a second to load, which no start should wait for.
    from interlock.core.desk.localisation.localising import localise

    found = await leaves(
        tallies,
        past,
        since=since,
        until=until,
        before_since=max(0, (since - BEFORE) // DAY * DAY),
        before_until=since,
    )
    return localise(*telling(found))
