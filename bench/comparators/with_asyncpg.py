"""Comparator 1: FastAPI, asyncpg and PostgreSQL, written by somebody who wants it to be fast.

Each of the two commits is one prepared statement, which PostgreSQL runs as one transaction in one round trip. Tokens that
were good are remembered; the provider is called with aiohttp over kept connections; JSON is orjson's.
`uvicorn bench.comparators.with_asyncpg:app`, with the environment that `bench/contestants/comparator.py` gives it.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import asyncpg
import orjson
from fastapi import FastAPI, Request, Response

from bench.comparators import wire

PROVIDER = "simulator"
POOL = int(os.environ.get("POOL", "20"))
"""Connections for each process: more make no commit quicker, and each is a process of the database's."""

BEGIN = """
WITH claimed AS (
    INSERT INTO idempotency_keys (tenant, key, fingerprint, payment_id, expires_at)
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant, key) DO NOTHING RETURNING payment_id
), payment AS (
    INSERT INTO payments (id, tenant, status, amount, currency, capture_method, provider, reference, description,
                          metadata, token, version, created_at, updated_at)
    SELECT $4, $1, 'processing', $6, $7, 'automatic', $8, $9, $10, $11, $12, 1, $13, $13 FROM claimed
), attempt AS (
    INSERT INTO attempts (id, payment_id, provider, operation, amount, started_at, deadline)
    SELECT $14, $4, $8, 'authorize', $6, $13, $15 FROM claimed
)
SELECT count(*) FROM claimed
"""
FINISH = """
WITH payment AS (
    UPDATE payments SET status = $2, amount_authorized = $3, amount_captured = $3, provider_reference = $4, card = $5,
                        version = 2, updated_at = $6
    WHERE id = $1 AND version = 1 RETURNING id, tenant
), attempt AS (
    UPDATE attempts SET outcome = $7, attempt_reference = $8, finished_at = $6, deadline = NULL
    FROM payment WHERE attempts.id = $9
), journal AS (
    INSERT INTO journals (id, tenant, payment_id, kind, currency, created_at)
    SELECT $10, tenant, id, 'capture', $11, $6 FROM payment WHERE $3 > 0
), lines AS (
    INSERT INTO journal_lines (journal_id, line, account, amount)
    SELECT $10, line, account, amount
    FROM payment, (VALUES (1, 'provider_receivable:simulator', $3::bigint), (2, 'merchant_payable', -$3::bigint))
        AS posted (line, account, amount) WHERE $3 > 0
), kept AS (
    UPDATE idempotency_keys SET status = $12, response = $13
    FROM payment WHERE idempotency_keys.tenant = payment.tenant AND key = $14
), told AS (
    INSERT INTO outbox (event_id, type, payment_id, version, payload)
    SELECT $15, $16, id, 2, $13 FROM payment
)
SELECT count(*) FROM payment
"""
EARLIER = "SELECT fingerprint, status, response FROM idempotency_keys WHERE tenant = $1 AND key = $2"


@asynccontextmanager
async def lifespan(application: FastAPI) -> AsyncIterator[None]:
    state = application.state
    state.tokens = wire.Tokens(os.environ["PUBLIC_KEY"], remember=True)
    state.charges_url = f"{os.environ['PROVIDER_URL']}/v1/charges"
    state.provider_key = f"Bearer {os.environ['PROVIDER_KEY']}"
    async with (
        asyncpg.create_pool(os.environ["DATABASE"], min_size=POOL, max_size=POOL) as state.pool,
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=15)
        ) as state.session,
    ):
        yield


app = FastAPI(lifespan=lifespan, openapi_url=None)


@app.post("/v1/payments")
async def create_payment(request: Request, command: wire.CreatePayment) -> Response:
    state, headers = request.app.state, request.headers
    try:
        caller = state.tokens.caller(headers.get("authorization", ""))
    except wire.Unauthenticated:
        return refusal(401, "unauthenticated")
    key = headers.get("idempotency-key", "")
    if not 0 < len(key) <= 255:
        return refusal(400, "idempotency_key_missing")
    fingerprint = wire.fingerprint(await request.body())
    payment_id, attempt_id, now = wire.new_id("pay"), wire.new_id("att"), wire.now_ms()
    token = command.payment_method.token
    claimed = await state.pool.fetchval(
        BEGIN,
        caller.tenant, key, fingerprint, payment_id, now + wire.KEPT_MS,
        command.amount, command.currency, PROVIDER, command.reference, command.description,
        orjson.dumps(command.metadata).decode(), token, now, attempt_id, now + wire.DEADLINE_MS,
    )  # fmt: skip
    if not claimed:
        return await replay(state.pool, caller.tenant, key, fingerprint)
    charge = wire.charge(
        attempt_id=attempt_id,
        payment_id=payment_id,
        tenant=caller.tenant,
        amount=command.amount,
        currency=command.currency,
        token=token,
    )
    sent = {"authorization": state.provider_key, "idempotency-key": attempt_id, "content-type": "application/json"}
    try:
        async with state.session.post(state.charges_url, data=orjson.dumps(charge), headers=sent) as reply:
            status, said = reply.status, orjson.loads(await reply.read())
    except (aiohttp.ClientError, TimeoutError, orjson.JSONDecodeError):
        return refusal(202, "processing")  # a sweeper would look the attempt up at its deadline
    approved = status == 201 and said["status"] == "captured" and said["reference"] == attempt_id
    if not approved and status != 402:
        return refusal(202, "processing")
    return await finish(state.pool, command, caller, key, payment_id, attempt_id, now, said, approved=approved)


async def finish(
    pool: asyncpg.Pool,
    command: wire.CreatePayment,
    caller: wire.Caller,
    key: str,
    payment_id: str,
    attempt_id: str,
    created_at: int,
    said: dict[str, Any],
    *,
    approved: bool,
) -> Response:
    """Commit 2, and the answer it kept."""
    now = wire.now_ms()
    captured, status = (command.amount, "succeeded") if approved else (0, "failed")
    outcome, card = "approved" if approved else "declined", said.get("card")
    body = orjson.dumps(
        wire.answer(
            payment_id=payment_id,
            status=status,
            amount=command.amount,
            captured=captured,
            currency=command.currency,
            provider=PROVIDER,
            reference=command.reference,
            description=command.description,
            metadata=command.metadata,
            card=card,
            attempt_id=attempt_id,
            outcome=outcome,
            capture_id=wire.new_id("cap"),
            created_at=created_at,
            updated_at=now,
        )
    )
    written = await pool.fetchval(
        FINISH,
        payment_id, status, captured, said["charge"], orjson.dumps(card).decode(), now, outcome, said["id"], attempt_id,
        wire.new_id("jrn"), command.currency, 201, body, key, wire.new_id("evt"), f"payment.{status}",
    )  # fmt: skip
    if not written:
        return refusal(409, "payment_busy")
    return Response(body, 201, media_type="application/json")


async def replay(pool: asyncpg.Pool, tenant: str, key: str, fingerprint: str) -> Response:
    """The stored answer, if it is the same request and there is one."""
    known = await pool.fetchrow(EARLIER, tenant, key)
    if known["fingerprint"] != fingerprint:
        return refusal(422, "idempotency_key_reused")
    if known["status"] is None:
        return refusal(409, "request_in_flight")
    headers = {"Idempotency-Replayed": "true"}
    return Response(known["response"], known["status"], headers, media_type="application/json")


def refusal(status: int, code: str) -> Response:
    return Response(orjson.dumps({"code": code}), status, media_type="application/json")
