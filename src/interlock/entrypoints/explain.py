"""One payment's whole story: its own timeline, and what became of telling the merchant."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from interlock.bootstrap import Platform
from interlock.core.kernel.clock import rfc3339
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
