"""How the DynamoDB store and the feed of its stream are broken on purpose, promise by promise."""

from __future__ import annotations

from tests.contracts.breakages import Breakage

STORE = "test_store.py::test_"
FEED = "test_feed.py::test_"


def store(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"dynamodb store: {name}", "backends/aws/store.py", old, new, f"{STORE}{test}", "dynamodb")


def table(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"dynamodb table: {name}", "backends/aws/table.py", old, new, f"{STORE}{test}", "dynamodb")


def feed(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"dynamodb feed: {name}", "backends/aws/feed.py", old, new, f"{FEED}{test}", "dynamodb")


BREAKAGES = (
    # -- conditions
    store(
        "the version is not compared",
        '_AS_EXPECTED = "v = :expected"',
        '_AS_EXPECTED = "v = :expected OR attribute_exists(v)"',
        "of_many_writers_from_one_version_exactly_one_wins",
    ),
    store(
        "a new item replaces one that is there",
        '_ABSENT = "attribute_not_exists(pk)"',
        '_ABSENT = "attribute_not_exists(pk) OR attribute_exists(v)"',
        "put_of_absent_item_that_is_there_conflicts_and_changes_nothing",
    ),
    store(
        "a taken version of an event is written over",
        'found.append(_Action("Put", {"ConditionExpression": _ABSENT, "Item": row}, subject))',
        'found.append(_Action("Put", {"Item": row}, subject))',
        "event_of_a_version_taken_conflicts_and_nothing_is_written",
    ),
    store(
        "a version that is twice in one commit is malformed",
        "        if len({(event.aggregate, event.version) for event in events}) != len(events):",
        "        if False:",
        "two_events_of_one_version_in_one_commit_conflict",
    ),
    store(
        "a conflict names another key",
        "actions[refused.reasons.index(reason)].subject",
        "actions[len(actions) - 1 - refused.reasons[::-1].index(reason)].subject",
        "conflict_names_the_first_failing_write",
    ),
    store(
        "the version stays as it was",
        '"v": {"N": str(write.expected + 1)},',
        '"v": {"N": str(write.expected or 1)},',
        "versions_count_from_one_upwards",
    ),
    store(
        "writes are made one after the other",
        "            await self._together(actions, token)\n",
        "            for one in actions:\n                await self._single(one, token)\n",
        "commit_with_one_failing_write_applies_none",
    ),
    # -- reading
    store(
        "a page of the store's own is taken for all there is",
        "            if start is None or len(found) >= count:",
        "            if True:",
        "page_of_several_megabytes_is_whole",
    ),
    store(
        "the next page begins with the last item of the one before",
        "        return Page(items, items[-1].key.sort if len(rows) > limit else None)",
        "        return Page(items, items[0].key.sort if len(rows) > limit else None)",
        "pages_put_together_are_the_whole_partition",
    ),
    store(
        "a last page promises another one",
        "        return Page(items, items[-1].key.sort if len(rows) > limit else None)",
        "        return Page(items, items[-1].key.sort if items else None)",
        "next_is_none_exactly_when_nothing_follows",
    ),
    store(
        "a prefix is not looked at",
        "        if prefix:\n",
        "        if False:\n",
        "query_with_a_prefix_finds_just_what_starts_so",
    ),
    store(
        "who starts behind a prefix gets what stands before it",
        "            elif (after > prefix) is not newest_first:",
        "            elif False:",
        "query_starts_behind_any_sort_key_there_or_not",
    ),
    store(
        "a query is never turned round",
        "                ScanIndexForward=not newest_first,",
        "                ScanIndexForward=True,",
        "pages_put_together_are_the_whole_partition",
    ),
    store(
        "history goes on with the version it is to go on behind",
        '"pk = :pk AND sk > :after"',
        '"pk = :pk AND sk >= :after"',
        "history_goes_on_behind_a_version_and_stops_at_its_limit",
    ),
    table(
        "versions of events sort as text",
        'f"{version:0{VERSION_DIGITS}d}"',
        'f"{version}"',
        "history_is_ordered_by_version_however_it_was_written",
    ),
    # -- indexes
    store(
        "`upto` leaves out its own key",
        "{'<' if below else '<='}",
        "{'<' if below else '<'}",
        "upto_includes_its_own_key_and_nothing_behind",
    ),
    store(
        "pages of an index go on behind a sort key, not behind an item",
        "        if len(cursor) == 3 and is_inside:",
        "        if False:",
        "index_pages_put_together_are_the_whole_also_among_equal_keys",
    ),
    store(
        "an index is not left",
        "    for name, place in write.indexes.items():\n        partition, sort = index_keys(name)",
        '    for name, place in (write.indexes or {"due": Key("s", "2")}).items():\n        partition, sort = index_keys(name)',
        "put_that_names_no_index_leaves_all",
    ),
    # -- bad input: what is refused is in breakages_store_rules.py
    store(
        "commits are not checked",
        "        check_writes(writes, len(events))\n",
        "",
        "more_than_25_writes_and_events_are_invalid",
    ),
    store(
        "queries are not checked",
        '        check_texts(partition, prefix, after or "")\n        check_limit(limit)\n',
        "",
        "limit_out_of_range_is_invalid",
    ),
    # -- the feed
    feed(
        "a position leads to its own event",
        '            {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": at}',
        '            {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": at}',
        "each_position_leads_to_what_is_behind_it_however_often_it_is_used",
    ),
    feed(
        "a reader that starts anew starts with what comes",
        '            else {"ShardIteratorType": "TRIM_HORIZON"}',
        '            else {"ShardIteratorType": "LATEST"}',
        "every_committed_event_arrives_whole_and_in_the_order_of_commits",
    ),
    feed(
        "items that are no events are taken for some",
        'if record["eventName"] == "INSERT" and image is not None and is_event(image):',
        'if record["eventName"] == "INSERT" and image is not None:',
        "commit_without_events_adds_nothing",
    ),
    feed(
        "the position stays where it was",
        "                    found.append(FeedRecord(_encoded(position), event_of(image)))",
        "                    found.append(FeedRecord(START, event_of(image)))",
        "reading_on_from_each_position_passes_every_event_exactly_once",
    ),
    feed(
        "waiting ends before its time",
        "            if left_s <= 0:",
        "            if left_s <= 2:",
        "wait_ends_with_false_when_its_time_is_over_and_not_before",
    ),
    feed(
        "what is no position begins at the beginning",
        '        raise Invalid("not a position of this feed", code="invalid_cursor") from error',
        "        return {}",
        "position_that_is_none_is_invalid",
    ),
)
