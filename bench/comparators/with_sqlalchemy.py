"""Comparator 2: FastAPI, the SQLAlchemy ORM and httpx, the way tutorials and most services have it.

A session for each request, objects changed and flushed, dependencies for the caller and the session, each token checked
each time. `uvicorn bench.comparators.with_sqlalchemy:app`, with the environment that `bench/contestants/comparator.py` gives it.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import httpx
from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy import BigInteger, Identity, LargeBinary
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from bench.comparators import wire

PROVIDER = "simulator"


class Row(DeclarativeBase):
    type_annotation_map = {int: BigInteger}  # noqa: RUF012 - SQLAlchemy's own way


class Payment(Row):
    __tablename__ = "payments"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    status: Mapped[str]
    amount: Mapped[int]
    currency: Mapped[str]
    amount_authorized: Mapped[int] = mapped_column(default=0)
    amount_captured: Mapped[int] = mapped_column(default=0)
    capture_method: Mapped[str]
    provider: Mapped[str]
    provider_reference: Mapped[str | None]
    reference: Mapped[str | None]
    description: Mapped[str | None]
    metadata_: Mapped[str] = mapped_column("metadata")
    token: Mapped[str]
    card: Mapped[str | None]
    version: Mapped[int] = mapped_column()
    created_at: Mapped[int]
    updated_at: Mapped[int]
    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy's own way, as above


class Attempt(Row):
    __tablename__ = "attempts"
    id: Mapped[str] = mapped_column(primary_key=True)
    payment_id: Mapped[str]
    provider: Mapped[str]
    operation: Mapped[str]
    amount: Mapped[int]
    outcome: Mapped[str | None]
    attempt_reference: Mapped[str | None]
    started_at: Mapped[int]
    finished_at: Mapped[int | None]
    deadline: Mapped[int | None]


class IdempotencyKey(Row):
    __tablename__ = "idempotency_keys"
    tenant: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    payment_id: Mapped[str]
    status: Mapped[int | None]
    response: Mapped[bytes | None] = mapped_column(LargeBinary)
    expires_at: Mapped[int]


class Journal(Row):
    __tablename__ = "journals"
    id: Mapped[str] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    payment_id: Mapped[str]
    kind: Mapped[str]
    currency: Mapped[str]
    created_at: Mapped[int]


class JournalLine(Row):
    __tablename__ = "journal_lines"
    journal_id: Mapped[str] = mapped_column(primary_key=True)
    line: Mapped[int] = mapped_column(primary_key=True)
    account: Mapped[str]
    amount: Mapped[int]


class Outbox(Row):
    __tablename__ = "outbox"
    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    event_id: Mapped[str]
    type: Mapped[str]
    payment_id: Mapped[str]
    version: Mapped[int]
    payload: Mapped[bytes] = mapped_column(LargeBinary)


@asynccontextmanager
async def lifespan(application: FastAPI) -> AsyncIterator[None]:
    state = application.state
    state.tokens = wire.Tokens(os.environ["PUBLIC_KEY"], remember=False)
    url = os.environ["DATABASE"].replace("postgresql://", "postgresql+asyncpg://", 1)
    engine = create_async_engine(url, pool_size=20, max_overflow=0)
    state.sessions = async_sessionmaker(engine, expire_on_commit=False)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    headers = {"authorization": f"Bearer {os.environ['PROVIDER_KEY']}"}
    async with httpx.AsyncClient(
        base_url=os.environ["PROVIDER_URL"], headers=headers, timeout=15, limits=limits
    ) as state.provider:
        yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan, openapi_url=None)


def current_caller(request: Request, authorization: Annotated[str, Header()] = "") -> wire.Caller:
    try:
        caller: wire.Caller = request.app.state.tokens.caller(authorization)
    except wire.Unauthenticated as error:
        raise HTTPException(401, "unauthenticated") from error
    return caller


async def session_of(request: Request) -> AsyncIterator[AsyncSession]:
    async with request.app.state.sessions() as session:
        yield session


@app.post("/v1/payments", status_code=201)
async def create_payment(
    request: Request,
    command: wire.CreatePayment,
    caller: Annotated[wire.Caller, Depends(current_caller)],
    session: Annotated[AsyncSession, Depends(session_of)],
    idempotency_key: Annotated[str, Header(min_length=1, max_length=255)],
) -> Response:
    fingerprint = wire.fingerprint(await request.body())
    now = wire.now_ms()
    payment = Payment(
        id=wire.new_id("pay"),
        tenant=caller.tenant,
        status="processing",
        amount=command.amount,
        currency=command.currency,
        capture_method="automatic",
        provider=PROVIDER,
        reference=command.reference,
        description=command.description,
        metadata_=json.dumps(command.metadata),
        token=command.payment_method.token,
        created_at=now,
        updated_at=now,
    )
    attempt = Attempt(
        id=wire.new_id("att"),
        payment_id=payment.id,
        provider=PROVIDER,
        operation="authorize",
        amount=command.amount,
        started_at=now,
        deadline=now + wire.DEADLINE_MS,
    )
    async with session.begin():
        claim = insert(IdempotencyKey).values(
            tenant=caller.tenant,
            key=idempotency_key,
            fingerprint=fingerprint,
            payment_id=payment.id,
            expires_at=now + wire.KEPT_MS,
        )
        claimed = await session.scalar(claim.on_conflict_do_nothing().returning(IdempotencyKey.key))
        if claimed is not None:
            session.add_all([payment, attempt])
    if claimed is None:
        return await replay(session, caller.tenant, idempotency_key, fingerprint)
    charge = wire.charge(
        attempt_id=attempt.id,
        payment_id=payment.id,
        tenant=caller.tenant,
        amount=command.amount,
        currency=command.currency,
        token=command.payment_method.token,
    )
    try:
        reply = await request.app.state.provider.post(
            "/v1/charges", json=charge, headers={"idempotency-key": attempt.id}
        )
        said = reply.json()
    except (httpx.HTTPError, ValueError):
        return JSONResponse({"code": "processing"}, 202)  # a sweeper would look the attempt up at its deadline
    approved = reply.status_code == 201 and said["status"] == "captured" and said["reference"] == attempt.id
    if not approved and reply.status_code != 402:
        return JSONResponse({"code": "processing"}, 202)
    return await finish(session, command, payment, attempt, idempotency_key, said, approved=approved)


async def finish(
    session: AsyncSession,
    command: wire.CreatePayment,
    payment: Payment,
    attempt: Attempt,
    idempotency_key: str,
    said: dict[str, Any],
    *,
    approved: bool,
) -> Response:
    """Commit 2, and the answer it kept."""
    now = wire.now_ms()
    async with session.begin():
        payment.status = "succeeded" if approved else "failed"
        payment.amount_authorized = payment.amount_captured = command.amount if approved else 0
        payment.provider_reference = said["charge"]
        payment.card = json.dumps(said.get("card"))
        payment.updated_at = attempt.finished_at = now
        attempt.outcome = "approved" if approved else "declined"
        attempt.attempt_reference = said["id"]
        attempt.deadline = None
        if approved:
            journal = Journal(
                id=wire.new_id("jrn"),
                tenant=payment.tenant,
                payment_id=payment.id,
                kind="capture",
                currency=payment.currency,
                created_at=now,
            )
            owed = JournalLine(
                journal_id=journal.id, line=1, account=f"provider_receivable:{PROVIDER}", amount=payment.amount
            )
            due = JournalLine(journal_id=journal.id, line=2, account="merchant_payable", amount=-payment.amount)
            session.add_all([journal, owed, due])
        body = json.dumps(
            wire.answer(
                payment_id=payment.id,
                status=payment.status,
                amount=payment.amount,
                captured=payment.amount_captured,
                currency=payment.currency,
                provider=PROVIDER,
                reference=payment.reference,
                description=payment.description,
                metadata=command.metadata,
                card=said.get("card"),
                attempt_id=attempt.id,
                outcome=attempt.outcome,
                capture_id=wire.new_id("cap"),
                created_at=payment.created_at,
                updated_at=now,
            ),
            separators=(",", ":"),
        ).encode()
        record = await session.get_one(IdempotencyKey, (payment.tenant, idempotency_key))
        record.status, record.response = 201, body
        session.add(
            Outbox(
                event_id=wire.new_id("evt"),
                type=f"payment.{payment.status}",
                payment_id=payment.id,
                version=2,
                payload=body,
            )
        )
    return Response(body, 201, media_type="application/json")


async def replay(session: AsyncSession, tenant: str, key: str, fingerprint: str) -> Response:
    """The stored answer, if it is the same request and there is one."""
    async with session.begin():
        known = await session.get_one(IdempotencyKey, (tenant, key))
    if known.fingerprint != fingerprint:
        return JSONResponse({"code": "idempotency_key_reused"}, 422)
    if known.status is None:
        return JSONResponse({"code": "request_in_flight"}, 409)
    headers = {"Idempotency-Replayed": "true"}
    return Response(known.response, known.status, headers, media_type="application/json")
