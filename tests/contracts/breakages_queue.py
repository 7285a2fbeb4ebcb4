"""How the Queue adapters are broken on purpose, promise by promise."""

from __future__ import annotations

from tests.contracts.breakages import Breakage

QUEUE = "test_queue.py::test_"


def sqlite(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"sqlite queue: {name}", "backends/sqlite/queue.py", old, new, test, "sqlite")


def memory(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"memory queue: {name}", "backends/memory/queue.py", old, new, test, "memory")


def wakeups(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"memory wakeups: {name}", "backends/memory/wakeups.py", old, new, test, "memory")


BREAKAGES = (
    # -- SQLite
    sqlite(
        "a delay is forgotten",
        "row = (name, now + _delay_ms(delay_s), now, message_id, body)",
        "_delay_ms(delay_s); row = (name, now, now, message_id, body)",
        f"{QUEUE}delayed_message_is_not_receivable_a_millisecond_early",
    ),
    sqlite(
        "delays are not bounded",
        "if not 0 <= delay_s <= DELAY_MAX_S:",
        "if delay_s != delay_s:",
        f"{QUEUE}delay_out_of_range_is_invalid_and_nothing_is_sent",
    ),
    sqlite(
        "delays are cut to whole milliseconds",
        "return -int(-delay_s * 1_000 // 1)",
        "return int(delay_s * 1_000)",
        f"{QUEUE}delay_of_a_fraction_of_a_millisecond_is_not_cut_to_nothing",
    ),
    sqlite(
        "ready messages of every queue are leased",
        '" WHERE queue = ? AND ready_at <= ? ORDER BY ready_at LIMIT ?"',
        "\" WHERE ? <> '' AND ready_at <= ? ORDER BY ready_at LIMIT ?\"",
        f"{QUEUE}messages_of_one_queue_are_not_in_another",
    ),
    sqlite(
        "a lease holds nobody back",
        "ends_at = now + round(spec.lease_s * 1_000)",
        "ends_at = now",
        f"{QUEUE}leased_message_is_not_received_by_anybody_else_within_the_lease",
    ),
    sqlite(
        "who receives is decided outside the transaction",
        "        def job(db: Connection) -> list[QueueMessage]:\n"
        "            ready = db.execute(_READY, (spec.name, now, limit)).fetchall()\n",
        "        seen = self._database.read(lambda db: db.execute(_READY, (spec.name, now, limit)).fetchall())\n\n"
        "        def job(db: Connection) -> list[QueueMessage]:\n"
        "            ready = seen\n",
        f"{QUEUE}two_receivers_at_once_share_the_messages_without_overlap",
    ),
    sqlite(
        "attempts are not counted",
        "lease, attempts + 1, seq)",
        "lease, attempts, seq)",
        f"{QUEUE}message_received_too_often_without_ack_dies_when_its_last_lease_ends",
    ),
    sqlite(
        "one attempt too many",
        "if attempts + 1 < spec.attempts_max",
        "if attempts < spec.attempts_max",
        f"{QUEUE}message_received_too_often_without_ack_dies_when_its_last_lease_ends",
    ),
    sqlite(
        "limit is ignored",
        "(spec.name, now, limit)).fetchall()\n            if any(",
        "(spec.name, now, 1_000)).fetchall()\n            if any(",
        f"{QUEUE}receive_gives_at_most_limit_messages",
    ),
    sqlite(
        "receive does not wait",
        "if left_s <= 0:",
        "if True:",
        f"{QUEUE}receive_waits_for_the_first_message_and_returns_at_once_when_it_is_sent",
    ),
    sqlite(
        "receive waits although told not to",
        "deadline = self._clock.monotonic() + wait_s",
        "deadline = self._clock.monotonic() + max(wait_s, 1.0)",
        f"{QUEUE}receive_without_a_wait_returns_at_once",
    ),
    sqlite(
        "send wakes nobody",
        "db.execute(_INSERT, row), wakes=_topic(name))",
        "db.execute(_INSERT, row))",
        f"{QUEUE}receive_waits_for_the_first_message_and_returns_at_once_when_it_is_sent",
    ),
    sqlite(
        "release wakes nobody",
        "return db.execute(_RELEASE, (ready_at, *held)).rowcount == 1\n\n"
        "        return await self._database.write(job, wakes=_topic(name))",
        "return db.execute(_RELEASE, (ready_at, *held)).rowcount == 1\n\n"
        "        return await self._database.write(job)",
        f"{QUEUE}release_wakes_a_waiting_receiver",
    ),
    sqlite(
        "a waiting receiver never looks by itself",
        "timeout_s=min(left_s, POLL_S)",
        "timeout_s=left_s",
        f"{QUEUE}waiting_receiver_notices_what_another_process_sends_within_half_a_second",
    ),
    sqlite(
        "a waiting receiver sleeps past the end of a delay",
        "left_s = min(left_s, (ready_at - now) / 1_000)",
        "pass",
        f"{QUEUE}waiting_receiver_gets_a_message_the_moment_its_delay_is_over",
    ),
    sqlite(
        "ack does not compare the lease",
        'f" WHERE seq = ? AND queue = ? AND lease = ? AND',
        "f\" WHERE seq = ? AND queue = ? AND ? <> '' AND",
        f"{QUEUE}ack_after_the_lease_went_to_another_is_false_and_the_other_still_has_it",
    ),
    sqlite(
        "ack compares the lease and not the message",
        'f" WHERE seq = ? AND queue = ? AND lease = ? AND',
        'f" WHERE seq <> -1 - ? AND queue = ? AND lease = ? AND',
        f"{QUEUE}ack_forgets_only_its_own_message",
    ),
    sqlite(
        "ack works from another queue",
        'f" WHERE seq = ? AND queue = ? AND lease = ? AND',
        "f\" WHERE seq = ? AND ? <> '' AND lease = ? AND",
        f"{QUEUE}ack_in_the_wrong_queue_is_false_and_has_no_effect",
    ),
    sqlite(
        "ack is always true",
        'f"DELETE FROM queue_messages{_HELD}", held).rowcount == 1\n        )',
        'f"DELETE FROM queue_messages{_HELD}", held).rowcount >= 0\n        )',
        f"{QUEUE}second_ack_of_one_receipt_is_false",
    ),
    sqlite(
        "a message can be acked after it died",
        "(state = {_LEASED_LAST} AND ready_at > ?))",
        "(state = {_LEASED_LAST} AND ready_at > ? - 999999))",
        f"{QUEUE}ack_after_the_last_lease_ended_is_false_whether_anybody_looked_or_not",
    ),
    sqlite(
        "ack needs the lease to run still",
        "(state = {_LEASED} OR (",
        "(state = 99 OR (",
        f"{QUEUE}ack_after_the_lease_ended_but_before_another_receipt_still_counts",
    ),
    sqlite(
        "release keeps the receipt valid",
        "state = {_WAITING}, lease = ''{_HELD}",
        "state = {_LEASED}{_HELD}",
        f"{QUEUE}second_release_of_one_receipt_is_false",
    ),
    sqlite(
        "release forgets its delay",
        "ready_at = now + _delay_ms(delay_s)",
        "ready_at = now + 0 * _delay_ms(delay_s)",
        f"{QUEUE}released_message_stays_away_for_its_delay",
    ),
    sqlite(
        "release of the last attempt revives the message",
        'if db.execute(f"{_COPY_DEAD} {last}", (now, *held)).rowcount == 1:',
        "if not last:",
        f"{QUEUE}release_of_the_last_attempt_makes_a_dead_letter_at_once",
    ),
    sqlite(
        "the dead are counted as ready",
        "FILTER (WHERE ready_at <= ?1 AND state <> 2),\n",
        "FILTER (WHERE ready_at <= ?1),\n",
        f"{QUEUE}message_whose_last_lease_ended_counts_as_dead_and_not_as_ready",
    ),
    sqlite(
        "the leased are counted as delayed",
        "FILTER (WHERE ready_at > ?1 AND state = 0)",
        "FILTER (WHERE ready_at > ?1)",
        f"{QUEUE}depth_counts_each_message_in_one_place",
    ),
    sqlite(
        "the oldest is looked for among the delayed too",
        "min(ready_at) FILTER (WHERE ready_at <= ?1 AND state <> 2)",
        "min(ready_at) FILTER (WHERE state <> 2)",
        f"{QUEUE}oldest_ready_at_is_since_when_the_longest_waiting_message_could_be_received",
    ),
    sqlite(
        "dead letters are in no order",
        "ORDER BY 1 LIMIT ?4",
        "ORDER BY 2 DESC LIMIT ?4",
        f"{QUEUE}dead_letters_are_in_order_of_id_and_paged_by_it",
    ),
    sqlite(
        "dead letters of all queues are shown",
        "FROM queue_dead_letters WHERE queue = ?1 AND id > ?2",
        "FROM queue_dead_letters WHERE id > ?2",
        f"{QUEUE}dead_letters_that_were_buried_are_not_in_another_queue",
    ),
    sqlite(
        "redrive keeps the letter",
        "DELETE FROM queue_dead_letters WHERE queue = ? AND id = ? RETURNING sent_at, body",
        "SELECT sent_at, body FROM queue_dead_letters WHERE queue = ? AND id = ?",
        f"{QUEUE}redrive_by_two_at_once_revives_a_letter_once",
    ),
    sqlite(
        "redrive overlooks those nobody buried",
        "            _bury(db, name, now)\n            redriven = 0",
        "            redriven = 0",
        f"{QUEUE}redrive_finds_a_letter_nobody_has_looked_at_since_it_died",
    ),
    sqlite(
        "redrive keeps the count",
        "f\" VALUES (?, ?, {_WAITING}, '', 0, ?, ?, ?)\"",
        "f\" VALUES (?, ?, {_WAITING}, '', 2, ?, ?, ?)\"",
        f"{QUEUE}redriven_letter_is_receivable_with_its_count_at_zero",
    ),
    sqlite(
        "redrive forgets when it was sent",
        "(name, now, sent_at, message_id, body)",
        "(name, now, now, message_id, body)",
        f"{QUEUE}redriven_letter_is_receivable_with_its_count_at_zero",
    ),
    sqlite(
        "redrive wakes nobody",
        "return redriven\n\n        return await self._database.write(job, wakes=_topic(name))",
        "return redriven\n\n        return await self._database.write(job)",
        f"{QUEUE}redrive_wakes_a_waiting_receiver",
    ),
    sqlite(
        "a receipt is the message's number",
        'lease = self._ids.new("lse")',
        'lease = "00000000"',
        f"{QUEUE}receipts_are_unique_and_do_not_follow_from_what_others_can_know",
    ),
    # -- memory
    memory(
        "a delay is forgotten",
        'self._ids.new("msg"), bytes(body), now, now + _delay_ms(delay_s))',
        'self._ids.new("msg"), bytes(body), now, now + 0 * _delay_ms(delay_s))',
        f"{QUEUE}delayed_message_is_not_receivable_a_millisecond_early",
    ),
    memory(
        "a lease holds nobody back",
        "message.ready_at = lease_ends_at",
        "message.ready_at = now",
        f"{QUEUE}leased_message_is_not_received_by_anybody_else_within_the_lease",
    ),
    memory(
        "attempts are not counted",
        "message.attempts += 1",
        "message.attempts = 1",
        f"{QUEUE}message_whose_lease_ended_is_received_again_and_the_attempt_counts",
    ),
    memory(
        "one attempt too many",
        "message.attempts >= self.spec.attempts_max",
        "message.attempts > self.spec.attempts_max",
        f"{QUEUE}message_received_too_often_without_ack_dies_when_its_last_lease_ends",
    ),
    memory(
        "an old receipt stays valid after another lease",
        "            kept.end_lease(message)\n            message.attempts += 1",
        "            message.attempts += 1",
        f"{QUEUE}ack_after_the_lease_went_to_another_is_false_and_the_other_still_has_it",
    ),
    memory(
        "a message can be acked after it died",
        "kept.bury(self._clock.now())\n        message = kept.by_receipt.get(receipt)",
        "message = kept.by_receipt.get(receipt)",
        f"{QUEUE}ack_after_the_last_lease_ended_is_false_whether_anybody_looked_or_not",
    ),
    memory(
        "release of the last attempt revives the message",
        "        if kept.lease_was_last(message):\n            kept.die(message, now)\n        else:\n",
        "        if True:\n",
        f"{QUEUE}release_of_the_last_attempt_makes_a_dead_letter_at_once",
    ),
    memory(
        "release wakes nobody",
        "            kept.stand(message)\n            self._wakeups.wake(queue)\n        return True",
        "            kept.stand(message)\n        return True",
        f"{QUEUE}release_wakes_a_waiting_receiver",
    ),
    memory(
        "a waiting receiver sleeps past the end of a delay",
        "left_s = min(left_s, max(1, ready_at - self._clock.now()) / 1_000)",
        "pass",
        f"{QUEUE}waiting_receiver_gets_a_message_the_moment_its_delay_is_over",
    ),
    memory(
        "the dead died when somebody looked",
        "self.die(message, message.ready_at)",
        "self.die(message, now)",
        f"{QUEUE}letter_that_nobody_received_after_died_when_its_lease_ended",
    ),
    memory(
        "the leased whose lease ended are counted twice",
        "sum(message.ready_at > now for message in kept.by_receipt.values())",
        "len(kept.by_receipt)",
        f"{QUEUE}message_whose_lease_ended_counts_as_ready_again",
    ),
    memory(
        "redrive keeps the letter",
        "kept.dead.pop(message_id, None)",
        "kept.dead.get(message_id, None)",
        f"{QUEUE}redrive_takes_only_the_letters_named_and_counts_those_that_were_there",
    ),
    wakeups(
        "nobody is woken",
        "                waiter.set_result(None)\n\n    async def wait",
        "                pass\n\n    async def wait",
        f"{QUEUE}receive_waits_for_the_first_message_and_returns_at_once_when_it_is_sent",
    ),
    wakeups(
        "the timer is left running",
        "timer.cancel()",
        "pass",
        f"{QUEUE}receive_that_got_its_message_leaves_nothing_waiting",
    ),
)
