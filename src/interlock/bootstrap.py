"""Joins the parts: the only file that names every adapter.

What takes long to load, clients of HTTP and cryptography, is imported where it is made: importing this module costs a
process little, and `open_platform` has loaded all of it before the first request.
"""

from __future__ import annotations

import asyncio
import random
import secrets as randomness
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from interlock import __version__
from interlock.backends.asl.messages import QUEUE_SPEC as WORKFLOWS_QUEUE_SPEC
from interlock.backends.local.blobs import FileBlobs
from interlock.backends.local.clock import SystemClock
from interlock.backends.local.ids import SystemIds
from interlock.backends.local.secrets import FileSecrets
from interlock.backends.sqlite import bus as sqlite_bus
from interlock.backends.sqlite import queue as sqlite_queue
from interlock.backends.sqlite import store as sqlite_store
from interlock.backends.sqlite.bus import SqliteBus
from interlock.backends.sqlite.database import Database
from interlock.backends.sqlite.documents import SqliteDocuments
from interlock.backends.sqlite.documents import schema as documents_schema
from interlock.backends.sqlite.observations import SqliteObservations
from interlock.backends.sqlite.queue import SqliteQueue
from interlock.backends.sqlite.store import SqliteFeed, SqliteStore
from interlock.backends.telemetry import PlatformTelemetry
from interlock.bootstrap_desk import DeskParts, join_desk
from interlock.config import ProviderSettings, Settings
from interlock.core.access.callers import Callers
from interlock.core.access.claims import OwnIssuer
from interlock.core.access.model import ExternalIssuer
from interlock.core.access.ports import Access
from interlock.core.access.rates import RateLimit, RateLimiter
from interlock.core.desk.explain.ports import Observations
from interlock.core.desk.figures import model as figures
from interlock.core.kernel.alarms import Alarms
from interlock.core.kernel.blobs import Blobs
from interlock.core.kernel.bus import Bus, Forwards, Prunes, SharesEvents
from interlock.core.kernel.clock import Clock
from interlock.core.kernel.documents import Documents, Tallies
from interlock.core.kernel.feed import Feed
from interlock.core.kernel.ids import Ids
from interlock.core.kernel.queue import EndsLeases, Queue, QueueSpec, TakesRecords
from interlock.core.kernel.secrets import Secret, Secrets
from interlock.core.kernel.store import DropsExpired, Store
from interlock.core.kernel.vault import Vault
from interlock.core.kernel.workflows import RunsSteps, Workflows
from interlock.core.ledger import projection as ledger_projection
from interlock.core.notifications.handlers import Notifications
from interlock.core.notifications.model import QUEUE as NOTIFICATIONS_QUEUE
from interlock.core.payments import projection as payments_projection
from interlock.core.payments.decisions import Timing
from interlock.core.payments.ports import Payments
from interlock.core.reconciliation.ports import Reconciliation
from interlock.core.routing.handlers import Rules
from interlock.core.webhooks import events as webhook_events
from interlock.core.webhooks.ports import QUEUE_SPEC as WEBHOOKS_QUEUE_SPEC
from interlock.core.webhooks.ports import Webhooks, WebhookSender
from interlock.core.webhooks.sealing import Safe
from interlock.core.webhooks.subscriptions import Subscriptions
from interlock.core.webhooks.traffic import Traffic
from interlock.providers.engine import ProviderConfig, ProviderEngine
from interlock.providers.protocol import Provider
from interlock.providers.reader import NotificationReader, credential
from interlock.providers.simulator import SimulatorProvider
from interlock.providers.stripe import StripeProvider

if TYPE_CHECKING:
    from interlock.backends.asl.workflows import LocalWorkflows
    from interlock.backends.aws.parking import Reminders
    from interlock.backends.tokens.signatures import JoseTokens

DATABASE_FILE = "interlock.db"
OBSERVATIONS_FILE = "observations.db"
SECRETS_FILE = "secrets.json"
BLOBS_FOLDER = "blobs"
AUDIENCE = "interlock"
COLLECTIONS = (
    *payments_projection.COLLECTIONS,
    *webhook_events.COLLECTIONS,
    ledger_projection.JOURNALS,
    *figures.COLLECTIONS,
)
QUEUES = (QueueSpec(NOTIFICATIONS_QUEUE, lease_s=60.0, attempts_max=25), WEBHOOKS_QUEUE_SPEC, WORKFLOWS_QUEUE_SPEC)
WORKFLOWS_FOLDER = Path(__file__).parents[2] / "workflows"
DEFINITION = ".asl.json"
PROVIDER_KINDS: Mapping[str, Callable[[str], Provider]] = {"simulator": SimulatorProvider, "stripe": StripeProvider}


class Storage(NamedTuple):
    """What remembers and carries, without anything that calls out: enough for tools that look at stored data."""

    clock: Clock
    ids: Ids
    telemetry: PlatformTelemetry
    store: Store
    feed: Feed
    histories: Feed
    """Every event there ever was: the feed itself, or another way to what a stream has forgotten."""
    bus: Bus
    queue: Queue
    documents: Documents
    tallies: Tallies
    """The documents, too."""
    blobs: Blobs
    secrets: Secrets
    closers: tuple[Callable[[], Awaitable[Any]], ...]
    observations: Observations
    """What telemetry said of payments."""
    observations_timeout_s: float = 0.25
    """A story does not wait longer for them."""
    database: Database | None = None
    """The file everything stands in, on one machine."""
    scratch: Path | None = None  # for what need not last, where there is a disk
    expiring: DropsExpired | None = None
    pruning: Prunes | None = None
    leases: EndsLeases | None = None
    forwarding: Forwards | None = None
    """The bus, if it can point at events."""
    reminders: Reminders | None = None
    """Of what the store has parked, where it parks anything."""
    vault: Vault | None = None
    """Where there is none, signing secrets stand in the store in the clear."""
    alarms: Alarms | None = None
    """Where people are told by more than log lines and metrics."""
    sharing: SharesEvents | None = None
    """Where others may have rules for events."""
    records: TakesRecords | None = None
    """The queue, if its messages may come to a function."""

    async def close(self) -> None:
        for close in self.closers:
            await close()
        self.telemetry.close()


class Platform(NamedTuple):
    """Everything, joined."""

    settings: Settings
    storage: Storage
    engine: ProviderEngine
    payments: Payments
    notifications: Notifications
    webhooks: Webhooks
    reconciliation: Reconciliation
    desk: DeskParts
    workflows: Workflows
    steps_here: RunsSteps | None
    """The runner of workflows, if their steps run in this platform's worker."""
    access: Access
    callers: Callers
    tokens: JoseTokens
    issuer: str
    closers: tuple[Callable[[], Awaitable[Any]], ...]

    async def close(self) -> None:
        """Let go of everything, what calls out first. What is recorded stays recorded."""
        for close in self.closers:
            await close()
        await self.storage.close()


def open_storage(settings: Settings, *, log: BinaryIO | None = None, shared: bool = False) -> Storage:
    """Open, or make, the data folder; log lines go to `log` or to standard output.

    `shared`: another process runs the rest of the platform on it, and what it commits is to be noticed at once.

    Raises StoreUnavailable when it cannot be used.
    """
    clock = SystemClock()
    ids = SystemIds(clock)
    folder = Path(settings.data)

    def lost(count: int) -> None:
        telemetry.count("interlock_observations_lost_total", count)

    observations = SqliteObservations(
        folder / OBSERVATIONS_FILE,
        clock=clock,
        days=settings.observations_days,
        bytes_max=settings.observations_mb * 2**20,
        lost=lost,
    )
    telemetry = PlatformTelemetry(
        stream=log,
        level=settings.log_level,
        sample_ratio=settings.trace_sample_ratio,
        otlp_endpoint=settings.otlp_endpoint,
        observer=observations if settings.observations_days else None,
    )
    schemas = (sqlite_store.SCHEMA, sqlite_bus.SCHEMA, sqlite_queue.SCHEMA, documents_schema(COLLECTIONS))
    database = Database.open(folder / DATABASE_FILE, schemas=schemas, clock=clock, telemetry=telemetry, shared=shared)
    store, bus = SqliteStore(database), SqliteBus(database, clock)
    queue = SqliteQueue(database, QUEUES, clock=clock, ids=ids)
    feed = SqliteFeed(database, clock=clock)
    documents = SqliteDocuments(database, COLLECTIONS)
    return Storage(
        clock=clock,
        ids=ids,
        telemetry=telemetry,
        closers=(database.close, observations.close),
        observations=observations,
        database=database,
        scratch=folder,
        store=store,
        feed=feed,
        histories=feed,
        bus=bus,
        queue=queue,
        documents=documents,
        tallies=documents,
        blobs=FileBlobs(folder / BLOBS_FOLDER),
        secrets=FileSecrets(folder / SECRETS_FILE),
        expiring=store,
        pruning=bus,
        forwarding=bus,
        leases=queue,
    )


async def keep_credential(storage: Storage, provider: str, name: str, value: str) -> None:
    """Store a provider's credential under the name its adapter looks for."""
    await storage.secrets.put(credential(provider, name), [Secret(value)])


async def open_platform(
    settings: Settings, storage: Storage, *, issuer: str, workflows: Workflows | None = None, alone: bool = True
) -> Platform:
    """Join everything. `issuer` is the URL at which this platform is reached and which its tokens name.

    `workflows` run elsewhere; without them this platform's worker runs them. `alone`: there is one worker.

    Raises ValueError for providers that lack credentials or have an address we would not call.
    """
    clock, ids, telemetry, store = storage.clock, storage.ids, storage.telemetry, storage.store
    providers = {one.name: PROVIDER_KINDS[one.kind](one.name) for one in settings.providers}
    engine = ProviderEngine(
        {
            one.name: (providers[one.name], await _provider_config(one, providers[one.name], storage.secrets))
            for one in settings.providers
        },
        clock=clock,
        telemetry=telemetry,
    )
    payments = Payments(
        store=store,
        gateway=engine,
        rules=Rules(store, clock),
        clock=clock,
        ids=ids,
        telemetry=telemetry,
        timing=Timing(
            attempt_ms=round(settings.attempt_deadline_s * 1000),
            action_ms=round(settings.action_deadline_s * 1000),
            # For the same reason: whoever looks an attempt up is gone when another one does.
            lease_ms=round(settings.attempt_deadline_s * 1000),
        ),
        release=settings.release or __version__,
    )
    from interlock.backends.outbound.sender import AiohttpWebhookSender

    sender = AiohttpWebhookSender(clock=clock, allow_loopback=settings.webhook_allow_loopback)
    access, tokens = _access(settings, storage, issuer)
    local = _workflows(storage) if workflows is None else None
    runner: Workflows | None = workflows or local
    assert runner is not None
    webhooks = _webhooks(settings, storage, sender, alone=alone)
    queues = [one.name for one in QUEUES if local is not None or one is not WORKFLOWS_QUEUE_SPEC]
    desk = join_desk(settings, storage, payments, webhooks, queues)
    return Platform(
        settings=settings,
        storage=storage,
        engine=engine,
        payments=payments,
        notifications=Notifications(
            payments, storage.documents, storage.queue, NotificationReader(providers, storage.secrets)
        ),
        webhooks=webhooks,
        desk=desk,
        reconciliation=Reconciliation(store, storage.blobs, clock, ids, telemetry),
        workflows=runner,
        steps_here=local,
        access=access,
        callers=Callers(
            tokens=tokens,
            store=store,
            clock=clock,
            own=access.own,
            limiter=RateLimiter(RateLimit(settings.rate_limit_per_s, settings.rate_limit_burst)),
        ),
        tokens=tokens,
        issuer=issuer,
        closers=(sender.close, engine.close, tokens.close, *desk.closers),
    )


def queue_names(platform: Platform) -> tuple[str, ...]:
    return tuple(platform.desk.replays.queues)  # those there are: workflows that run elsewhere need none


def access_of(settings: Settings, storage: Storage, *, issuer: str) -> Access:
    """The means of client and key administration alone, for the command line."""
    return _access(settings, storage, issuer)[0]


def _access(settings: Settings, storage: Storage, issuer: str) -> tuple[Access, JoseTokens]:
    from interlock.backends.tokens.jose import JoseKeys
    from interlock.backends.tokens.signatures import JoseAssertions, JoseTokens

    external = settings.external_issuer
    tokens = JoseTokens(
        storage.secrets,
        storage.clock,
        issuer=issuer,
        external=[
            ExternalIssuer(
                external.issuer, external.jwks_uri, external.audience, external.tenant_claim, external.scope_claim
            )
        ]
        if external
        else (),
    )
    access = Access(
        store=storage.store,
        secrets=storage.secrets,
        clock=storage.clock,
        ids=storage.ids,
        token_bytes=randomness.token_bytes,
        tokens=tokens,
        assertions=JoseAssertions(),
        keys=JoseKeys(randomness.token_bytes),
        own=OwnIssuer(issuer, AUDIENCE),
        assertion_audiences=(issuer, f"{issuer}/oauth/token"),
    )
    return access, tokens


def _webhooks(settings: Settings, storage: Storage, sender: WebhookSender, *, alone: bool) -> Webhooks:
    return Webhooks(
        store=storage.store,
        queue=storage.queue,
        documents=storage.documents,
        sender=sender,
        clock=storage.clock,
        ids=storage.ids,
        telemetry=storage.telemetry,
        random=random.random,
        random_bytes=randomness.token_bytes,
        subscriptions=Subscriptions(storage.store),
        traffic=Traffic(),
        safe=Safe(storage.vault),
        timeout_s=settings.webhook_timeout_s,
        allow_loopback=settings.webhook_allow_loopback,
        together=_together,
        alone=alone,
    )


def _workflows(storage: Storage) -> LocalWorkflows:
    from interlock.backends.asl.definition import read_definition
    from interlock.backends.asl.workflows import LocalWorkflows

    files = sorted(WORKFLOWS_FOLDER.glob(f"*{DEFINITION}"))
    return LocalWorkflows(
        storage.store,
        storage.queue,
        [read_definition(file.name.removesuffix(DEFINITION), file.read_text(encoding="utf-8")) for file in files],
        clock=storage.clock,
        telemetry=storage.telemetry,
        random=random.random,
        new_nonce=lambda: randomness.token_hex(16),
    )


async def _provider_config(one: ProviderSettings, provider: Provider, secrets: Secrets) -> ProviderConfig:
    credentials: dict[str, Secret] = {}
    for name in provider.credential_names:
        values = await secrets.get(credential(one.name, name))
        if not values:
            raise ValueError(f"provider {one.name} lacks its {name}: interlock secrets set {one.name} {name}")
        credentials[name] = values[0]
    return ProviderConfig(
        name=one.name,
        base_url=one.base_url,
        credentials=credentials,
        connect_timeout_s=one.connect_timeout_s,
        read_timeout_s=one.read_timeout_s,
        total_timeout_s=one.total_timeout_s,
    )


async def _together(work: Sequence[Awaitable[Any]]) -> None:
    await asyncio.gather(*work)
