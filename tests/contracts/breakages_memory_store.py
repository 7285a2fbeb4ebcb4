"""How the in-memory store and feed are broken on purpose, promise by promise."""

from __future__ import annotations

from tests.contracts.breakages import Breakage

STORE = "test_store.py::test_"
FEED = "test_feed.py::test_"


def memory(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"memory store: {name}", "backends/memory/store.py", old, new, test, "memory")


BREAKAGES = (
    # -- conditions and all or nothing
    memory(
        "the version is not compared",
        "            if self._version(write.key) != write.expected:",
        "            if False:",
        f"{STORE}of_many_writers_from_one_version_exactly_one_wins",
    ),
    memory(
        "the version is compared only of new items",
        "            if self._version(write.key) != write.expected:",
        "            if write.expected == ABSENT and self._version(write.key) != ABSENT:",
        f"{STORE}put_with_any_other_version_conflicts_and_changes_nothing",
    ),
    memory(
        "a new item replaces one that is there",
        "            if self._version(write.key) != write.expected:",
        "            if write.expected and self._version(write.key) != write.expected:",
        f"{STORE}put_of_absent_item_that_is_there_conflicts_and_changes_nothing",
    ),
    memory(
        "a check never fails",
        "            if self._version(write.key) != write.expected:",
        "            if not isinstance(write, Check) and self._version(write.key) != write.expected:",
        f"{STORE}check_that_fails_stops_the_rest",
    ),
    memory(
        "writes before the failing one are applied",
        "                raise WriteConflict(write.key)\n",
        "                raise WriteConflict(write.key)\n            if isinstance(write, Put):\n"
        "                self._replace(write.key, Item(write.key, 1, write.value, {}, None))\n",
        f"{STORE}commit_with_one_failing_write_applies_none",
    ),
    memory(
        "writes are applied though an event's version is taken",
        "        fresh: set[tuple[str, int]] = set()",
        "        for write in writes:\n            if isinstance(write, Put):\n"
        "                self._replace(write.key, Item(write.key, 1, write.value, {}, None))\n"
        "        fresh: set[tuple[str, int]] = set()",
        f"{STORE}event_of_a_version_taken_conflicts_and_nothing_is_written",
    ),
    memory(
        "the version stays as it was",
        "Item(write.key, write.expected + 1, write.value",
        "Item(write.key, max(1, write.expected), write.value",
        f"{STORE}versions_count_from_one_upwards",
    ),
    memory(
        "a conflict names another key",
        "raise WriteConflict(write.key)",
        "raise WriteConflict(writes[0].key)",
        f"{STORE}conflict_names_the_first_failing_write",
    ),
    # -- indexes and queries
    memory(
        "an item keeps its old places in indexes",
        "                del entries[bisect_left(entries, (place.sort, *key))]",
        "                pass",
        f"{STORE}put_moves_the_item_within_its_index",
    ),
    memory(
        "upto leaves its own key out",
        "bisect_right(entries, upto, key=lambda entry: entry[0])",
        "bisect_left(entries, upto, key=lambda entry: entry[0])",
        f"{STORE}upto_includes_its_own_key_and_nothing_behind",
    ),
    memory(
        "the next index page skips items of an equal key",
        "                low = bisect_right(entries, cursor)",
        "                low = bisect_right(entries, cursor[0], key=lambda entry: entry[0])",
        f"{STORE}index_pages_put_together_are_the_whole_also_among_equal_keys",
    ),
    memory(
        "keys stay in the order of writing",
        "            insort(sorts, key.sort)",
        "            sorts.append(key.sort)",
        f"{STORE}query_orders_by_the_bytes_of_the_sort_key",
    ),
    memory(
        "the last full page announces another",
        "found[limit - 1] if len(found) > limit else None",
        "found[-1] if len(found) >= limit else None",
        f"{STORE}next_is_none_exactly_when_nothing_follows",
    ),
    memory(
        "a page begins with the last item of the one before",
        "low = max(low, bisect_right(sorts, after))",
        "low = max(low, bisect_left(sorts, after))",
        f"{STORE}query_starts_behind_any_sort_key_there_or_not",
    ),
    # -- events and feed
    memory(
        "an event's version may be taken twice",
        "if place in fresh or event.version in self._histories.get(event.aggregate, {}):",
        "if place in fresh:",
        f"{STORE}event_of_a_version_taken_conflicts_and_nothing_is_written",
    ),
    memory(
        "one commit may hold one event twice",
        "if place in fresh or event.version in self._histories.get(event.aggregate, {}):",
        "if event.version in self._histories.get(event.aggregate, {}):",
        f"{STORE}two_events_of_one_version_in_one_commit_conflict",
    ),
    memory(
        "history is in the order of commits",
        "for version in sorted(history) if",
        "for version in history if",
        f"{STORE}history_is_ordered_by_version_however_it_was_written",
    ),
    memory(
        "the feed skips an event",
        "behind = islice(self._events, start, start + limit)",
        "behind = islice(self._events, start + 1, start + limit)",
        f"{FEED}reading_on_from_each_position_passes_every_event_exactly_once",
    ),
    memory(
        "the feed repeats an event",
        "enumerate(behind, start + 1)]",
        "enumerate(behind, start)]",
        f"{FEED}each_position_leads_to_what_is_behind_it_however_often_it_is_used",
    ),
    memory(
        "a new event is put in before those already read",
        "            self._events.append(event)",
        "            self._events.insert(0, event)",
        f"{FEED}reader_at_the_end_finds_what_is_committed_later",
    ),
    memory(
        "a commit does not wake who waits",
        "            _wake(waiters)",
        "            pass",
        f"{FEED}wait_is_woken_by_a_commit_without_time_passing",
    ),
    memory(
        "waiting ends before its time",
        "deadline = self._clock.monotonic() + timeout_s",
        "deadline = self._clock.monotonic() + timeout_s / 2",
        f"{FEED}wait_ends_with_false_when_its_time_is_over_and_not_before",
    ),
    memory(
        "a cancelled wait leaves its timer",
        "            timer.cancel()",
        "            pass",
        f"{FEED}cancelled_wait_leaves_nothing_behind",
    ),
    # -- bad input: what is refused is in breakages_store_rules.py
    memory(
        "commits are not checked",
        "        check_writes(writes, len(events))\n",
        "",
        f"{STORE}more_than_25_writes_and_events_are_invalid",
    ),
    memory(
        "queries are not checked",
        '        check_texts(partition, prefix, after or "")\n        check_limit(limit)\n',
        "",
        f"{STORE}limit_out_of_range_is_invalid",
    ),
)
