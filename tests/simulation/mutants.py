"""Deliberate bugs, one at a time in a copy of the source, each of which some seed must find.

A mutant that survives says that a promise is not checked; one that no longer fits the source must be written anew. Each is a
bug that somebody could make on a bad day, and loses or doubles money, forgets something, or tells an untruth.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
SEEDS = 300
"""Tried before a mutant is said to survive."""
TIMEOUT_S = 600
CAUGHT = 3
"""Exit status of a process that found something."""


class Mutant(NamedTuple):
    name: str
    """What the platform does wrong."""
    file: str
    """Below src/interlock."""
    old: str
    """Occurs exactly once in the file."""
    new: str


class Trial(NamedTuple):
    mutant: Mutant
    caught: bool
    detail: str
    """After how many seeds and by which rule, or why not."""


PAYMENTS = "core/payments"
MUTANTS = (
    Mutant(
        "the provider is called before the attempt is on record",
        f"{PAYMENTS}/commits.py",
        "    await p.store.commit(writes, (event,))\n",
        "    if decision.call is None or claim is None:\n        await p.store.commit(writes, (event,))\n",
    ),
    Mutant(
        "an answer is given before its commit is durable",
        f"{PAYMENTS}/commits.py",
        "    await p.store.commit(writes, (event,))\n",
        "    import asyncio\n    committed = asyncio.ensure_future(p.store.commit(writes, (event,)))\n"
        "    if decision.answer is None:\n        await committed\n",
    ),
    Mutant(
        "a change is committed without its event",
        f"{PAYMENTS}/commits.py",
        "    await p.store.commit(writes, (event,))\n",
        "    await p.store.commit(writes, () if decision.event == 'payment.authorized' else (event,))\n",
    ),
    Mutant(
        "the idempotency record is forgotten",
        f"{PAYMENTS}/commits.py",
        "        if record is not None:\n            writes.append(record)\n",
        "",
    ),
    Mutant(
        "a journal is forgotten when a late approval is found",
        f"{PAYMENTS}/reversals.py",
        'if taken else None\n    return Decision(after, "payment.late_approval", booking',
        'if taken else None\n    return Decision(after, "payment.late_approval", None',
    ),
    Mutant(
        "a capture is not booked when it is found by lookup",
        f"{PAYMENTS}/outcomes.py",
        '    booking = Booking("capture", attempt.amount, attempt.id, attempt.provider)\n    if payment.state in CANCELING:',
        '    booking = Booking("capture", attempt.amount, attempt.id, attempt.provider)\n'
        "    booking = None if attempt.lookups else booking\n    if payment.state in CANCELING:",
    ),
    Mutant(
        "another body under a known key is taken for the same request",
        f"{PAYMENTS}/handlers.py",
        "    if earlier.fingerprint != request.fingerprint:",
        "    if False:",
    ),
    Mutant(
        "a refund in progress is not reserved",
        f"{PAYMENTS}/model.py",
        "if refund.state is not RefundState.FAILED)",
        "if refund.state is RefundState.SUCCEEDED)",
    ),
    Mutant(
        "a failed refund keeps its reserve",
        f"{PAYMENTS}/outcomes.py",
        'state, event, kind = RefundState.FAILED, "refund.failed", "refund_failed"',
        'state, event, kind = RefundState.PENDING, "refund.failed", "refund_failed"',
    ),
    Mutant(
        "a dispute takes what a refund has reserved",
        f"{PAYMENTS}/disputes.py",
        "    amount = min(news.amount.amount, max(payment.refundable, 0))",
        "    amount = min(news.amount.amount, payment.amount_captured - payment.amount_refunded)",
    ),
    Mutant(
        "a capture starts while another operation's outcome is unknown",
        f"{PAYMENTS}/decisions.py",
        "    state = next_state(payment.state, Trigger.CAPTURE)\n    refuse_while_unknown(payment)\n",
        "    state = next_state(payment.state, Trigger.CAPTURE)\n",
    ),
    Mutant(
        "a refund starts while another operation's outcome is unknown",
        f"{PAYMENTS}/decisions.py",
        '        raise Conflict("nothing can be refunded now", code="payment_busy" if busy else "payment_state")\n'
        "    refuse_while_unknown(payment)\n",
        '        raise Conflict("nothing can be refunded now", code="payment_busy" if busy else "payment_state")\n',
    ),
    Mutant(
        "more is captured than is held",
        f"{PAYMENTS}/decisions.py",
        "    if amount > payment.capturable:",
        "    if amount > payment.amount_authorized:",
    ),
    Mutant(
        "a late approval is taken for old news",
        f"{PAYMENTS}/outcomes.py",
        "        return late_approval(payment, replace(_heard(attempt, news), late=True), news)",
        "        return None",
    ),
    Mutant(
        "a late approval is put on record and not given back",
        f"{PAYMENTS}/reversals.py",
        '    return Decision(after, "payment.late_approval", booking, call=reversal.id, alarms=("late_approval",))',
        "    noted = replace(payment, attempts=payment.with_attempt(attempt))\n"
        '    return Decision(noted, "payment.late_approval", booking, alarms=("late_approval",))',
    ),
    Mutant(
        "an answer repeated to a worker that slept is taken for news",
        f"{PAYMENTS}/calls.py",
        "        if doubtful and not once and asked_at != held.item_version:",
        "        if False:",
    ),
    Mutant(
        "who contradicts the last word is believed while the provider cannot be asked",
        f"{PAYMENTS}/calls.py",
        "            if said is None:\n",
        "            said = said or report\n            if said is None:\n",
    ),
    Mutant(
        "a lookup is believed by a worker that slept over it",
        f"{PAYMENTS}/sweeping.py",
        "    if asked_at < settled_at:",
        "    if now < settled_at:",
    ),
    Mutant(
        "an authorisation nobody has heard of is sent again",
        f"{PAYMENTS}/sweeping.py",
        "    if attempt.operation is not Action.AUTHORIZE and key_is_good",
        "    if key_is_good",
    ),
    Mutant(
        "a lookup that finds nothing is believed at once",
        f"{PAYMENTS}/sweeping.py",
        "    if asked_at < settled_at:",
        "    if False:",
    ),
    Mutant(
        "a worker that slept sends what was given up meanwhile",
        f"{PAYMENTS}/calls.py",
        "        _refuse_if_late(p, attempt)\n",
        "",
    ),
    Mutant(
        "the sweeper leaves out a shard",
        f"{PAYMENTS}/sweeping.py",
        '    for shard in range(DUE_SHARDS):\n        page = await p.store.query_index(DUE_INDEX, f"due/{shard}", upto=until',
        '    for shard in range(1, DUE_SHARDS):\n        page = await p.store.query_index(DUE_INDEX, f"due/{shard}", upto=until',
    ),
    Mutant(
        "an authorisation that expires is forgotten",
        f"{PAYMENTS}/records.py",
        "    if payment.state is State.AUTHORIZED and payment.authorization_expires_at is not None and not payment.has_unknown:",
        "    if False and payment.authorization_expires_at is not None:",
    ),
    Mutant(
        "a pending operation is never looked into",
        f"{PAYMENTS}/outcomes.py",
        "        deadline=None if final else retry_time(attempt, result.outcome, news.now, news.timing),\n"
        "        decline=result.decline,\n        provider_reference=",
        "        deadline=None if final or result.outcome is Outcome.PENDING\n"
        "        else retry_time(attempt, result.outcome, news.now, news.timing),\n"
        "        decline=result.decline,\n        provider_reference=",
    ),
    Mutant(
        "a read timeout counts as not sent",
        "providers/engine.py",
        "            lost = fault is not None and not fault.before_sending\n",
        "            lost = False\n",
    ),
    Mutant(
        "a request that may have arrived is sent again",
        "providers/engine.py",
        "            may_repeat = failed and (request.phase is Phase.READ or (fault is not None and not lost))",
        "            may_repeat = failed",
    ),
    Mutant(
        "an approval of another amount is believed",
        "providers/engine.py",
        "    if outcome in (Outcome.APPROVED, Outcome.PENDING) and (mismatch := _mismatch(op, result)) is not None:",
        "    if False and (mismatch := _mismatch(op, result)) is not None:",
    ),
    Mutant(
        "a notification's signature is not checked",
        "providers/simulator.py",
        '        _verify(raw, secrets.get("signing_secret", []))\n',
        "",
    ),
    Mutant(
        "a notification is acknowledged before it is stored",
        "core/notifications/handlers.py",
        "                raise  # a conflict in passing, and nothing is kept: the provider must repeat it",
        "                continue",
    ),
    Mutant(
        "a queue's message is acknowledged before it is worked on",
        "entrypoints/worker.py",
        "            done = await self._handle(message)\n",
        "            await self._queue.ack(self._name, message.receipt)\n            done = await self._handle(message)\n",
    ),
    Mutant(
        "the relay keeps its position before it publishes",
        "entrypoints/worker.py",
        "        await publish(self._bus, [record.event for record in records])\n",
        "        await self._store.commit([Put(RELAY_POSITION, records[-1].position.encode(), self._version)])\n"
        "        self._version += 1\n        await publish(self._bus, [record.event for record in records])\n",
    ),
    Mutant(
        "a consumer moves on before its effects are durable",
        "entrypoints/worker.py",
        "            await self._consume(records)\n            await self._subscription.commit(records)\n",
        "            await self._subscription.commit(records)\n            await self._consume(records)\n",
    ),
    Mutant(
        "balances count a journal again when it comes again",
        "core/ledger/projection.py",
        '        writes = [Put(mark_key(journal), b"") for journal in fresh]\n',
        "        writes: list[Put] = []\n",
    ),
    Mutant(
        "lists show the first state of a batch",
        f"{PAYMENTS}/projection.py",
        "        if known is None or known.version < event.version:",
        "        if known is None:",
    ),
    Mutant(
        "a webhook is sent with the timestamp of its first attempt",
        "core/webhooks/delivering.py",
        "    headers = signed_headers(secrets, message_id=event.id, at=now, body=body)",
        "    headers = signed_headers(secrets, message_id=event.id, at=delivery.created_at, body=body)",
    ),
    Mutant(
        "a webhook goes out though the one before it has not arrived",
        "core/webhooks/delivering.py",
        "        page = await w.store.query(partition, prefix=prefix, after=behind)",
        "        page = await w.store.query(partition, prefix=prefix, after=behind, newest_first=True)",
    ),
    Mutant(
        "a webhook that failed is not tried again",
        "core/webhooks/delivering.py",
        "    if pause_s is not None:\n        await _send_later(w, turn_of(delivery), pause_s)\n        return False\n",
        "    if pause_s is not None:\n        return False\n",
    ),
    Mutant(
        "a lease on a delivery never ends",
        "core/webhooks/delivering.py",
        "    leased = delivery.state is DeliveryState.SENDING and now < delivery.lease_until\n",
        "    leased = delivery.state is DeliveryState.SENDING\n",
    ),
    Mutant(
        "the store does not compare versions",
        "backends/memory/store.py",
        "            if self._version(write.key) != write.expected:",
        "            if False:",
    ),
)


def chosen(words: Sequence[str]) -> list[Mutant]:
    """Those whose name holds one of the words, or all."""
    return [mutant for mutant in MUTANTS if not words or any(word in mutant.name for word in words)]


def fits(mutant: Mutant) -> bool:
    """Whether the place to break is there, once."""
    return (SOURCE / "interlock" / mutant.file).read_text(encoding="utf-8").count(mutant.old) == 1


def attempt(mutant: Mutant, *, seeds: int = SEEDS) -> Trial:
    """Break a copy of the source and run seeds on it until one fails."""
    if not fits(mutant):
        return Trial(mutant, False, "DOES NOT FIT the source any more")
    with tempfile.TemporaryDirectory(prefix="interlock-mutant-") as folder:
        source = Path(folder) / "src"
        shutil.copytree(SOURCE, source, ignore=shutil.ignore_patterns("*.egg-info"))
        file = source / "interlock" / mutant.file
        file.write_text(file.read_text(encoding="utf-8").replace(mutant.old, mutant.new), encoding="utf-8")
        command = [sys.executable, "-m", "tests.simulation", "--until-caught", "--seeds", str(seeds)]
        environment = os.environ | {"PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    if done.returncode == CAUGHT:
        tries, seed, rule = done.stdout.strip().split("\t")
        return Trial(mutant, _holds(int(seed)), f"by seed {seed} ({tries} tried): {rule}")
    if done.returncode == 0:
        return Trial(mutant, False, f"SURVIVED {seeds} seeds")
    return Trial(mutant, False, f"BROKE THE RUN itself: {done.stderr[-1_500:]}")


@cache
def _holds(seed: int) -> bool:
    """Whether the untouched platform holds under this seed: else it proves nothing about a mutant."""
    command = [sys.executable, "-m", "tests.simulation", "--until-caught", "--seeds", "1", "--first", str(seed)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, check=False).returncode == 0


def attempt_all(mutants: Sequence[Mutant], *, processes: int) -> Iterator[Trial]:
    with ThreadPoolExecutor(processes) as pool:
        yield from pool.map(attempt, mutants)


def table(trials: Sequence[Trial]) -> str:
    return "\n".join(f"  {'caught' if one.caught else 'MISSED':8}{one.mutant.name}: {one.detail}" for one in trials)
