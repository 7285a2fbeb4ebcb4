"""One node of the platform that kills itself, with SIGKILL, at a chosen step between a request and its webhook.

Steps are counted from the first payment on: each write, provider request and webhook counts once before and once after.
Run as `python -m tests.crash.node DATA PORT SIMULATOR_READY_FILE STEP`; step 0 never kills and reports the count instead.
"""

import asyncio
import functools
import os
import signal
import sys
from pathlib import Path

import msgspec
import uvloop

from interlock import bootstrap
from interlock.backends.outbound.sender import AiohttpWebhookSender
from interlock.backends.sqlite.bus import SqliteBus
from interlock.backends.sqlite.documents import SqliteDocuments
from interlock.backends.sqlite.queue import SqliteQueue
from interlock.backends.sqlite.store import SqliteStore
from interlock.bootstrap import keep_credential, open_storage
from interlock.config import ProviderSettings, Settings
from interlock.core.webhooks import delivering
from interlock.entrypoints import local
from interlock.providers.simulator import SimulatorProvider
from interlock.providers.transport import HttpTransport

WATCHED = (
    (SqliteStore, "commit"),
    (SqliteBus, "forward"),
    (SqliteQueue, "send"),
    (SqliteQueue, "ack"),
    (SqliteDocuments, "upsert"),
    (HttpTransport, "send"),
    (AiohttpWebhookSender, "send"),
)


class Steps:
    def __init__(self, kill_at: int, log: Path) -> None:
        self.kill_at = kill_at
        self.log = log
        self.taken = 0
        self.armed = False

    def arm(self, arguments) -> None:
        events = arguments[2] if len(arguments) > 2 else ()
        self.armed = self.armed or any(event.type == "payment.created" for event in events)

    def take(self, what: str) -> None:
        if not self.armed:
            return
        self.taken += 1
        if self.taken == self.kill_at:
            self._tell(f"killed at step {self.taken}: {what}")
            os.kill(os.getpid(), signal.SIGKILL)
        if not self.kill_at:
            self._tell(str(self.taken))

    def _tell(self, text: str) -> None:
        # Whoever reads meanwhile finds what was there before, never an empty file.
        written = self.log.with_suffix(".new")
        written.write_text(text)
        written.replace(self.log)


def watch(steps: Steps) -> None:
    for owner, name in WATCHED:
        original = getattr(owner, name)

        def watched(original, label):
            @functools.wraps(original)
            async def call(*arguments, **named):
                if label == "SqliteStore.commit":
                    steps.arm(arguments)
                steps.take(f"before {label}")
                result = await original(*arguments, **named)
                steps.take(f"after {label}")
                return result

            return call

        setattr(owner, name, watched(original, f"{owner.__name__}.{name}"))


async def credentials(settings: Settings, instances) -> None:
    storage = open_storage(settings)
    for name, instance in instances.items():
        await keep_credential(storage, name, "api_key", instance["api_key"])
        await keep_credential(storage, name, "signing_secret", instance["signing_secrets"][0])
    await storage.close()


def main() -> None:
    data, port, simulator_file, kill_at = sys.argv[1:]
    simulator = msgspec.json.decode(Path(simulator_file).read_bytes())
    providers = tuple(
        ProviderSettings(name, "simulator", instance["base_url"], 0.3, 0.35, 0.4)
        for name, instance in simulator["instances"].items()
    )
    settings = Settings(
        data=data,
        port=int(port),
        providers=providers,
        attempt_deadline_s=1.0,
        sweep_interval_s=0.05,
        webhook_allow_loopback=True,
        webhook_timeout_s=3.0,
    )
    # Leases are for workers that hang; a test has not the patience. The time limits of calls shrink along.
    bootstrap.QUEUES = tuple(spec._replace(lease_s=5.0) for spec in bootstrap.QUEUES)
    delivering.LEASE_BEYOND_TIMEOUT_S = 0.5
    bootstrap.PROVIDER_KINDS = {"simulator": lambda name: SimulatorProvider(name, lookup_settles_after_ms=300)}
    asyncio.run(credentials(settings, simulator["instances"]))
    watch(Steps(int(kill_at), Path(data, "steps")))
    uvloop.run(local.run(settings, simulator=False))


if __name__ == "__main__":
    main()
