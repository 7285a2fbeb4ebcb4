"""Joins the desk, over the same parts as payments."""

from __future__ import annotations

import secrets as randomness
from collections.abc import Awaitable, Callable, Collection
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from interlock.backends.local.hashing import ThreadedHashing
from interlock.backends.local.ids import SystemIds
from interlock.backends.telemetry import PlatformTelemetry
from interlock.config import Settings, SignInSettings
from interlock.core.access.rates import RateLimit, RateLimiter
from interlock.core.desk.alerts.ports import AlertDesk
from interlock.core.desk.figures.remembering import RememberedTallies
from interlock.core.desk.localisation.counting import PAST
from interlock.core.desk.operators.identities import issuer_host
from interlock.core.desk.operators.model import TrustedIssuer
from interlock.core.desk.operators.ports import AtIssuer, Operators
from interlock.core.desk.operators.refusals import Refusals
from interlock.core.desk.operators.roles import Role
from interlock.core.desk.queries.ports import Exports, Queries
from interlock.core.desk.repair.ports import Repairs
from interlock.core.desk.replay.ports import Replays
from interlock.core.desk.slo.counting import CountedAttempts
from interlock.core.desk.slo.ports import Objectives
from interlock.core.kernel.blobs import Blobs
from interlock.core.kernel.clock import Clock
from interlock.core.kernel.documents import Documents, Tallies
from interlock.core.kernel.feed import Feed
from interlock.core.kernel.ids import Ids
from interlock.core.kernel.secrets import Secret, Secrets
from interlock.core.kernel.vault import Vault
from interlock.core.payments.ports import Gateway, Payments
from interlock.core.routing.handlers import Rules
from interlock.core.webhooks.ports import Webhooks
from interlock.core.webhooks.sealing import Safe

ANALYSIS_FOLDER = "analysis"
"""What questions in SQL are asked of: made from exports, a folder in it for each process, and gone with that."""
SIGN_INS_PER_S, SIGN_INS_AT_ONCE = 0.2, 5
"""Tries of one name from one address: somebody who mistypes is not held up, somebody who guesses is."""


class DeskParts(NamedTuple):
    """The means of each part of the desk."""

    operators: Operators
    repairs: Repairs
    replays: Replays
    objectives: Objectives
    alerts: AlertDesk
    queries: Queries | None
    """None where SQL for debugging is not installed."""
    exports: Exports | None
    tallies: Tallies
    """The documents, counted."""
    past: Tallies
    """The same for the time that a drop is held against: what is rare is not told apart."""
    closers: tuple[Callable[[], Awaitable[Any]], ...]


class Stored(Protocol):
    """What of the platform's storage the desk stands on."""

    @property
    def documents(self) -> Documents: ...
    @property
    def tallies(self) -> Tallies: ...
    @property
    def blobs(self) -> Blobs: ...
    @property
    def vault(self) -> Vault | None: ...
    @property
    def histories(self) -> Feed: ...
    @property
    def secrets(self) -> Secrets: ...
    @property
    def scratch(self) -> Path | None: ...


def join_desk(
    settings: Settings, storage: Stored, payments: Payments, webhooks: Webhooks, queues: Collection[str]
) -> DeskParts:
    """What is counted and over is remembered. Questions in SQL are asked of a folder, where there is a disk.

    Raises ValueError for an issuer at an address that we would not call.
    """
    from interlock.backends.outbound.sns import AiohttpSnsSignatures

    store, clock, ids, telemetry = payments.store, payments.clock, payments.ids, payments.telemetry
    past = RememberedTallies(storage.documents, storage.tallies, clock, PAST)
    tallies = RememberedTallies(storage.documents, storage.tallies, clock)
    limiter = RateLimiter(RateLimit(per_s=SIGN_INS_PER_S, burst=SIGN_INS_AT_ONCE))
    analysis = storage.scratch / ANALYSIS_FOLDER if storage.scratch is not None else None
    queries, exports, closers = _queries(payments, storage.blobs, analysis)
    sign_in = settings.sign_in
    at_issuer, forget_keys = _at_issuer(sign_in, storage.secrets, clock) if sign_in else (None, ())
    hashing = ThreadedHashing()
    return DeskParts(
        operators=Operators(
            store=store,
            clock=clock,
            ids=ids,
            token_bytes=randomness.token_bytes,
            limiter=limiter,
            digest_of=hashing.digest_of,
            refusals=Refusals(),
            at_issuer=at_issuer,
            passwords=sign_in is None or sign_in.passwords,
        ),
        repairs=Repairs(payments, webhooks, storage.documents),
        replays=Replays(store, clock, ids, storage.documents, webhooks, webhooks.queue, queues, storage.histories),
        objectives=Objectives(store, clock, ids, telemetry, CountedAttempts(tallies, storage.documents)),
        alerts=AlertDesk(
            store=store,
            clock=clock,
            ids=ids,
            telemetry=telemetry,
            sns=AiohttpSnsSignatures(),
            token_bytes=randomness.token_bytes,
            safe=Safe(storage.vault),
        ),
        queries=queries,
        exports=exports,
        tallies=tallies,
        past=past,
        closers=(*closers, *forget_keys, hashing.close),
    )


async def keep_issuer_secret(secrets: Secrets, value: str) -> None:
    """Store what proves this platform to the issuer at which people sign in."""
    from interlock.backends.outbound.oidc import CLIENT_SECRET

    await secrets.put(CLIENT_SECRET, [Secret(value)])


def _at_issuer(
    sign_in: SignInSettings, secrets: Secrets, clock: Clock
) -> tuple[AtIssuer, tuple[Callable[[], Awaitable[Any]], ...]]:
    from interlock.backends.outbound.oidc import AiohttpIssuer
    from interlock.backends.tokens.id_tokens import JoseIdTokens

    trusted = TrustedIssuer(
        issuer=sign_in.issuer,
        client_id=sign_in.client_id,
        name=sign_in.name or issuer_host(sign_in.issuer),
        scopes=sign_in.scopes,
        role_claim=sign_in.role_claim,
        roles={value: Role(role) for value, role in sign_in.roles.items()},
    )
    signatures = JoseIdTokens(clock)
    return AtIssuer(trusted, AiohttpIssuer(trusted, secrets, clock), signatures), (signatures.close,)


def _queries(
    payments: Payments, blobs: Blobs, analysis: Path | None
) -> tuple[Queries | None, Exports | None, tuple[Callable[[], Awaitable[Any]], ...]]:
    """Nothing of it runs before somebody asks."""
    if analysis is None or find_spec("duckdb") is None or find_spec("sqlglot") is None:
        return None, None, ()
    from interlock.backends.duckdb.analysis import DuckAnalysis
    from interlock.backends.duckdb.files import ParquetFiles

    duck = DuckAnalysis(blobs, payments.clock, analysis)
    queries = Queries(payments.store, payments.clock, payments.ids, duck)
    return queries, Exports(blobs, ParquetFiles()), (duck.close,)


def scratch_payments(gateway: Gateway, clock: Clock, ids: Ids) -> Payments:
    """Payments over a store that nothing survives, for stories told again. They leave no line and no count."""
    from interlock.backends.memory.store import MemoryStore

    store = MemoryStore(clock)
    telemetry = PlatformTelemetry(stream=BytesIO(), level="error", sample_ratio=0.0, otlp_endpoint="")
    return Payments(store, gateway, Rules(store, clock), clock, ids, telemetry)


def fresh_ids(clock: Clock) -> Ids:
    return SystemIds(clock)
