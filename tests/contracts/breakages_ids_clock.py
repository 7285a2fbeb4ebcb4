"""How the Ids and Clock adapters are broken on purpose, promise by promise."""

from __future__ import annotations

from tests.contracts.breakages import Breakage

IDS = "test_ids.py::test_"
CLOCK = "test_clock.py::test_"


def local(port: str, name: str, old: str, new: str, test: str, only: str = "") -> Breakage:
    return Breakage(f"local {port}: {name}", f"backends/local/{port}.py", old, new, test, only)


BREAKAGES = (
    local(
        "ids",
        "each id is drawn anew",
        "self._unique += 1 + self._random_bits(_STEP_BITS)",
        "self._unique = self._random_bits(_UNIQUE_BITS)",
        f"{IDS}id_made_later_sorts_later_within_one_millisecond",
        "system",
    ),
    local(
        "ids",
        "the next id is the last and one",
        "self._unique += 1 + self._random_bits(_STEP_BITS)",
        "self._unique += 1",
        f"{IDS}next_id_does_not_follow_from_the_last",
    ),
    local(
        "ids",
        "ids follow a clock that steps back",
        "if at > self._at:",
        "if at != self._at:",
        f"{IDS}id_made_later_sorts_later_over_time_and_over_a_clock_that_steps_back",
    ),
    local(
        "ids",
        "steps run over into the time",
        "            if self._unique >> _UNIQUE_BITS:\n",
        "            if False:\n",
        f"{IDS}ids_stay_unique_and_in_order_when_the_steps_of_a_millisecond_run_out",
    ),
    local(
        "ids",
        "the first unique bits are not random",
        "            self._unique = self._random_bits(_UNIQUE_BITS - 1)\n        else:",
        "            self._unique = 0\n        else:",
        f"{IDS}two_makers_at_the_same_instant_make_different_ids",
    ),
    local(
        "clock",
        "wall time is in seconds",
        "time.time_ns() // 1_000_000",
        "time.time_ns() // 1_000_000_000",
        f"{CLOCK}wall_time_is_whole_milliseconds_and_moves_with_time",
        "system",
    ),
    local(
        "clock",
        "wall time is a float",
        "time.time_ns() // 1_000_000",
        "time.time() * 1_000  # type: ignore[return-value]",
        f"{CLOCK}wall_time_is_whole_milliseconds_and_moves_with_time",
        "system",
    ),
    local(
        "clock",
        "monotonic time is in nanoseconds",
        "return time.monotonic()",
        "return time.monotonic_ns()",
        f"{CLOCK}monotonic_time_moves_in_seconds_and_never_back",
        "system",
    ),
    local(
        "clock",
        "sleep takes milliseconds",
        "await asyncio.sleep(max(0.0, seconds))",
        "await asyncio.sleep(max(0.0, seconds / 1_000))",
        f"{CLOCK}sleep_lasts_at_least_as_long_as_asked",
        "system",
    ),
    local(
        "clock",
        "sleeping for nothing lets nobody run",
        "await asyncio.sleep(max(0.0, seconds))",
        "await asyncio.sleep(seconds) if seconds > 0 else None",
        f"{CLOCK}sleeping_for_nothing_lets_others_run_once",
        "system",
    ),
)
