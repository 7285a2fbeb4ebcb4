"""How the Queue on SQS is broken on purpose, promise by promise."""

from __future__ import annotations

from tests.contracts.breakages import Breakage

QUEUE = "test_queue.py::test_"
ON_SQS = "test_queue_on_sqs.py::test_"


def queue(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"sqs queue: {name}", "backends/aws/queue.py", old, new, test, "sqs")


def messages(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"sqs messages: {name}", "backends/aws/sqs_messages.py", old, new, test, "sqs")


def letters(name: str, old: str, new: str, test: str) -> Breakage:
    return Breakage(f"sqs dead letters: {name}", "backends/aws/dead_letters.py", old, new, test, "sqs")


BREAKAGES = (
    # -- send
    queue(
        "a delay is forgotten",
        "said, delay_s=min(whole_s, DELAY_MOST_S))",
        "said, delay_s=0)",
        f"{QUEUE}delayed_message_is_not_receivable_a_millisecond_early",
    ),
    queue(
        "delays are cut to whole seconds",
        "    return math.ceil(delay_s)",
        "    return int(delay_s)",
        f"{QUEUE}delay_of_a_fraction_of_a_millisecond_is_not_cut_to_nothing",
    ),
    queue(
        "delays are not bounded",
        "if not 0 <= delay_s <= DELAY_MAX_S:",
        "if delay_s != delay_s:",
        f"{QUEUE}delay_out_of_range_is_invalid_and_nothing_is_sent",
    ),
    queue(
        "a long delay is as long as SQS keeps one",
        "        ready_at = now + math.ceil(delay_s * 1_000) if whole_s > DELAY_MOST_S else None",
        "        ready_at = None",
        f"{ON_SQS}message_received_before_a_long_delay_is_over_comes_back_on_time_and_the_attempt_is_not_counted",
    ),
    queue(
        "a long delay is as long as SQS takes for one",
        "said, delay_s=min(whole_s, DELAY_MOST_S))",
        "said, delay_s=whole_s)",
        f"{ON_SQS}message_received_before_a_long_delay_is_over_comes_back_on_time_and_the_attempt_is_not_counted",
    ),
    messages(
        "a receipt before the time counts as an attempt",
        " - (first_received_at < ready_at)",
        "",
        f"{ON_SQS}message_received_before_a_long_delay_is_over_comes_back_on_time_and_the_attempt_is_not_counted",
    ),
    messages(
        "a delayed message always has a receipt before its time",
        "(first_received_at < ready_at)",
        "(ready_at > 0)",
        f"{ON_SQS}long_delay_that_nobody_looked_into_counts_from_the_first_receipt",
    ),
    queue(
        "a message before its time hides those behind it",
        "                continue  # each was early, or dead: the next may be neither",
        "                return []",
        f"{ON_SQS}early_message_does_not_keep_others_from_being_received",
    ),
    messages(
        "a message has SQS's id",
        'return Received(said.get("id") or sqs_id,',
        "return Received(sqs_id,",
        f"{QUEUE}sent_message_is_received_elsewhere_with_its_id_body_and_time",
    ),
    messages(
        "a message has the time of its last send",
        'sent_at = _int(said.get("sent-at")) or int(system["SentTimestamp"])',
        'sent_at = int(system["SentTimestamp"])',
        f"{QUEUE}redriven_letter_is_receivable_with_its_count_at_zero",
    ),
    messages(
        "every text is one to SQS",
        "is_text = bool(text) and _NO_TEXT.search(text) is None",
        "is_text = bool(text)",
        f"{ON_SQS}any_bytes_are_a_body",
    ),
    messages(
        "the empty body is forgotten",
        '.decode() or "="',
        ".decode()",
        f"{ON_SQS}any_bytes_are_a_body",
    ),
    messages(
        "bodies are of any length",
        "    if len(text.encode()) > CONTENT_BYTES_MAX:",
        "    if False:",
        f"{ON_SQS}body_longer_than_sqs_takes_is_invalid_and_nothing_is_sent",
    ),
    # -- receive
    queue(
        "a lease is a second",
        "VisibilityTimeout=round(place.spec.lease_s),",
        "VisibilityTimeout=1,",
        f"{QUEUE}leased_message_is_not_received_by_anybody_else_within_the_lease",
    ),
    queue(
        "more is received than was asked for",
        "min(limit, RECEIVE_MOST), wait_s",
        "RECEIVE_MOST, wait_s",
        f"{QUEUE}receive_gives_at_most_limit_messages",
    ),
    queue(
        "nobody waits",
        "until = self._clock.monotonic() + wait_s",
        "until = self._clock.monotonic()",
        f"{QUEUE}waiting_receiver_notices_what_another_process_sends_within_half_a_second",
    ),
    queue(
        "a wait ends with SQS's longest",
        "            left_s = until - self._clock.monotonic()\n            if left_s <= 0:",
        "            left_s = until - self._clock.monotonic()\n            if left_s <= 40:",
        f"{QUEUE}waiting_receiver_gets_a_message_whose_lease_ends_meanwhile",
    ),
    queue(
        "a lease begins with the wait for its message",
        "return max(asked_at, self._clock.monotonic() - ON_ITS_WAY_S), answer",
        "return asked_at, answer",
        f"{ON_SQS}lease_begins_when_a_message_arrives_and_not_when_the_wait_for_it_began",
    ),
    # -- ack
    queue(
        "an ack forgets nothing",
        "            return await self._forget(place, receipt) and not is_over",
        "            return not is_over",
        f"{QUEUE}acked_message_is_gone_for_good",
    ),
    queue(
        "a receipt is good more than once",
        "lease = place.held.pop(receipt, None)\n        if lease is None:\n            return False\n        is_over",
        "lease = place.held.get(receipt, None)\n        if lease is None:\n            return False\n        is_over",
        f"{QUEUE}second_ack_of_one_receipt_is_false",
    ),
    queue(
        "an ack after the lease is true",
        "return await self._forget(place, receipt) and not is_over",
        "return await self._forget(place, receipt)",
        f"{QUEUE}ack_after_the_lease_ended_but_before_another_receipt_still_counts",
    ),
    queue(
        "an ack after the lease is not tried",
        "        if is_over and lease.is_last:",
        "        if is_over:",
        f"{QUEUE}ack_after_the_lease_ended_but_before_another_receipt_still_counts",
    ),
    queue(
        "the last lease does not end",
        "        if is_over and lease.is_last:\n            return False\n",
        "",
        f"{QUEUE}ack_after_the_last_lease_ended_is_false_whether_anybody_looked_or_not",
    ),
    # -- release
    queue(
        "a release keeps its delay to itself",
        "away_s=min(whole_s, room_s))",
        "away_s=0)",
        f"{QUEUE}released_message_stays_away_for_its_delay",
    ),
    queue(
        "a release may be longer than SQS allows",
        "away_s=min(whole_s, room_s))",
        "away_s=whole_s)",
        f"{ON_SQS}longest_delay_of_a_release_stays_within_what_sqs_allows",
    ),
    queue(
        "the last attempt given back is one more",
        "            if lease.is_last:\n                await",
        "            if False:\n                await",
        f"{QUEUE}dead_letters_that_were_buried_are_not_in_another_queue",
    ),
    # -- dead letters and redrive
    queue(
        "a message is received once too often",
        "if one.attempts > place.spec.attempts_max:",
        "if one.attempts > place.spec.attempts_max + 1:",
        f"{QUEUE}message_received_too_often_without_ack_dies_when_its_last_lease_ends",
    ),
    queue(
        "a dead message is still there",
        "            raise _unavailable(error) from error\n        await self._forget(place, message.handle)\n",
        "            raise _unavailable(error) from error\n",
        f"{QUEUE}message_whose_last_lease_ended_counts_as_dead_and_not_as_ready",
    ),
    messages(
        "a message sent back by AWS's console is as dead as it was",
        'return Received(said.get("id") or sqs_id, body, attempts,',
        'attempts = _int(said.get("attempts")) or attempts\n'
        '    return Received(said.get("id") or sqs_id, body, attempts,',
        f"{ON_SQS}letter_sent_back_by_aws_console_is_alive_and_its_attempts_count_anew",
    ),
    letters(
        "long letters cannot be written",
        "text, how = content(message.body)",
        "from interlock.backends.aws.sqs_messages import checked_content\n\n"
        "        text, how = checked_content(message.body)",
        f"{ON_SQS}longest_body_of_another_sender_can_still_die_and_be_redriven",
    ),
    letters(
        "a letter does not say when it died",
        "attempts=message.attempts, died_at=died_at)",
        "attempts=message.attempts)",
        f"{QUEUE}message_received_too_often_without_ack_dies_when_its_last_lease_ends",
    ),
    letters(
        "letters that were looked at are gone for a while",
        "        found = await self._take(None)\n        await self.give_back(found)",
        "        found = await self._take(None)",
        f"{QUEUE}looking_at_dead_letters_changes_nothing",
    ),
    letters(
        "letters are in the order SQS gives them",
        "in sorted({letter.id: letter for letter in found}.items())]",
        "in reversed({letter.id: letter for letter in found}.items())]",
        f"{QUEUE}dead_letters_are_in_order_of_id_and_paged_by_it",
    ),
    letters(
        "copies of a letter are letters",
        "{letter.id: letter for letter in found}.items()",
        "{letter.handle: letter for letter in found}.items()",
        f"{ON_SQS}message_buried_twice_is_one_letter_and_is_redriven_once",
    ),
    letters(
        "every letter is redriven",
        "        chosen = [letter for letter in found if letter.id in ids]\n",
        "        chosen = found\n",
        f"{QUEUE}redrive_takes_only_the_letters_named_and_counts_those_that_were_there",
    ),
    queue(
        "a page of letters begins at the beginning",
        " if letter.id > after]",
        "]",
        f"{QUEUE}dead_letters_are_in_order_of_id_and_paged_by_it",
    ),
    queue(
        "a redriven letter stays one",
        "                await place.dead.forget(letter)\n",
        "",
        f"{ON_SQS}message_buried_twice_is_one_letter_and_is_redriven_once",
    ),
    queue(
        "a copy of a letter is redriven as another",
        "                if letter.id not in revived:",
        "                if True:",
        f"{ON_SQS}message_buried_twice_is_one_letter_and_is_redriven_once",
    ),
    # -- depth
    queue(
        "what is delayed is not counted",
        '    "ApproximateNumberOfMessagesDelayed",\n',
        '    "ApproximateNumberOfMessagesNotVisible",\n',
        f"{QUEUE}depth_counts_each_message_in_one_place",
    ),
)
