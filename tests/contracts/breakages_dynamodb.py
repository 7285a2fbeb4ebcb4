"""How the DynamoDB store and the feed of its stream are broken on purpose, promise by promise."""

from __future__ import annotations

from tests.contracts.breakages import Breakage

STORE = "test_store.py::test_"
FEED = "test_feed.py::test_"


def store(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"dynamodb store: {name}", "backends/aws/store.py", old, new, f"{STORE}{test}", "dynamodb")


def table(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"dynamodb table: {name}", "backends/aws/table.py", old, new, f"{STORE}{test}", "dynamodb")


def commits(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"dynamodb commits: {name}", "backends/aws/commits.py", old, new, f"{STORE}{test}", "dynamodb")


def drawer(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"dynamodb drawers: {name}", "backends/aws/drawers.py", old, new, f"{STORE}{test}", "dynamodb")


def feed(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"dynamodb feed: {name}", "backends/aws/feed.py", old, new, f"{FEED}{test}", "dynamodb")


BREAKAGES = (
    # -- conditions
    commits(
        "the version is not compared",
        '_AS_EXPECTED = "v = :expected"',
        '_AS_EXPECTED = "v = :expected OR attribute_exists(v)"',
        "of_many_writers_from_one_version_exactly_one_wins",
    ),
    commits(
        "a new item replaces one that is there",
        '_ABSENT = "attribute_not_exists(pk)"',
        '_ABSENT = "attribute_not_exists(pk) OR attribute_exists(v)"',
        "put_of_absent_item_that_is_there_conflicts_and_changes_nothing",
    ),
    drawer(
        "a taken version of an event is written over",
        '        if version in events:\n            raise Conflict(("event", change.aggregate))',
        '        if False:\n            raise Conflict(("event", change.aggregate))',
        "event_of_a_version_taken_conflicts_and_nothing_is_written",
    ),
    commits(
        "a version that is twice in one commit is malformed",
        "    if len({(event.aggregate, event.version) for event in events}) != len(events):",
        "    if False:",
        "two_events_of_one_version_in_one_commit_conflict",
    ),
    store(
        "a conflict names another key",
        "(failed or passing)[0].subject",
        "(failed or passing)[-1].subject",
        "conflict_names_the_first_failing_write",
    ),
    table(
        "the version stays as it was",
        '"v": {"N": str(write.expected + 1)},',
        '"v": {"N": str(write.expected or 1)},',
        "versions_count_from_one_upwards",
    ),
    store(
        "writes are made one after the other",
        "        done = await (self._single if _is_single(actions) else self._together)(actions, token)\n",
        "        done = all([await self._single([one], token) for one in actions])\n",
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
        "        return Page(items[:limit], items[limit - 1].key.sort if len(items) > limit else None)",
        "        return Page(items[:limit], items[0].key.sort if len(items) > limit else None)",
        "pages_put_together_are_the_whole_partition",
    ),
    store(
        "a last page promises another one",
        "        return Page(items[:limit], items[limit - 1].key.sort if len(items) > limit else None)",
        "        return Page(items[:limit], items[:limit][-1].key.sort if items else None)",
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
    table(
        "an index is not left",
        "        **index_attributes(write.indexes),",
        '        **index_attributes(write.indexes or {"due": Key("s", "2")}),',
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
        "'AT' if is_within else 'AFTER'",
        "'AT'",
        "each_position_leads_to_what_is_behind_it_however_often_it_is_used",
    ),
    feed(
        "a reader that starts anew starts with what comes",
        'kind: dict[str, str] = {"ShardIteratorType": "TRIM_HORIZON"}',
        'kind: dict[str, str] = {"ShardIteratorType": "LATEST"}',
        "every_committed_event_arrives_whole_and_in_the_order_of_commits",
    ),
    feed(
        "items that are no events are taken for some",
        'is_news = record["eventName"] == "INSERT" and is_event(image) and "o" not in image',
        'is_news = record["eventName"] == "INSERT"',
        "commit_without_events_adds_nothing",
    ),
    feed(
        "the position stays where it was",
        "                    found.append(FeedRecord(_encoded(position), event))",
        "                    found.append(FeedRecord(START, event))",
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
    # -- drawers
    drawer(
        "the version of the item in it is not compared",
        "    if (ABSENT if there is None else there.version) != write.expected:",
        "    if False:",
        "of_many_writers_from_one_version_exactly_one_wins",
    ),
    commits(
        "who wrote it meanwhile is not asked",
        '_AS_READ = "c = :read"',
        '_AS_READ = "attribute_exists(c) AND c <> :read OR c = :read"',
        "of_two_racing_events_of_one_version_exactly_one_is_recorded",
    ),
    drawer(
        "events that were there are forgotten",
        "    events, apart = dict(drawer.events), []",
        "    events, apart = {}, []",
        "history_is_ordered_by_version_however_it_was_written",
    ),
    drawer(
        "an item that is deleted stays",
        "    return None if there is not None else held",
        "    return held",
        "delete_of_the_expected_version_removes_the_item",
    ),
)
