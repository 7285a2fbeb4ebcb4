"""How the adapters of Observations are broken on purpose, promise by promise."""

from __future__ import annotations

from tests.contracts.breakages import Breakage

TESTS = "test_observations.py::test_"


def memory(name: str, old: str, new: str, test: str) -> Breakage:
    path = "backends/memory/observations.py"
    return Breakage(f"memory observations: {name}", path, old, new, f"{TESTS}{test}", "memory")


def sqlite(name: str, old: str, new: str, test: str, only: str = "") -> Breakage:
    path = "backends/sqlite/observations.py"
    return Breakage(f"sqlite observations: {name}", path, old, new, f"{TESTS}{test}", only)


ORDER = "what_was_said_late_or_out_of_order_stands_in_the_order_of_its_time"
BETWEEN = "only_what_happened_between_the_two_instants_is_found"
EARLIEST = "the_earliest_are_found_and_that_there_are_more_is_said"
OTHERS = "other_payments_are_not_told_of"

BREAKAGES = (
    memory(
        "lines of other payments are told",
        "for owner, line in self._lines if owner == payment_id and",
        "for owner, line in self._lines if",
        OTHERS,
    ),
    memory("spans of other payments are told", "if owner == payment_id and since * 1_000", "if since * 1_000", OTHERS),
    memory("lines stand as they were said", "        lines.sort(key=lambda line: line.at)\n", "", ORDER),
    memory("spans stand as they ended", "        spans.sort(key=lambda span: span.start_us)\n", "", ORDER),
    memory("the end is included", "since <= line.at < until", "since <= line.at <= until", BETWEEN),
    memory(
        "more spans than asked for are passed over",
        "len(lines) > limit or len(spans) > limit",
        "len(lines) > limit",
        EARLIEST,
    ),
    sqlite("rows of other payments are read", "WHERE payment = ? ORDER", "WHERE payment >= ? ORDER", OTHERS, "sqlite"),
    sqlite("lines stand as they were written", "key=lambda line: line.at\n", "key=lambda line: 0\n", ORDER, "sqlite"),
    sqlite(
        "spans stand as they were written", "key=lambda span: span.start_us,", "key=lambda span: 0,", ORDER, "sqlite"
    ),
    sqlite("the beginning is not looked at", "if since <= line.at < until", "if line.at < until", BETWEEN, "sqlite"),
    sqlite("spans begin whenever", "if since * 1_000 <= span.start_us < until * 1_000", "if True", BETWEEN, "sqlite"),
    sqlite("too few rows are read", "2 * limit + 2)", "limit)", EARLIEST, "sqlite"),
    sqlite(
        "what was left out is not said",
        "more = len(lines) > limit or len(spans) > limit",
        "more = False",
        EARLIEST,
        "sqlite",
    ),
    sqlite(
        "the file is there from the beginning",
        "        self._looked_at: float | None = None\n",
        "        self._looked_at: float | None = None\n        self._opened()\n",
        "nothing_is_opened_before_something_is_said",
    ),
    sqlite("anybody may read the file", "0o600", "0o644", "file_is_its_owners_alone"),
    sqlite(
        "close drops what waits",
        "            self._write_out()\n        with",
        "            if not self._stopping.is_set():\n                self._write_out()\n        with",
        "what_was_said_before_close_is_written_by_it",
    ),
    sqlite(
        "nothing grows too old", "now - self._kept_ms", "0", "what_is_older_than_the_days_kept_goes_and_the_rest_stays"
    ),
    sqlite(
        "the young go, too",
        "WHERE at <= ? OR ?",
        "WHERE at >= ? OR ?",
        "what_is_older_than_the_days_kept_goes_and_the_rest_stays",
    ),
    sqlite(
        "nothing takes too much room",
        "self._size(connection) > self._bytes_max",
        "False",
        "the_oldest_go_where_all_take_too_much_room",
    ),
    sqlite(
        "the youngest go first",
        "FROM observed ORDER BY id LIMIT ?) WHERE at",
        "FROM observed ORDER BY id DESC LIMIT ?) WHERE at",
        "the_oldest_go_where_all_take_too_much_room",
    ),
    sqlite(
        "as much as comes waits",
        "if len(self._waiting) >= WAITING_MAX:",
        "if False:",
        "what_nobody_writes_in_time_is_lost_and_counted",
    ),
    sqlite(
        "what is lost is not counted",
        "                    self._lost(len(batch))\n",
        "",
        "who_says_something_never_waits_for_the_file",
    ),
    sqlite(
        "who says something writes it",
        "        if not self._some.is_set():",
        "        self._write_out()\n        if not self._some.is_set():",
        "who_says_something_never_waits_for_the_file",
    ),
    sqlite(
        "a file that cannot be made stops the thread",
        "except Exception as error:",
        "except (sqlite3.Error, ValueError) as error:",
        "folder_that_takes_no_file_loses_what_was_said_and_stops_nobody",
    ),
    sqlite(
        "what cannot be encoded stops the thread",
        "except Exception as error:",
        "except (sqlite3.Error, OSError) as error:",
        "what_cannot_be_written_is_lost_and_the_next_is_not",
    ),
    sqlite(
        "a damaged file is kept",
        "                        self._begin_anew()\n",
        "                        pass\n",
        "damaged_file_is_begun_anew_and_others_go_on_in_the_new_one",
    ),
    sqlite(
        "others go on in a file that is gone",
        "if self._path.stat().st_ino == self._file:",
        "if self._file:",
        "damaged_file_is_begun_anew_and_others_go_on_in_the_new_one",
    ),
    sqlite(
        "what cannot be read is raised as it is",
        "except (sqlite3.Error, msgspec.MsgspecError) as error:",
        "except msgspec.MsgspecError as error:",
        "damaged_file_is_begun_anew_and_others_go_on_in_the_new_one",
    ),
)
