"""How the SQLite file, its groups and its failures are broken on purpose."""

from __future__ import annotations

from tests.contracts.breakages import Breakage

STORE = "test_store.py::test_"
FILE = "test_sqlite_database.py::test_"
PROCESSES = "test_sqlite_processes.py::test_"


def database(name: str, old: str, new: str, test: str) -> Breakage:
    return _breakage("database", name, old, new, test)


def opening(name: str, old: str, new: str, test: str) -> Breakage:
    return _breakage("opening", name, old, new, test)


def turnstile(name: str, old: str, new: str, test: str) -> Breakage:
    return _breakage("turnstile", name, old, new, test)


def _breakage(file: str, name: str, old: str, new: str, test: str) -> Breakage:
    only = "" if test.startswith((FILE, PROCESSES)) else "sqlite"
    return Breakage(f"sqlite file: {name}", f"backends/sqlite/{file}.py", old, new, test, only)


BREAKAGES = (
    # -- all or nothing, and when callers are answered
    database(
        "what a failed job wrote is committed with its group",
        "elif writer.total_changes != changes:",
        "elif False:",
        f"{STORE}commit_with_one_failing_write_applies_none",
    ),
    database(
        "a failed job is not undone in the second run",
        '                    writer.execute("ROLLBACK TO job")',
        "                    pass",
        f"{STORE}conflicts_among_concurrent_commits_do_not_touch_their_neighbours",
    ),
    database(
        "one failed job fails its group",
        "                    self._run(group, guarded=True)",
        "                    _answer_all(group, error)",
        f"{STORE}conflicts_among_concurrent_commits_do_not_touch_their_neighbours",
    ),
    database(
        "callers are answered when their job is queued",
        "        return await answer",
        "        return None  # type: ignore[return-value]",
        f"{FILE}everything_a_killed_process_acknowledged_is_there_and_nothing_is_half_there",
    ),
    database(
        "callers are answered before COMMIT",
        '            if guarded:\n                writer.execute("RELEASE job")',
        "            if outcomes[-1][1] is None:\n                group[len(outcomes) - 1][1].set_result(outcomes[-1][0])",
        f"{FILE}nobody_is_answered_before_commit_returned",
    ),
    database(
        "COMMIT is left to the next group",
        '        try:\n            writer.execute("COMMIT")',
        '        try:\n            asyncio.get_running_loop().call_later(0.05, writer.execute, "COMMIT")',
        f"{FILE}callers_are_answered_only_when_another_process_can_see_their_commit",
    ),
    database(
        "refusals are told before COMMIT",
        "                outcomes.append((None, error))",
        "                outcomes.append((None, error))\n                group[len(outcomes) - 1][1].set_exception(error)",
        f"{FILE}refusal_that_rests_on_a_commit_that_failed_is_not_told",
    ),
    opening(
        "commits are not synchronised",
        "PRAGMA synchronous = FULL",
        "PRAGMA synchronous = NORMAL",
        f"{FILE}every_commit_is_synchronised",
    ),
    opening(
        "the log is not kept in order (rollback journal off)",
        "PRAGMA journal_mode = WAL",
        "PRAGMA journal_mode = OFF",
        f"{FILE}every_commit_is_synchronised",
    ),
    opening(
        "reads see an old snapshot",
        'reader.execute("PRAGMA query_only = 1")',
        'reader.execute("BEGIN"), reader.execute("SELECT count(*) FROM sqlite_master").fetchall()',
        f"{STORE}commit_is_seen_by_everybody_once_it_returned",
    ),
    opening(
        "the reading connection can write",
        'reader.execute("PRAGMA query_only = 1")',
        "pass",
        f"{FILE}reads_cannot_write",
    ),
    database(
        "every job has a COMMIT of its own",
        "while self._waiting and len(group) < GROUP_JOBS_MAX:",
        "while self._waiting and len(group) < 1:",
        f"{FILE}jobs_that_wait_together_share_one_commit",
    ),
    database(
        "groups have no bound",
        "while self._waiting and len(group) < GROUP_JOBS_MAX:",
        "while self._waiting:",
        f"{FILE}more_jobs_than_a_group_holds_run_in_several_in_order",
    ),
    database(
        "a cancelled job runs all the same",
        "            if not waiting[1].cancelled():",
        "            if True:",
        f"{FILE}cancelled_job_that_has_not_run_does_not_run",
    ),
    database(
        "closing drops what waits",
        "        if self._waiting:\n            await asyncio.wait",
        "        if False:\n            await asyncio.wait",
        f"{FILE}close_finishes_what_waits_and_refuses_what_comes_later",
    ),
    database(
        "a refused job wakes listeners",
        "            if refusal is None:\n                topics.add(wakes)",
        "            topics.add(wakes)\n            if refusal is None:",
        f"{FILE}changed_wakes_for_its_topic_only_and_only_after_success",
    ),
    # -- locked, full, failing
    opening(
        "a locked file blocks the loop",
        'writer.execute("PRAGMA busy_timeout = 0")',
        'writer.execute("PRAGMA busy_timeout = 300")',
        f"{FILE}loop_runs_on_while_the_file_is_locked",
    ),
    database(
        "a locked file keeps callers waiting",
        "BUSY_MAX_S = 1.0",
        "BUSY_MAX_S = 8.0",
        f"{FILE}locked_file_is_unavailable_promptly_and_works_again_afterwards",
    ),
    database(
        "a lock held for a moment turns callers away",
        "BUSY_MAX_S = 1.0",
        "BUSY_MAX_S = 0.0",
        f"{FILE}lock_that_is_let_go_in_time_only_delays",
    ),
    database(
        "a full disk is shown as SQLite's own error",
        "        sqlite3.SQLITE_FULL,\n",
        "",
        f"{FILE}full_disk_is_unavailable_and_what_was_acknowledged_stays",
    ),
    database(
        "a commit that fills the disk takes its group along",
        "if one_job_may_be_to_blame and len(group) > 1:",
        "if False:",
        f"{FILE}small_commits_go_through_beside_one_that_fills_the_disk",
    ),
    database(
        "a COMMIT nobody can vouch for is called undone",
        "if _code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL):",
        "if False:",
        f"{FILE}commit_nobody_can_vouch_for_is_unknown_and_nothing_is_answered_until_the_disk_works",
    ),
    database(
        "the remains of a failed COMMIT are not overwritten",
        "            if not self._seal():",
        "            if False:",
        f"{FILE}failed_commit_that_a_later_one_overwrote_wrote_nothing",
    ),
    database(
        "reads go on while the last COMMIT is unknown",
        "        if self._closed or not (self._sealed or self._seal()):\n"
        '            raise StoreUnavailable("the database is closed" if self._closed else "the last commit failed half-way")\n'
        "        try:\n            return job(self._reader)",
        '        if self._closed:\n            raise StoreUnavailable("the database is closed")\n'
        "        try:\n            return job(self._reader)",
        f"{FILE}commit_nobody_can_vouch_for_is_unknown_and_nothing_is_answered_until_the_disk_works",
    ),
    # -- several processes
    database(
        "whoever asks at the right moment writes",
        "            if not self._turnstile.enter():\n",
        "            if False:\n",
        f"{PROCESSES}writer_beside_a_process_that_never_pauses_gets_its_turn_each_time",
    ),
    turnstile(
        "it lets everybody in",
        "fcntl.LOCK_EX | fcntl.LOCK_NB",
        "fcntl.LOCK_SH | fcntl.LOCK_NB",
        f"{PROCESSES}turnstile_of_a_killed_process_is_free",
    ),
    opening(
        "a file is set up by several at once",
        "if not turnstile.enter_within(_OPEN_TIMEOUT_S):",
        "if False:",
        f"{PROCESSES}processes_that_open_a_fresh_file_at_once_all_write_to_it",
    ),
    database(
        "commits of others are not looked for",
        "if self._shared and self._looking is None",
        "if False",
        f"{PROCESSES}commit_of_another_connection_wakes_whoever_waits_on_a_shared_file",
    ),
    database(
        "own commits pass for those of others",
        "version := _data_version(self._writer)",
        "version := _data_version(self._reader)",
        f"{PROCESSES}commit_of_another_connection_wakes_whoever_waits_on_a_shared_file",
    ),
    # -- opening
    opening(
        "a newer release's file is opened",
        "if version > FORMAT and application == _APPLICATION_ID:",
        "if False:",
        f"{FILE}file_of_a_newer_release_is_refused_by_name",
    ),
    opening(
        "another program's database is taken over",
        "if application != _APPLICATION_ID and (application or version or tables):",
        "if False:",
        f"{FILE}database_of_another_program_is_refused_and_left_alone",
    ),
    opening(
        "the file is readable by all",
        "os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600",
        "os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644",
        f"{FILE}file_is_for_its_owner_only",
    ),
)
