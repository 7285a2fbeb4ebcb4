"""The Workflows port on one machine: executions in the Store, their work and their moments in the Queue.

Each advance is written under the version it was read at, so of two workers one advances an execution. What an advance asks for is
sent before the advance is written: a message too many finds a job that nobody waits for, a message too few would be work lost. So
a worker that is killed anywhere loses nothing, and a step is run once or more, and answered once.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import msgspec

from interlock.backends.asl.advance import Advance, Errand
from interlock.backends.asl.definition import Definition, read_definition
from interlock.backends.asl.filling import TOO_LARGE
from interlock.backends.asl.messages import QUEUE, Note, decode_note, encode_note
from interlock.backends.asl.run import Run, decode_happening, decode_run, encode_happening, encode_run
from interlock.backends.asl.tokens import parse_token
from interlock.core.kernel.clock import SECOND, Clock, Millis
from interlock.core.kernel.errors import (
    Conflict,
    InterlockError,
    Invalid,
    NotFound,
    OutcomeUnknown,
    Unavailable,
    WriteConflict,
)
from interlock.core.kernel.queue import DELAY_MAX_S, Queue, QueueMessage
from interlock.core.kernel.store import ABSENT, LIMIT_MAX, VALUE_BYTES_MAX, Key, Put, Store
from interlock.core.kernel.telemetry import Telemetry
from interlock.core.kernel.workflows import (
    Execution,
    Happening,
    Json,
    RunStep,
    Status,
    check_error,
    check_id,
    encode_payload,
)

ADVANCE_TRIES_MAX = 30
"""How often an advance that lost a race is worked out anew."""
LOOKS, LOOK_AGAIN_S = 5, 0.02
"""At an execution whose advance may be being written at this moment."""

Change = Callable[[Advance], None]


class LocalWorkflows:
    def __init__(
        self,
        store: Store,
        queue: Queue,
        definitions: Sequence[Definition],
        *,
        clock: Clock,
        telemetry: Telemetry,
        random: Callable[[], float],
        new_nonce: Callable[[], str],
    ) -> None:
        """`random` gives numbers in [0, 1), `new_nonce` texts that nobody can guess."""
        self._store, self._queue, self._clock, self._telemetry = store, queue, clock, telemetry
        self._random, self._new_nonce = random, new_nonce
        self._definitions: Mapping[str, Definition] = {one.workflow: one for one in definitions}
        self._by_digest = {one.digest: one for one in definitions}
        self._kept: set[str] = set()

    async def start(self, workflow: str, input: Json, *, id: str) -> str:
        definition = self._definitions[workflow]
        check_id(id)
        encoded = encode_payload(input)
        execution = f"{workflow}/{id}"
        known = await self._store.get(_key(execution, "input"))
        if known is None:
            await self._keep(definition)
            run = Run(workflow, id, definition.digest, self._clock.now())
            advance = self._advance_of(definition, run)
            advance.begin(msgspec.json.decode(encoded))
            try:
                await self._write(advance, ABSENT, [Put(_key(execution, "input"), encoded)])
                return execution
            except (WriteConflict, OutcomeUnknown):
                known = await self._store.get(_key(execution, "input"))
                if known is None:
                    raise
        if known.value != encoded:
            raise Conflict(f"{execution} was started with another input", code="workflow_input_differs")
        return execution

    async def signal(self, token: str, output: Json) -> bool:
        value = msgspec.json.decode(encode_payload(output))
        return await self._signalled(token, lambda advance, branch: advance.answer(branch, value))

    async def signal_failed(self, token: str, *, error: str, cause: str = "") -> bool:
        check_error(error, cause)
        return await self._signalled(token, lambda advance, branch: advance.fail(branch, error, cause))

    async def describe(self, execution: str) -> Execution:
        run, _ = await self._load(execution)
        input = await self._store.get(_key(execution, "input"))
        assert input is not None, "it is written with the run"
        return Execution(
            run.id,
            run.workflow,
            run.status,
            msgspec.json.decode(input.value),
            run.output,
            run.error,
            run.cause,
            run.started_at,
            run.ended_at,
        )

    async def history(self, execution: str) -> list[Happening]:
        await self._load(execution)
        found: list[Happening] = []
        after: str | None = None
        while True:
            page = await self._store.query(_partition(execution), prefix="happening/", after=after, limit=LIMIT_MAX)
            found += [decode_happening(item.value) for item in page.items]
            if page.next is None:
                return found
            after = page.next

    async def carry_on(self, message: QueueMessage, run: RunStep) -> bool:
        try:
            note = decode_note(message.body)
        except msgspec.DecodeError:
            self._telemetry.error("workflow.message_unreadable", queue=QUEUE)
            return True
        found = await self._look(note)
        if found is None:
            return False
        job = found.job(note.branch, note.job)
        if job is None:
            return True  # it was done without us
        if note.runs_step:
            await self._run_step(found, note, run)
        elif job.due > self._clock.now():
            await self._send(found, Errand(note.branch, note.job, False, job.due))
        else:
            await self._advance(note, lambda advance: advance.ring(note.branch))
        return True

    # -- the worker's part ----------------------------------------------------------------------------------------------

    async def _look(self, note: Note) -> Run | None:
        """The execution, once it knows of the job; None if it does not know of it yet."""
        for _ in range(LOOKS):
            try:
                found, _ = await self._load(note.execution)
                if found.advances >= note.advance or found.status is not Status.RUNNING:
                    return found
            except NotFound:
                pass
            await self._clock.sleep(LOOK_AGAIN_S)
        return None

    async def _run_step(self, found: Run, note: Note, run: RunStep) -> None:
        advance = self._advance_of(await self._definition(found), found)
        state = advance.state_of(note.branch)
        try:
            output = await run(state.step, advance.payload_of(note.branch))
        except Exception as error:  # whatever a step raises is its answer, and the definition says what follows
            name, cause = type(error).__name__, _cause_of(error)
            if not isinstance(error, InterlockError):
                self._telemetry.error("workflow.step_crashed", name=state.step, error=name)
            await self._advance(note, lambda advance: advance.fail(note.branch, name, cause))
            return
        if not state.waits_for_token:
            await self._advance(note, lambda advance: advance.answer(note.branch, output))

    async def _advance(self, note: Note, change: Change, nonce: str | None = None) -> bool:
        """Work out and write one advance on the newest state; False, and nothing, if nobody waits for the job any more."""
        unclear = False
        for _ in range(ADVANCE_TRIES_MAX):
            run, version = await self._load(note.execution)
            job = run.job(note.branch, note.job)
            if job is None or (nonce is not None and not hmac.compare_digest(job.nonce, nonce)):
                return unclear  # what nobody could tell of is there, and was most likely ours
            advance = self._advance_of(await self._definition(run), run)
            change(advance)
            try:
                await self._write(advance, version)
                return True
            except WriteConflict:
                continue
            except OutcomeUnknown:
                unclear = True
        raise Unavailable("the execution is changing too fast")

    async def _signalled(self, token: str, change: Callable[[Advance, str], None]) -> bool:
        found = parse_token(token)
        if found is None or not found.nonce:
            return False
        note = Note(found.execution, found.branch, found.job, 0, False)
        try:
            return await self._advance(note, lambda advance: change(advance, note.branch), found.nonce)
        except NotFound:
            return False

    # -- what is kept and sent ------------------------------------------------------------------------------------------

    def _advance_of(self, definition: Definition, run: Run) -> Advance:
        return Advance(definition.machine, run, now=self._clock.now(), random=self._random, new_nonce=self._new_nonce)

    async def _write(self, advance: Advance, version: int, more: Sequence[Put] = ()) -> None:
        run = advance.run
        encoded = encode_run(run)
        if len(encoded) > VALUE_BYTES_MAX:
            advance.give_up(TOO_LARGE, f"the execution has {len(encoded)} bytes; {VALUE_BYTES_MAX} is the most")
            encoded = encode_run(run)
        await asyncio.gather(*(self._send(run, errand) for errand in advance.errands))  # so that they share a commit
        first = run.happenings - len(advance.happenings)
        told = [
            Put(_key(run.id, f"happening/{first + n:06d}"), encode_happening(one))
            for n, one in enumerate(advance.happenings)
        ]
        await self._store.commit([Put(_key(run.id, "run"), encoded, version), *more, *told])
        if run.status is Status.FAILED:
            self._telemetry.error("workflow.failed", name=run.id, error=run.error)

    async def _send(self, run: Run, errand: Errand) -> None:
        body = encode_note(Note(run.id, errand.branch, errand.job, run.advances, errand.runs_step))
        wait_ms: Millis = max(0, errand.due - self._clock.now())
        await self._queue.send(QUEUE, body, delay_s=min(wait_ms / SECOND, DELAY_MAX_S))

    async def _load(self, execution: str) -> tuple[Run, int]:
        try:
            item = await self._store.get(_key(execution, "run"))
        except Invalid:
            item = None
        if item is None:
            raise NotFound("no such execution")
        return decode_run(item.value), item.version

    async def _keep(self, definition: Definition) -> None:
        """An execution goes on with the definition it began with, also when the files are newer."""
        if definition.digest in self._kept:
            return
        key = Key(f"workflow-definition/{definition.workflow}", definition.digest)
        if await self._store.get(key) is None:
            with suppress(WriteConflict):  # another worker keeps the same
                await self._store.commit([Put(key, definition.text.encode())])
        self._kept.add(definition.digest)

    async def _definition(self, run: Run) -> Definition:
        known = self._by_digest.get(run.digest)
        if known is None:
            item = await self._store.get(Key(f"workflow-definition/{run.workflow}", run.digest))
            assert item is not None, "it was kept before the execution began"
            known = read_definition(run.workflow, item.value.decode())
            self._by_digest[run.digest] = known
        return known


def _partition(execution: str) -> str:
    return f"workflow/{execution}"


def _key(execution: str, sort: str) -> Key:
    return Key(_partition(execution), sort)


def _cause_of(error: Exception) -> str:
    """What a bug says is for nobody's eyes: there may be anything in it."""
    message = error.detail if isinstance(error, InterlockError) else ""
    cause = {"errorMessage": message[:1_000], "errorType": type(error).__name__}
    return msgspec.json.encode(cause).decode()
