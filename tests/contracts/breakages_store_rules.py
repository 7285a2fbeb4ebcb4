"""How the rules that every store asks first are broken on purpose."""

from __future__ import annotations

from tests.contracts.breakages import Breakage


def rule(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"store rules: {name}", "core/kernel/store.py", old, new, f"test_store.py::test_{test}", "sqlite")


BREAKAGES = (
    rule(
        "26 writes pass",
        "    if not 1 <= count <= WRITES_MAX:",
        "    if not 1 <= count <= WRITES_MAX + 1:",
        "more_than_25_writes_and_events_are_invalid",
    ),
    rule(
        "a commit of nothing passes",
        "    if not 1 <= count <= WRITES_MAX:",
        "    if not count <= WRITES_MAX:",
        "commit_of_nothing_is_invalid",
    ),
    rule(
        "a key may appear twice",
        "    if len(writes) > 1 and len({write.key for write in writes}) != len(writes):",
        "    if False:",
        "key_that_appears_twice_is_invalid",
    ),
    rule(
        "a value may be a byte too long",
        "            if len(write.value) > VALUE_BYTES_MAX:",
        "            if len(write.value) > VALUE_BYTES_MAX + 1:",
        "largest_value_is_stored_and_one_byte_more_is_invalid",
    ),
    rule(
        "an event may be of any length",
        "    if len(body) > VALUE_BYTES_MAX:",
        "    if False:",
        "oversized_event_is_invalid",
    ),
    rule(
        "keys are not checked",
        "        check_key(write.key)",
        "        pass",
        "key_that_cannot_be_stored_is_invalid_everywhere",
    ),
    rule(
        "limits are not checked",
        "    if not 1 <= limit <= LIMIT_MAX:",
        "    if False:",
        "limit_out_of_range_is_invalid",
    ),
)
