"""Over real sockets: each token through the adapter, each fault as the network shows it, outages, notifications, control."""

import asyncio
import json
import os
import signal
import sys
import time

import aiohttp
import pytest

from interlock.core.kernel.providers import Action, NotificationKind, Outcome
from interlock.providers.protocol import Fault, FaultClass, Phase
from tests.providers.simulator.harness import API_KEY, lookup_of, operation, world

QUICK = {"pending_s": 0.05, "late_approval_s": 0.05, "dispute_s": 0.05, "late_accept_s": 0.3}


@pytest.mark.parametrize(
    ("token", "outcome", "detail", "found"),
    [
        ("tok_approve", Outcome.APPROVED, None, Outcome.APPROVED),
        ("tok_decline_insufficient_funds", Outcome.DECLINED, None, Outcome.DECLINED),
        ("tok_decline_stolen", Outcome.DECLINED, None, Outcome.DECLINED),
        ("tok_3ds", Outcome.REQUIRES_ACTION, None, Outcome.REQUIRES_ACTION),
        ("tok_pending", Outcome.PENDING, None, Outcome.APPROVED),
        ("tok_timeout_after_accept", Outcome.UNKNOWN, "read_timeout", Outcome.APPROVED),
        ("tok_timeout_before_accept", Outcome.UNKNOWN, "read_timeout", Outcome.NOT_SENT),
        ("tok_connect_refused", Outcome.NOT_SENT, "reset", Outcome.NOT_SENT),
        ("tok_error_though_charged", Outcome.UNKNOWN, "http_500", Outcome.APPROVED),
        ("tok_garbage", Outcome.UNKNOWN, "unreadable_answer", Outcome.APPROVED),
        ("tok_rate_limited", Outcome.NOT_SENT, "rate_limited", Outcome.NOT_SENT),
        ("tok_late_approval", Outcome.DECLINED, None, Outcome.APPROVED),
        ("tok_duplicate_notification", Outcome.APPROVED, None, Outcome.APPROVED),
        ("tok_out_of_order_notifications", Outcome.APPROVED, None, Outcome.APPROVED),
        ("tok_notification_before_answer", Outcome.APPROVED, None, Outcome.APPROVED),
        ("tok_dispute", Outcome.APPROVED, None, Outcome.APPROVED),
    ],
)
async def test_token_comes_to_what_the_contract_says(token, outcome, detail, found):
    async with world(notify=False) as running:
        line = running.line()
        op = operation(token=token, capture=True)
        result = await line.call(op)
        assert (result.outcome, result.detail) == (outcome, detail)
        await asyncio.sleep(0.06 if token in ("tok_pending", "tok_late_approval") else 0)
        looked_up = await line.call(lookup_of(op))
        assert looked_up.outcome is found
        row = await running.row(op)
        if token == "tok_connect_refused":
            assert row is None and line.requests[0].phase is Phase.PREPARE and len(line.requests) == 2
        else:
            assert row["times_requested"] == 1
            assert row["times_effected"] == (1 if found is Outcome.APPROVED else 0)


async def test_wrong_amount_is_said_and_the_right_one_found():
    async with world(notify=False) as running:
        line = running.line()
        op = operation(token="tok_wrong_amount", amount=1999)
        assert (await line.call(op)).amount.amount == 2000
        assert (await line.call(lookup_of(op))).amount.amount == 1999


@pytest.mark.parametrize(
    ("fault", "kind", "booked"),
    [
        ("reset_before_accept", FaultClass.RESET, False),
        ("timeout_before_accept", FaultClass.READ_TIMEOUT, False),
        ("reset_after_accept", FaultClass.RESET, True),
        ("timeout_after_accept", FaultClass.READ_TIMEOUT, True),
        ("truncated", FaultClass.TRUNCATED, True),
        ("stalled", FaultClass.READ_TIMEOUT, True),
        ("huge", FaultClass.TOO_LARGE, True),
        ("endless", FaultClass.TOO_LARGE, True),
    ],
)
@pytest.mark.parametrize("action", [Action.AUTHORIZE, Action.CAPTURE, Action.REFUND])
async def test_fault_is_real_on_the_wire(action, fault, kind, booked):
    async with world(notify=False) as running:
        line = running.line(read_timeout_s=0.4 if kind is FaultClass.READ_TIMEOUT else 5)
        first = operation(capture=action is Action.REFUND, amount=1000)
        op = first
        if action is not Action.AUTHORIZE:
            held = await line.call(first)
            op = operation(action, amount=400, provider_reference=held.provider_reference)
        word = {Action.AUTHORIZE: "charge", Action.CAPTURE: "capture", Action.REFUND: "refund"}[action]
        await running.put_faults(operations={word: {fault: 1}})
        result = await line.call(op)
        assert result.outcome is Outcome.UNKNOWN
        assert isinstance(line.replies[-1], Fault) and line.replies[-1].kind is kind, line.replies[-1]
        await running.put_faults()
        found = await line.call(lookup_of(op))
        assert found.outcome is (Outcome.APPROVED if booked else Outcome.NOT_SENT)
        assert (await running.row(op))["times_effected"] == booked
        again = await line.call(op, resend=True)
        assert again.outcome is Outcome.APPROVED
        assert (await running.row(op))["times_effected"] == 1


async def test_hang_ends_by_itself_with_a_reset():
    async with world(notify=False) as running:
        line = running.line(read_timeout_s=4)
        await running.put_faults(hang_s=0.05, operations={"charge": {"timeout_after_accept": 1}})
        started = time.monotonic()
        await line.call(operation())
        assert line.replies[-1].kind is FaultClass.RESET
        assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    "fault", ["unavailable", "garbage", "truncated", "wrong_reference", "rate_limited", "reset_before_accept"]
)
async def test_faulty_lookup_leaves_everything_unknown(fault):
    async with world(notify=False) as running:
        line = running.line()
        op = operation(capture=True)
        await line.call(op)
        await running.put_faults(operations={"lookup": {fault: 1}})
        assert (await line.call(lookup_of(op))).outcome is Outcome.UNKNOWN


async def test_late_acceptance_is_found_only_later():
    async with world(notify=False) as running:
        line = running.line(read_timeout_s=0.05)
        await running.put_faults(**QUICK, operations={"charge": {"late_accept": 1}})
        op = operation()
        assert (await line.call(op)).outcome is Outcome.UNKNOWN
        assert (await line.call(lookup_of(op))).outcome is Outcome.NOT_SENT
        await asyncio.sleep(0.31)
        assert (await line.call(lookup_of(op))).outcome is Outcome.APPROVED


async def test_latency_delays_the_answer():
    async with world(notify=False) as running:
        line = running.line()
        await running.put_faults(latency={"kind": "constant", "ms": 120})
        started = time.monotonic()
        assert (await line.call(operation())).outcome is Outcome.APPROVED
        assert time.monotonic() - started >= 0.12


async def test_outage_refuses_connections_for_real_while_others_and_control_answer():
    async with world(names=("simulator_a", "simulator_b"), notify=False) as running:
        first, second = running.line("simulator_a"), running.line("simulator_b")
        assert (await first.call(operation())).outcome is Outcome.APPROVED
        await running.put_faults(outages=[{"mode": "connect_refused", "for_s": 0.3}])
        op = operation()
        await asyncio.sleep(0.02)
        result = await first.call(op)
        assert (result.outcome, result.detail) == (Outcome.NOT_SENT, "connect")
        assert (await second.call(operation())).outcome is Outcome.APPROVED
        assert await running.row(op) is None
        await asyncio.sleep(0.35)
        assert (await first.call(op)).outcome is Outcome.APPROVED
        assert (await running.row(op))["times_requested"] == 1


async def test_outage_cuts_off_what_is_under_way():
    async with world(notify=False) as running:
        line = running.line(read_timeout_s=5)
        await running.put_faults(latency={"kind": "constant", "ms": 3_000})
        op = operation()
        call = asyncio.create_task(line.call(op))
        async with asyncio.timeout(2):
            while await running.row(op) is None:
                await asyncio.sleep(0.01)
        await running.put_faults(outages=[{"mode": "connect_refused"}])
        result = await call
        assert (result.outcome, line.replies[-1].kind) == (Outcome.UNKNOWN, FaultClass.RESET)
        assert (await running.row(op))["times_effected"] == 1


async def test_many_requests_with_one_key_at_once_charge_once():
    async with world(notify=False) as running:
        await running.put_faults(latency={"kind": "log_normal", "median_ms": 5, "p99_ms": 40})
        line = running.line(read_timeout_s=5)
        op = operation(capture=True)
        results = await asyncio.gather(*(line.call(op) for _ in range(60)))
        assert {result.outcome for result in results} == {Outcome.APPROVED}
        assert len({result.attempt_reference for result in results}) == 1
        row = await running.row(op)
        assert (row["times_requested"], row["times_effected"]) == (60, 1)
        assert (await running.get("/books?view=totals"))["totals"]["EUR"]["captured"] == 1999


async def test_whole_life_of_a_payment():
    async with world(notify=False) as running:
        line = running.line()
        held = await line.call(operation(amount=1000))
        assert (held.outcome, held.captured) == (Outcome.APPROVED, False)
        assert held.authorization_expires_at > time.time() * 1_000
        known = {"provider_reference": held.provider_reference}
        for amount, final in [(300, False), (200, True)]:
            taken = await line.call(operation(Action.CAPTURE, amount=amount, final=final, **known))
            assert (taken.outcome, taken.amount.amount) == (Outcome.APPROVED, amount)
        assert (await line.call(operation(Action.VOID, amount=500, **known))).outcome is Outcome.DECLINED
        assert (
            await line.call(operation(Action.REFUND, amount=501, **known))
        ).decline.code == "refund_exceeds_captured"
        assert (await line.call(operation(Action.REFUND, amount=500, **known))).outcome is Outcome.APPROVED
        totals = (await running.get("/books"))["totals"]["EUR"]
        assert (totals["authorized"], totals["captured"], totals["released"], totals["refunded"]) == (
            1000,
            500,
            500,
            500,
        )


async def test_wrong_api_key_is_refused_and_books_nothing():
    async with world(notify=False) as running:
        base = running.simulator.base_urls["simulator_a"]
        async with running.session.post(
            f"{base}/v1/charges", data=b"{}", headers={"authorization": "Bearer x"}
        ) as reply:
            assert reply.status == 401
        assert (await running.get("/books"))["operations"] == []


# Notifications


async def test_notifications_are_signed_by_every_secret_and_reach_the_instances_path():
    async with world() as running:
        op = operation(capture=True)
        await running.line().call(op)
        (news,) = await running.merchant.wait_for(1)
        assert (news.attempt_id, news.result.outcome, news.result.captured) == (op.attempt_id, Outcome.APPROVED, True)
        assert running.merchant.paths == ["/v1/notifications/simulator_a"]


async def test_notification_is_sent_again_until_it_is_taken():
    async with world() as running:
        running.merchant.refuse = 2
        await running.line().call(operation())
        await running.merchant.wait_for(1)
        assert running.merchant.refuse == 0


async def test_notification_nobody_takes_is_given_up():
    async with world() as running:
        running.merchant.refuse = 1_000
        await running.line().call(operation())
        async with asyncio.timeout(3):
            while (await running.get("/notifications"))["given_up"] == 0:
                await asyncio.sleep(0.02)
        assert running.merchant.refuse == 1_000 - 4


async def test_notification_arrives_before_the_answer():
    async with world() as running:
        await running.line().call(operation(token="tok_notification_before_answer"))
        assert len(running.merchant.news) == 1
        await asyncio.sleep(0.05)
        assert len(running.merchant.news) == 1


async def test_duplicate_notifications_share_their_id():
    async with world() as running:
        await running.line().call(operation(token="tok_duplicate_notification"))
        first, second = await running.merchant.wait_for(2)
        assert first == second


async def test_out_of_order_notifications_end_with_the_older_one():
    async with world() as running:
        await running.line().call(operation(token="tok_out_of_order_notifications"))
        newer, older = await running.merchant.wait_for(2)
        assert (newer.result.outcome, older.result.outcome) == (Outcome.APPROVED, Outcome.PENDING)
        assert older.occurred_at < newer.occurred_at


async def test_news_of_pending_late_and_disputed_charges_comes_by_itself():
    async with world() as running:
        line = running.line()
        for token in ("tok_pending", "tok_late_approval", "tok_dispute"):
            await line.call(operation(token=token, capture=True))
        news = await running.merchant.wait_for(6)
        kinds = sorted(
            one.dispute.status if one.kind is NotificationKind.DISPUTE else one.result.outcome for one in news
        )
        assert kinds == ["approved", "approved", "approved", "declined", "opened", "pending"]


async def test_payers_page_leads_to_approval_and_news():
    async with world() as running:
        line = running.line()
        op = operation(token="tok_3ds", capture=True, return_url="https://shop.example/back")
        url = (await line.call(op)).next_action["url"]
        async with running.session.get(url) as page:
            assert page.status == 200 and page.content_type == "text/html"
            assert f"{url.rpartition('/')[2]}/complete" in await page.text()
        async with running.session.post(
            f"{url}/complete", data={"result": "authenticated"}, allow_redirects=False
        ) as done:
            assert (done.status, done.headers["location"]) == (303, "https://shop.example/back")
        news = await running.merchant.wait_for(2)
        assert news[-1].result.outcome is Outcome.APPROVED
        assert (await line.call(lookup_of(op))).captured


async def test_notification_url_can_be_changed_while_running():
    async with world() as running:
        url = running.simulator.notifier.url
        control = f"{running.simulator.control_url}/notifications"
        async with running.session.put(control, json={"url": None}) as reply:
            assert (await reply.json())["url"] is None
        line = running.line()
        await line.call(operation())
        async with running.session.put(control, json={"url": "gopher://x"}) as reply:
            assert reply.status == 400
        async with running.session.put(control, json={"url": url}) as reply:
            assert reply.status == 200
        second = operation()
        await line.call(second)
        assert [news.attempt_id for news in await running.merchant.wait_for(1)] == [second.attempt_id]


# Control


async def test_control_speaks_for_all_instances_and_for_each():
    async with world(names=("simulator_a", "simulator_b"), notify=False) as running:
        for name in ("simulator_a", "simulator_b"):
            await running.line(name).call(operation(capture=True))
        everything = await running.get("/books")
        assert sorted(row["instance"] for row in everything["operations"]) == ["simulator_a", "simulator_b"]
        assert everything["totals"]["EUR"]["captured"] == 2 * 1999
        assert len((await running.get("/simulator_a/books"))["operations"]) == 1
        async with running.session.put(f"{running.simulator.control_url}/faults", json={"rate": 0.1}) as reply:
            assert reply.status == 200
        assert [shown["rate"] for shown in (await running.get("/faults")).values()] == [0.1, 0.1]
        await running.post("/simulator_a/reset", {})
        assert [row["instance"] for row in (await running.get("/books"))["operations"]] == ["simulator_b"]
        await running.post("/reset", {})
        assert (await running.get("/books"))["operations"] == []
        assert (await running.get("/faults"))["simulator_b"]["rate"] == 0.0


async def test_books_of_one_payment():
    async with world(notify=False) as running:
        line = running.line()
        mine = operation(metadata={"payment_id": "pay_mine", "tenant": "ten_1"})
        await line.call(mine)
        await line.call(operation(metadata={"payment_id": "pay_other", "tenant": "ten_1"}))
        books = await running.get("/books?payment_id=pay_mine")
        assert [row["attempt_id"] for row in books["operations"]] == [mine.attempt_id]
        assert len(books["instances"]["simulator_a"]["charges"]) == 1


async def test_restart_with_kept_books_knows_what_was_charged(tmp_path):
    op = operation(capture=True)
    async with world(books_folder=tmp_path, notify=False) as running:
        await running.line().call(op)
    async with world(books_folder=tmp_path, notify=False) as running:
        line = running.line()
        assert (await line.call(lookup_of(op))).outcome is Outcome.APPROVED
        assert (await line.call(op, resend=True)).outcome is Outcome.APPROVED
        assert (await running.get("/books"))["totals"]["EUR"]["captured"] == 1999


async def test_notification_nobody_took_comes_after_a_restart_and_those_taken_do_not(tmp_path):
    first, second = operation(capture=True), operation(token="tok_late_approval")
    async with world(books_folder=tmp_path) as running:
        line = running.line()
        await line.call(first)
        await running.all_told()
        running.merchant.refuse = 1_000
        await line.call(second)
        await asyncio.sleep(0.06)
        assert (await line.call(lookup_of(second))).outcome is Outcome.APPROVED
    async with world(books_folder=tmp_path) as running:
        news = await running.merchant.wait_for(2)
        assert {one.attempt_id for one in news} == {second.attempt_id}
        assert {one.result.outcome for one in news} == {Outcome.DECLINED, Outcome.APPROVED}
        await running.all_told()
    async with world(books_folder=tmp_path) as running:
        await asyncio.sleep(0.05)
        assert running.merchant.news == []


# The HTTP underneath


async def exchange(running, *pieces):
    """Send raw bytes; all that comes back until the connection ends."""
    port = int(running.simulator.base_urls["simulator_a"].rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer


async def test_pipelined_and_scattered_requests_are_answered_in_order():
    async with world(notify=False) as running:
        await running.put_faults(latency={"kind": "constant", "ms": 20})
        head = f"host: x\r\nauthorization: Bearer {API_KEY.reveal()}\r\n"
        slow = f"GET /v1/operations/att_1 HTTP/1.1\r\n{head}\r\n".encode()
        fast = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        answer = await exchange(running, slow[:10], slow[10:] + slow + fast)
        statuses = [part.split()[0] for part in answer.split(b"HTTP/1.1 ")[1:]]
        assert statuses == [b"404", b"404", b"200"]


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"HELO there\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx-pad: " + b"a" * 40_000 + b"\r\n\r\n", b"431"),
        (b"PUT /faults HTTP/1.1\r\nhost: x\r\ncontent-length: 2000000\r\n\r\n" + b" " * 1_100_000, b"413"),
        (b"PUT /faults HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 3\r\n\r\n\xff{[", b"400"),
    ],
)
async def test_what_is_no_proper_request_is_refused(sent, status):
    async with world(notify=False) as running:
        port = int(running.simulator.base_urls["simulator_a"].rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        async with asyncio.timeout(5):
            line = await reader.readline()
        writer.close()
        assert line.split()[1] == status
        assert (await running.get("/healthz"))["status"] == "ok"


async def test_client_that_leaves_early_harms_nobody():
    async with world(notify=False) as running:
        await running.put_faults(latency={"kind": "constant", "ms": 50}, operations={"charge": {"endless": 1}})
        lines = [running.line(read_timeout_s=0.02) for _ in range(5)]
        await asyncio.gather(*(line.call(operation()) for line in lines))
        await asyncio.sleep(0.1)
        assert (await running.get("/healthz"))["status"] == "ok"


# As a program


async def test_program_starts_answers_keeps_its_secrets_and_stops_on_sigterm(tmp_path):
    ready = tmp_path / "ready.json"
    (tmp_path / "faults.json").write_text(json.dumps({"rates": {"garbage": 1}}))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "interlock.simulator", "--names", "simulator_a,simulator_b", "--ready-file", str(ready),
        "--books", str(tmp_path / "books"), "--faults", str(tmp_path / "faults.json"),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(20):
            while not ready.exists():
                assert process.returncode is None, await process.stderr.read()
                await asyncio.sleep(0.05)
        assert os.stat(ready).st_mode & 0o777 == 0o600
        told = json.loads(ready.read_text())
        one = told["instances"]["simulator_b"]
        headers = {"authorization": f"Bearer {one['api_key']}", "idempotency-key": "att_1"}
        body = {"reference": "att_1", "amount": 5, "currency": "EUR", "token": "tok_approve"}
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{one['base_url']}/v1/charges", json=body, headers=headers) as reply:
                assert (reply.status, reply.content_type) == (200, "text/html")
            async with session.get(f"{told['control_url']}/simulator_b/v1/operations/att_1", headers=headers) as reply:
                assert (await reply.json())["status"] == "authorized"
        assert (tmp_path / "books" / "simulator_b.jsonl").stat().st_size > 0
    finally:
        process.send_signal(signal.SIGTERM)
        out, errors = await asyncio.wait_for(process.communicate(), 10)
    assert process.returncode == 0 and errors == b""
    assert one["api_key"].encode() not in out and one["signing_secrets"][0].encode() not in out


@pytest.mark.parametrize("wrong", [["--names", "a,a"], ["--names", "a/b"], ["--secrets-file", "/nonexistent/file"]])
async def test_program_that_cannot_start_says_why_and_exits_2(wrong):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "interlock.simulator", *wrong, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2 and errors.startswith(b"the simulator cannot start: ")
