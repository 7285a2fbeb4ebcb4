"""One payment's whole story: its own timeline, what became of telling the merchant, and what was observed meanwhile."""

from __future__ import annotations

import asyncio

import msgspec
from msgspec.structs import replace

from interlock.bootstrap import Platform
from interlock.core.desk.explain.model import LINES_MAX, Explained, Observed
from interlock.core.desk.explain.views import explained
from interlock.core.kernel.clock import MINUTE, rfc3339
from interlock.core.kernel.errors import InterlockError
from interlock.core.payments.handlers import load_payment
from interlock.core.payments.timeline import Timeline, TimelineEntry, timeline
from interlock.core.webhooks.listing import deliveries_of
from interlock.core.webhooks.views import delivery_view


async def explain_payment(platform: Platform, tenant: str, payment_id: str) -> Timeline:
    """Raises NotFound, also for another tenant's payment."""
    held = await load_payment(platform.payments, tenant, payment_id)
    story = timeline(held.payment, await platform.storage.store.history(payment_id))
    told = []
    for delivery in await deliveries_of(platform.webhooks, tenant, payment_id):
        view = delivery_view(delivery)
        told.append(
            TimelineEntry(
                at=rfc3339(delivery.created_at),
                kind="delivery",
                title=f"{view.type} to {view.endpoint}: {view.status}, {view.attempts_total} attempts",
                event=delivery.event,
                delivery=msgspec.to_builtins(view),
            )
        )
    # A stable sort: what has the same instant stays in the order in which it was found.
    return replace(story, entries=sorted([*story.entries, *told], key=lambda entry: entry.at))


async def explain_with_observations(platform: Platform, tenant: str, payment_id: str) -> Explained:
    """For people of the platform: merchants have no use for its log. Raises NotFound.

    The story is whole without log lines and spans, so it neither waits long nor fails for them.
    """
    story = await explain_payment(platform, tenant, payment_id)
    storage = platform.storage
    held = await load_payment(platform.payments, tenant, payment_id)
    try:
        async with asyncio.timeout(storage.observations_timeout_s):
            observed = await storage.observations.of_payment(
                payment_id,
                since=held.payment.created_at - MINUTE,
                until=storage.clock.now() + MINUTE,
                limit=LINES_MAX,
            )
    except TimeoutError:
        return explained(story, Observed(), "Log lines could not be read in time.")
    except InterlockError:
        return explained(story, Observed(), "Log lines could not be read.")
    return explained(story, observed)
