"""How a long-running process of ours looks for garbage."""

from __future__ import annotations

import gc

YOUNG_OBJECTS = 20_000
"""New objects between two looks at the youngest. Python's 700 are a few requests: it would look at those under way, again and
again, for a tenth of all CPU. What a request leaves behind hardly ever needs the collector."""


def settle() -> None:
    """Call once everything is loaded: what is there now stays, and is not looked at any more."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 10, 10)
