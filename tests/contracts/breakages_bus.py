"""How the Bus adapters are broken on purpose, promise by promise."""

from __future__ import annotations

from tests.contracts.breakages import Breakage

BUS = "test_bus.py::test_"


def sqlite(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"sqlite bus: {name}", "backends/sqlite/bus.py", old, new, test, "sqlite")


def memory(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"memory bus: {name}", "backends/memory/bus.py", old, new, test, "memory")


def sharing(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"sqlite bus: {name}", "backends/sqlite/sharing.py", old, new, test, "sqlite")


def forwarding(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(
        f"sqlite bus: {name}", "backends/sqlite/bus.py", old, new, f"test_forwarding.py::test_{test}", "sqlite"
    )


BREAKAGES = (
    # -- SQLite
    forwarding(
        "an event is forwarded to the partition of its row",
        '(_partition_of(key), "", "", "", seq)',
        '(seq % PARTITIONS, "", "", "", seq)',
        "forwarded_events_are_received_as_if_they_had_been_published",
    ),
    forwarding(
        "a forwarded event has no id",
        "return BusMessage(id_of(body), aggregate, body)",
        "return BusMessage(message_id, aggregate, body)",
        "forwarded_events_are_received_as_if_they_had_been_published",
    ),
    forwarding(
        "forwarding ends one event too late",
        "return position_of(events[-1][0])",
        "return position_of(events[-1][0] + 1)",
        "position_returned_is_the_feeds_and_nothing_behind_it_is_left_out",
    ),
    forwarding(
        "forwarding begins with the event at the position",
        "FROM events WHERE seq > ? ORDER BY seq LIMIT ?",
        "FROM events WHERE seq >= ? ORDER BY seq LIMIT ?",
        "nothing_behind_the_position_is_none_and_publishes_nothing",
    ),
    forwarding(
        "copies are taken for events",
        "LEFT JOIN events ON seq = value",
        "JOIN events ON seq = value",
        "forwarded_and_published_messages_keep_their_order_per_key",
    ),
    sqlite(
        "keys go to partitions by a hash that differs between processes",
        "crc32(key.encode()) % PARTITIONS",
        "hash(key) % PARTITIONS",
        f"{BUS}partition_of_a_key_stays_the_same_over_releases",
    ),
    sqlite(
        "messages go to partitions in turn",
        "_partition_of(m.key)",
        "_partition_of(m.id)",
        f"{BUS}one_key_is_always_in_one_partition_and_keys_spread_over_eight",
    ),
    sqlite(
        "everything goes to one partition",
        "crc32(key.encode()) % PARTITIONS",
        "0 * crc32(key.encode())",
        f"{BUS}one_key_is_always_in_one_partition_and_keys_spread_over_eight",
    ),
    sqlite(
        "a batch is published back to front",
        "for m in messages\n",
        "for m in reversed(messages)\n",
        f"{BUS}messages_of_one_key_come_in_the_order_they_were_published",
    ),
    sqlite(
        "headers are lost",
        "_encode_headers(m.headers).decode() if m.headers else",
        '"" if m.headers else',
        f"{BUS}published_message_is_received_elsewhere_with_all_its_parts",
    ),
    sqlite(
        "publish wakes nobody",
        "rows=rows)\n        await self._database.write(job, wakes=_waking(topic))",
        "rows=rows)\n        await self._database.write(job)",
        f"{BUS}receive_waits_for_the_first_record_and_returns_at_once_when_it_is_published",
    ),
    sqlite(
        "a waiting member never looks by itself",
        "timeout_s=min(left_s, POLL_S)",
        "timeout_s=left_s",
        f"{BUS}waiting_member_notices_what_another_process_publishes_within_half_a_second",
    ),
    sqlite(
        "groups share their offsets",
        '"SELECT number FROM bus_groups WHERE topic = ? AND name = ?"',
        '"SELECT number FROM bus_groups WHERE topic = ? AND name <> ?"',
        f"{BUS}groups_follow_a_topic_each_at_its_own_pace",
    ),
    sqlite(
        "a new group starts at the topic's end",
        "SELECT ?, partition, first, 0 FROM bus_partitions",
        "SELECT ?, partition, next, 0 FROM bus_partitions",
        f"{BUS}new_group_starts_at_the_topics_beginning",
    ),
    sqlite(
        "a member that joins again goes on where it was",
        "        if plan.join:\n            self._received.clear()\n",
        "",
        f"{BUS}uncommitted_records_come_again_to_the_member_itself_after_it_lost_its_lease",
    ),
    sqlite(
        "receive starts at the group's offset each time",
        "start = max(self._received.get(number, 0), view.committed[number])",
        "start = view.committed[number]",
        f"{BUS}receive_goes_on_behind_what_was_received_without_a_commit",
    ),
    sqlite(
        "receive ignores the group's offset",
        "start = max(self._received.get(number, 0), view.committed[number])",
        "start = self._received.get(number, 0)",
        f"{BUS}committed_records_never_come_again",
    ),
    sqlite(
        "limit holds per partition",
        "limit - len(records))).fetchall()",
        "limit)).fetchall()",
        f"{BUS}receive_gives_at_most_limit_records",
    ),
    sqlite(
        "the first partition is always first",
        "number = (self._turn + step) % PARTITIONS",
        "number = step",
        f"{BUS}busy_partition_does_not_keep_others_from_being_received",
    ),
    sqlite(
        "records of others' partitions are received",
        "if view.owner[number] != self._session or number in",
        "if number in",
        f"{BUS}members_share_the_partitions_evenly_and_none_is_left_out",
    ),
    sqlite(
        "records of partitions asked back are received",
        "or number in self._giving_up or start",
        "or start",
        f"{BUS}member_asked_to_give_up_a_partition_receives_nothing_more_from_it",
    ),
    sqlite(
        "offsets move back",
        "SET committed = max(committed, ?)",
        "SET committed = ?",
        f"{BUS}offset_never_moves_back",
    ),
    sqlite(
        "commit takes the last record for the furthest",
        "behind[record.partition] = max(behind.get(record.partition, 0), record.offset + 1)",
        "behind[record.partition] = record.offset + 1",
        f"{BUS}order_of_the_records_given_to_commit_does_not_matter",
    ),
    sqlite(
        "commit includes one record too few",
        "record.offset + 1)",
        "record.offset)",
        f"{BUS}commit_moves_behind_the_records_given_and_no_further",
    ),
    sqlite(
        "commit works for partitions lost",
        'WHERE consumers = ? AND partition = ? AND owner = ?"\n        )\n        if rows',
        'WHERE consumers = ? AND partition = ? AND ? > 0"\n        )\n        if rows',
        f"{BUS}commit_of_a_partition_lost_to_another_is_ignored_and_the_records_come_there",
    ),
    sqlite(
        "close keeps the partitions until the lease ends",
        '            db.execute("UPDATE bus_claims SET owner = 0 WHERE consumers = ? AND owner = ?", mine)\n'
        '            db.execute("DELETE FROM bus_members WHERE consumers = ? AND session = ?", mine)\n',
        "            return\n",
        f"{BUS}partitions_of_a_closed_member_go_to_the_others_at_once",
    ),
    sqlite(
        "close wakes nobody",
        "await self._database.write(job, wakes=_waking(self._place.topic))\n\n    def _look",
        "await self._database.write(job)\n\n    def _look",
        f"{BUS}close_ends_a_wait",
    ),
    sqlite(
        "a replaced subscription closes its successor",
        "DELETE FROM bus_members WHERE consumers = ? AND session = ?",
        "DELETE FROM bus_members WHERE consumers = ? AND session <> 1 - ?",
        f"{BUS}closing_twice_or_late_leaves_other_members_alone",
    ),
    sqlite(
        "lag counts from the topic's beginning",
        "coalesce(c.committed, p.first)",
        "p.first",
        f"{BUS}lag_counts_what_was_published_and_not_yet_committed",
    ),
    sqlite(
        "prune follows the fastest group",
        '"SELECT p.first, min(c.committed) FROM',
        '"SELECT p.first, max(c.committed) FROM',
        f"{BUS}prune_keeps_what_one_group_has_not_committed",
    ),
    sqlite(
        "prune ignores age",
        "end = end if kept is None else kept",
        "pass",
        f"{BUS}prune_drops_what_every_group_has_committed_and_is_old_enough",
    ),
    sqlite(
        "offsets start again after everything was pruned",
        '"UPDATE bus_partitions SET first = ? WHERE topic = ? AND partition = ?"',
        '"UPDATE bus_partitions SET first = 0 * ?, next = next - first WHERE topic = ? AND partition = ?"',
        f"{BUS}offsets_go_on_after_everything_was_pruned",
    ),
    sharing(
        "a member's lease never ends",
        "if member.lease_ends_at > now:",
        "if member.lease_ends_at:",
        f"{BUS}uncommitted_records_come_again_to_another_after_the_member_lost_its_lease",
    ),
    sharing(
        "receiving does not renew the lease",
        "plan.renew = standing is not None and standing.lease_ends_at - now < lease_ms * 2 // 3",
        "plan.renew = False",
        f"{BUS}receiving_renews_the_lease",
    ),
    sharing(
        "partitions move although their records are not committed",
        "if not me.uncommitted(view, number) or now - asked_at >= lease_ms:",
        "if True:",
        f"{BUS}partition_moves_only_when_its_records_are_committed",
    ),
    sharing(
        "partitions whose records are never committed never move",
        "if not me.uncommitted(view, number) or now - asked_at >= lease_ms:",
        "if not me.uncommitted(view, number):",
        f"{BUS}partition_whose_records_are_never_committed_moves_after_one_lease_all_the_same",
    ),
    sharing(
        "a member takes everything that is free",
        "plan.take = free[: share - len(held)]",
        "plan.take = free",
        f"{BUS}more_members_than_partitions_leave_some_idle_and_lose_nothing",
    ),
    sharing(
        "partitions are taken from the living",
        "if owner not in sessions]",
        "if owner != me.session]",
        f"{BUS}partition_moves_only_when_its_records_are_committed",
    ),
    sharing(
        "shares leave partitions to nobody",
        "share = (partitions + len(alive) - 1 - sorted(alive).index(me.name)) // len(alive)",
        "share = partitions // len(alive)",
        f"{BUS}members_share_the_partitions_evenly_and_none_is_left_out",
    ),
    sharing(
        "a replaced subscription renews its successor's lease",
        "if standing is not None and standing.session != me.session:",
        "if standing is None and me.session < 0:",
        f"{BUS}replaced_subscription_does_not_keep_its_successor_alive",
    ),
    sharing(
        "a member that lost its lease is gone for good",
        "plan.join = standing is None or standing.lease_ends_at <= now",
        "plan.join = False",
        f"{BUS}member_that_comes_back_after_a_long_sleep_takes_part_again",
    ),
    # -- memory
    memory(
        "messages go to partitions in turn",
        "crc32(message.key.encode()) % PARTITIONS for message",
        "crc32(message.id.encode()) % PARTITIONS for message",
        f"{BUS}one_key_is_always_in_one_partition_and_keys_spread_over_eight",
    ),
    memory(
        "half a batch is published before its fault is seen",
        "        numbers = [crc32(message.key.encode()) % PARTITIONS for message in messages]\n",
        "        numbers = (crc32(message.key.encode()) % PARTITIONS for message in messages)\n",
        f"{BUS}publish_of_a_batch_with_one_impossible_message_publishes_none_of_it",
    ),
    memory(
        "publish wakes nobody",
        "            partition.published_at.append(now)\n        self._wakeups.wake(topic)",
        "            partition.published_at.append(now)",
        f"{BUS}receive_waits_for_the_first_record_and_returns_at_once_when_it_is_published",
    ),
    memory(
        "joining wakes nobody",
        "        self._wakeups.wake(topic)\n        return joined",
        "        return joined",
        f"{BUS}waiting_member_makes_room_for_one_that_joins_within_half_a_second",
    ),
    memory(
        "giving a partition up wakes nobody",
        "                self._received.pop(number, None)\n                self._wakeups.wake(self._topic.name)\n",
        "                self._received.pop(number, None)\n",
        f"{BUS}waiting_member_takes_partitions_given_up_within_half_a_second",
    ),
    memory(
        "a new group starts at the topic's end",
        "_Claim(partition.first) for",
        "_Claim(partition.next) for",
        f"{BUS}new_group_starts_at_the_topics_beginning",
    ),
    memory(
        "receive starts at the group's offset each time",
        "start = max(self._received.get(number, 0), claim.committed)",
        "start = claim.committed",
        f"{BUS}receive_goes_on_behind_what_was_received_without_a_commit",
    ),
    memory(
        "limit holds per partition",
        "partition.records[at : at + limit - len(records)]",
        "partition.records[at : at + limit]",
        f"{BUS}receive_gives_at_most_limit_records",
    ),
    memory(
        "offsets move back",
        "claim.committed = max(claim.committed, record.offset + 1)",
        "claim.committed = record.offset + 1",
        f"{BUS}offset_never_moves_back",
    ),
    memory(
        "commit works for partitions lost",
        "            if claim.owner == self._session:\n                claim.committed",
        "            if True:\n                claim.committed",
        f"{BUS}late_commit_does_not_skip_what_the_new_holder_has_not_done",
    ),
    memory(
        "a member that waits does not renew its lease",
        "timeout_s=min(left_s, self._lease_ms / 3_000)",
        "timeout_s=left_s",
        f"{BUS}member_that_waits_longer_than_its_lease_keeps_its_partitions",
    ),
    memory(
        "partitions move although their records are not committed",
        "if not self._uncommitted(number) or now - asked_at >= self._lease_ms:",
        "if True:",
        f"{BUS}order_per_key_holds_over_a_rebalance_mid_batch",
    ),
    memory(
        "partitions whose records are never committed never move",
        "if not self._uncommitted(number) or now - asked_at >= self._lease_ms:",
        "if not self._uncommitted(number):",
        f"{BUS}partition_whose_records_are_never_committed_moves_after_one_lease_all_the_same",
    ),
    memory(
        "a member's lease never ends",
        "for name, member in group.members.items() if member.lease_ends_at <= now]",
        "for name, member in group.members.items() if member.lease_ends_at < 0]",
        f"{BUS}uncommitted_records_come_again_to_another_after_the_member_lost_its_lease",
    ),
    memory(
        "shares leave partitions to nobody",
        "share = (PARTITIONS + len(alive) - 1 - rank) // len(alive)",
        "share = PARTITIONS // len(alive)",
        f"{BUS}members_share_the_partitions_evenly_and_none_is_left_out",
    ),
    memory(
        "a replaced subscription renews its successor's lease",
        "        if member is not None and member.session != self._session:\n            return False\n",
        "",
        f"{BUS}replaced_subscription_does_not_keep_its_successor_alive",
    ),
    memory(
        "a member that joins again goes on where it was",
        "        self._received.clear()\n        self._giving_up.clear()\n        group.members",
        "        group.members",
        f"{BUS}uncommitted_records_come_again_to_the_member_itself_after_it_lost_its_lease",
    ),
    memory(
        "prune follows the fastest group",
        "passed = min((",
        "passed = max((",
        f"{BUS}prune_keeps_what_one_group_has_not_committed",
    ),
    memory(
        "prune empties a topic that nobody follows",
        "for group in topic.groups.values()), default=0)",
        "for group in topic.groups.values()), default=partition.next)",
        f"{BUS}prune_keeps_a_topic_that_nobody_follows_yet",
    ),
    memory(
        "offsets start again after everything was pruned",
        "                partition.first += count\n",
        "",
        f"{BUS}offsets_go_on_after_everything_was_pruned",
    ),
)
