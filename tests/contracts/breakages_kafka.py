"""How the Bus on Kafka is broken on purpose."""

from __future__ import annotations

from tests.contracts.breakages import Breakage


def kafka(name: str, file: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"kafka bus: {name}", f"backends/kafka/{file}.py", old, new, f"test_bus.py::test_{test}", "kafka")


BREAKAGES = (
    kafka(
        "messages go to partitions at random",
        "publishing",
        '"partitioner": "consistent"',
        '"partitioner": "random"',
        "one_key_is_always_in_one_partition_and_keys_spread_over_eight",
    ),
    kafka(
        "headers are lost",
        "messages",
        "return BusMessage(message_id, _text(record.key()), value, _own(headers))",
        "return BusMessage(message_id, _text(record.key()), value, {})",
        "published_message_is_received_elsewhere_with_all_its_parts",
    ),
    kafka(
        "attributes are taken for headers",
        "messages",
        'if not name.startswith("ce_") and name not in added}',
        "if name not in added}",
        "published_message_is_received_elsewhere_with_all_its_parts",
    ),
    kafka(
        "a new group starts at the topic's end",
        "reading",
        "holding.committed or OFFSET_BEGINNING",
        "holding.committed or -1",
        "new_group_starts_at_the_topics_beginning",
    ),
    kafka(
        "groups share their offsets",
        "config",
        """return f"{self.topic_name(topic)}.{_named('group', group)}\"""",
        """return f"{self.topic_name(topic)}.{_named('group', group)[:0]}\"""",
        "groups_follow_a_topic_each_at_its_own_pace",
    ),
    kafka(
        "limit holds per partition",
        "holdings",
        "records += holding.take(limit - len(records))",
        "records += holding.take(limit)",
        "receive_gives_at_most_limit_records",
    ),
    kafka(
        "the first partition is always first",
        "holdings",
        "holding = held[(self._turn + step) % len(held)]",
        "holding = held[step]",
        "busy_partition_does_not_keep_others_from_being_received",
    ),
    kafka(
        "offsets move back",
        "holdings",
        "if holding is not None and holding.committed <= record.offset < holding.handed:",
        "if holding is not None and record.offset < holding.handed:",
        "offset_never_moves_back",
    ),
    kafka(
        "commit includes one record too few",
        "holdings",
        "max(found.get(record.partition, 0), record.offset + 1)",
        "max(found.get(record.partition, 0), record.offset)",
        "commit_moves_behind_the_records_given_and_no_further",
    ),
    kafka(
        "commit passes over what was read ahead",
        "holdings",
        "if offset == self.handed and not self.buffer else offset",
        "if offset == self.handed else offset",
        "group_that_returns_goes_on_where_it_stopped",
    ),
    kafka(
        "commit passes over what was read and given up",
        "holdings",
        "                holding.read = -1\n",
        "",
        "what_a_member_has_not_received_goes_to_the_other_with_its_partition",
    ),
    kafka(
        "partitions move although their records are not committed",
        "membership",
        "while self._holdings.in_hand(numbers) and not self._stopping",
        "while not numbers and not self._stopping",
        "partition_moves_only_when_its_records_are_committed",
    ),
    kafka(
        "partitions whose records are never committed never move",
        "membership",
        "if now - self._asked_at >= self._lease_s or self._lease_is_over(now) or self._away:",
        "if self._lease_is_over(now) or self._away:",
        "partition_whose_records_are_never_committed_moves_after_one_lease_all_the_same",
    ),
    kafka(
        "a member's lease never ends",
        "membership",
        "return not self.waiting and now >= self.lease_ends_at",
        "return False",
        "uncommitted_records_come_again_to_another_after_the_member_lost_its_lease",
    ),
    kafka(
        "a member that waits loses its lease",
        "membership",
        "return not self.waiting and now >= self.lease_ends_at",
        "return now >= self.lease_ends_at",
        "member_that_waits_longer_than_its_lease_keeps_its_partitions",
    ),
    kafka(
        "close keeps the partitions until the session ends",
        "membership",
        "        client.unsubscribe()\n",
        "",
        "partitions_of_a_closed_member_go_to_the_others_at_once",
    ),
    kafka(
        "lag counts the ends of transactions",
        "standing",
        "return size if size > COUNTED_MAX else",
        "return size if size > 0 else",
        "lag_counts_what_was_published_and_not_yet_committed",
    ),
)
