"""Who holds which partitions: how a member of a consumer group decides what to take and what to give.

Every member may hold its even share. One that holds more gives partitions up when it next receives, each once its
records are committed or, at the latest, after one lease; one that holds fewer takes what nobody alive holds. A member
that has not received for a lease is not alive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from interlock.core.kernel.clock import Millis


class Member(NamedTuple):
    session: int
    lease_ends_at: Millis


class View(NamedTuple):
    """How things stand in the group. Lists are by partition."""

    members: dict[str, Member]
    committed: list[int]
    """Offset of the first record the group has not committed."""
    owner: list[int]
    """Session of the member that holds the partition; 0 is nobody's."""
    next: list[int]
    """Offset the next message published will get."""


class Self(NamedTuple):
    """What the member that decides knows of itself."""

    name: str
    session: int
    received: Mapping[int, int]
    """Partition -> offset to receive next."""
    giving_up: Mapping[int, Millis]
    """Partitions it is to give up, and since when."""

    def uncommitted(self, view: View, number: int) -> bool:
        """Whether it may still be working on records of that partition."""
        return self.received.get(number, 0) > view.committed[number]


@dataclass(slots=True)
class Plan:
    """What a member has to change to hold its share."""

    join: bool = False
    renew: bool = False
    drop: list[str] = field(default_factory=list)
    take: list[int] = field(default_factory=list)
    give: list[int] = field(default_factory=list)
    giving_up: dict[int, Millis] = field(default_factory=dict)
    """Partitions to give up as soon as possible, and since when: nothing more is received from them."""

    @property
    def writes(self) -> bool:
        return bool(self.join or self.renew or self.drop or self.take or self.give)


def plan_share(view: View, me: Self, *, now: Millis, lease_ms: Millis) -> Plan | None:
    """What to change, given how things stand; None if another subscription has taken this member's name."""
    standing = view.members.get(me.name)
    if standing is not None and standing.session != me.session:
        return None
    plan = Plan()
    plan.join = standing is None or standing.lease_ends_at <= now
    plan.renew = standing is not None and standing.lease_ends_at - now < lease_ms * 2 // 3
    alive = {me.name: me.session}
    for name, member in view.members.items():
        if member.lease_ends_at > now:
            alive[name] = member.session
        elif name != me.name:
            plan.drop.append(name)
    partitions = len(view.owner)
    share = (partitions + len(alive) - 1 - sorted(alive).index(me.name)) // len(alive)
    held = [number for number, owner in enumerate(view.owner) if owner == me.session]
    if len(held) <= share:
        sessions = set(alive.values())
        free = [number for number, owner in enumerate(view.owner) if owner not in sessions]
        plan.take = free[: share - len(held)]
        return plan
    # Those already asked back first, then those that can go at once.
    held.sort(key=lambda number: (number not in me.giving_up, me.uncommitted(view, number)))
    for number in held[: len(held) - share]:
        asked_at = me.giving_up.get(number, now)
        if not me.uncommitted(view, number) or now - asked_at >= lease_ms:
            plan.give.append(number)
        else:
            plan.giving_up[number] = asked_at
    return plan
