"""Queries that come with the platform: what support asks most, each runnable as it is, and a start for others.

`now()` is the moment of the question, in UTC. Amounts are minor units and are never summed over currencies.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from interlock.core.desk.queries.library_checks import CHECKS
from interlock.core.desk.queries.library_figures import FIGURES
from interlock.core.desk.queries.model import LibraryQuery

LIBRARY: Mapping[str, LibraryQuery] = MappingProxyType({one.name: one for one in (*CHECKS, *FIGURES)})
"""By name: first what should be empty or needs a person, then figures."""
