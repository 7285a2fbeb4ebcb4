"""How the SQLite store and feed are broken on purpose, promise by promise."""

from __future__ import annotations

from tests.contracts.breakages import Breakage

STORE = "test_store.py::test_"
FEED = "test_feed.py::test_"


def sqlite(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"sqlite store: {name}", "backends/sqlite/store.py", old, new, test, "sqlite")


BREAKAGES = (
    # -- conditions
    sqlite(
        "the version is not compared",
        "if (ABSENT if row is None else row[1]) != write.expected:",
        "if False:",
        f"{STORE}of_many_writers_from_one_version_exactly_one_wins",
    ),
    sqlite(
        "the version is compared only of items that are not there",
        "if (ABSENT if row is None else row[1]) != write.expected:",
        "if row is None and write.expected:",
        f"{STORE}put_with_any_other_version_conflicts_and_changes_nothing",
    ),
    sqlite(
        "an older version than expected is refused, a newer one is not",
        "if (ABSENT if row is None else row[1]) != write.expected:",
        "if (ABSENT if row is None else row[1]) < write.expected:",
        f"{STORE}of_many_writers_from_one_version_exactly_one_wins",
    ),
    sqlite(
        "a new item replaces one that is there",
        "INSERT INTO items",
        "INSERT OR REPLACE INTO items",
        f"{STORE}put_of_absent_item_that_is_there_conflicts_and_changes_nothing",
    ),
    sqlite(
        "a check never fails",
        "        if (ABSENT if row is None else row[1]) != write.expected:",
        "        if type(write) in (Put, Delete) and (ABSENT if row is None else row[1]) != write.expected:",
        f"{STORE}check_that_fails_stops_the_rest",
    ),
    sqlite(
        "a delete never fails",
        "        if (ABSENT if row is None else row[1]) != write.expected:",
        "        if type(write) is not Delete and (ABSENT if row is None else row[1]) != write.expected:",
        f"{STORE}delete_of_another_version_conflicts_and_the_item_stays",
    ),
    sqlite(
        "the version stays as it was",
        "execute(_UPDATE, (write.expected + 1,",
        "execute(_UPDATE, (write.expected,",
        f"{STORE}versions_count_from_one_upwards",
    ),
    sqlite(
        "a conflict names another key",
        "            raise WriteConflict(key)\n        if row is None:",
        "            raise WriteConflict(writes[0].key)\n        if row is None:",
        f"{STORE}conflict_names_the_first_failing_write",
    ),
    # -- indexes
    sqlite(
        "an item keeps its old places in indexes",
        "            cursor.execute(_LEAVE, (name, *place, *key))",
        "            pass",
        f"{STORE}put_moves_the_item_within_its_index",
    ),
    sqlite(
        "an index no longer named keeps the item",
        "                _move(cursor, key, row[2], write.indexes)",
        "                _move(cursor, key, row[2], {**_decode_indexes(row[2] or b'{}'), **write.indexes})",
        f"{STORE}put_that_names_no_index_leaves_all",
    ),
    sqlite(
        "a changed item does not enter new indexes",
        "            cursor.execute(_ENTER, (name, *place, *key))",
        "            pass",
        f"{STORE}put_moves_the_item_within_its_index",
    ),
    sqlite(
        "a deleted item keeps its places",
        "            _move(cursor, key, row[2], {})\n    for event",
        "            pass\n    for event",
        f"{STORE}deleted_and_rewritten_item_has_only_its_new_places",
    ),
    sqlite(
        "upto leaves its own key out",
        "(upto, _BEHIND_ALL_TEXT, _BEHIND_ALL_TEXT)",
        '(upto, "", "")',
        f"{STORE}upto_includes_its_own_key_and_nothing_behind",
    ),
    sqlite(
        "the next index page skips items of an equal key",
        "low = entry if len(entry) == 3 else",
        "low = (entry[0], _BEHIND_ALL_TEXT, _BEHIND_ALL_TEXT) if entry else",
        f"{STORE}index_pages_put_together_are_the_whole_also_among_equal_keys",
    ),
    sqlite(
        "upto is forgotten on the next page backwards",
        "if newest_first and (upto is None or entry[0] <= upto):",
        "if newest_first:",
        f"{STORE}index_query_starts_behind_any_sort_key",
    ),
    # -- queries
    sqlite(
        "keys are ordered without regard to case",
        "    sort TEXT NOT NULL,\n    version",
        "    sort TEXT NOT NULL COLLATE NOCASE,\n    version",
        f"{STORE}query_orders_by_the_bytes_of_the_sort_key",
    ),
    sqlite(
        "a prefix is only a start",
        "high: str | bytes = _behind_prefix(prefix)",
        "high: str | bytes = _BEHIND_ALL_TEXT",
        f"{STORE}query_with_a_prefix_finds_just_what_starts_so",
    ),
    sqlite(
        "a prefix at the edge of the surrogates finds nothing",
        "chr(0xE000 if 0xD800 <= last <= 0xDFFF else last)",
        "chr(last - 1 if 0xD800 <= last <= 0xDFFF else last)",
        f"{STORE}query_with_a_prefix_at_the_end_of_unicode",
    ),
    sqlite(
        "the last full page announces another",
        "items[-1].key.sort if len(rows) > limit else None",
        "items[-1].key.sort if len(rows) >= limit else None",
        f"{STORE}next_is_none_exactly_when_nothing_follows",
    ),
    sqlite(
        "a page begins with the last item of the one before",
        'low = max(prefix, after + "\\0")',
        "low = max(prefix, after)",
        f"{STORE}query_starts_behind_any_sort_key_there_or_not",
    ),
    sqlite(
        "newest first is ignored",
        'True: f"{_QUERY} DESC LIMIT ?"',
        'True: f"{_QUERY} LIMIT ?"',
        f"{STORE}pages_put_together_are_the_whole_partition",
    ),
    # -- events and feed
    sqlite(
        "an event's version may be taken twice",
        "    UNIQUE (aggregate, version)",
        "    CHECK (version > 0)",
        f"{STORE}event_of_a_version_taken_conflicts_and_nothing_is_written",
    ),
    sqlite(
        "a taken event is dropped silently",
        "INSERT INTO events (aggregate, version, body)",
        "INSERT OR IGNORE INTO events (aggregate, version, body)",
        f"{STORE}of_two_racing_events_of_one_version_exactly_one_is_recorded",
    ),
    sqlite(
        "history is in the order of commits",
        "AND version > ? ORDER BY version LIMIT ?",
        "AND version > ? ORDER BY seq LIMIT ?",
        f"{STORE}history_is_ordered_by_version_however_it_was_written",
    ),
    sqlite(
        "history begins with the version already known",
        "AND version > ? ORDER BY version",
        "AND version >= ? ORDER BY version",
        f"{STORE}history_goes_on_behind_a_version_and_stops_at_its_limit",
    ),
    sqlite(
        "the feed skips an event",
        "WHERE seq > ? ORDER BY seq LIMIT ?",
        "WHERE seq > ? + 1 ORDER BY seq LIMIT ?",
        f"{FEED}reading_on_from_each_position_passes_every_event_exactly_once",
    ),
    sqlite(
        "the feed repeats an event",
        "WHERE seq > ? ORDER BY seq LIMIT ?",
        "WHERE seq >= ? ORDER BY seq LIMIT ?",
        f"{FEED}each_position_leads_to_what_is_behind_it_however_often_it_is_used",
    ),
    sqlite(
        "the feed is ordered by aggregate",
        "WHERE seq > ? ORDER BY seq LIMIT ?",
        "WHERE seq > ? ORDER BY aggregate, version LIMIT ?",
        f"{FEED}every_committed_event_arrives_whole_and_in_the_order_of_commits",
    ),
    sqlite(
        "a new event is put in before those already read",
        "INSERT INTO events (aggregate, version, body) VALUES (?, ?, ?)",
        "INSERT INTO events (seq, aggregate, version, body)"
        " VALUES ((SELECT coalesce(min(seq), 1000) - 1 FROM events), ?, ?, ?)",
        f"{FEED}reader_at_the_end_finds_what_is_committed_later",
    ),
    sqlite(
        "a commit does not wake who waits",
        'wakes=EVENTS_TOPIC if bodies else ""',
        'wakes=""',
        f"{FEED}wait_is_woken_by_a_commit_without_time_passing",
    ),
    sqlite(
        "who waits does not look for commits of others",
        "timeout_s=min(self._poll_s, remaining_s)",
        "timeout_s=remaining_s",
        f"{FEED}wait_notices_what_somebody_else_committed",
    ),
    sqlite(
        "waiting ends before its time",
        "            if remaining_s <= 0:",
        "            if remaining_s <= 2:",
        f"{FEED}wait_ends_with_false_when_its_time_is_over_and_not_before",
    ),
    sqlite(
        "waiting ends with what was already read",
        "SELECT EXISTS (SELECT 1 FROM events WHERE seq > ?)",
        "SELECT EXISTS (SELECT 1 FROM events WHERE seq >= ?)",
        f"{FEED}wait_behind_a_position_is_not_ended_by_older_events",
    ),
    # -- bad input: what is refused is in breakages_store_rules.py
    sqlite(
        "commits are not checked",
        "        check_writes(writes, len(events))\n",
        "",
        f"{STORE}more_than_25_writes_and_events_are_invalid",
    ),
    sqlite(
        "queries are not checked",
        '        check_texts(partition, prefix, after or "")\n        check_limit(limit)\n',
        "",
        f"{STORE}limit_out_of_range_is_invalid",
    ),
)
