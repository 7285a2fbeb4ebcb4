"""Where providers tell us: verified, stored, answered quickly, applied later."""

from __future__ import annotations

import msgspec

from interlock.core.notifications.handlers import Notifications, receive
from interlock.entrypoints.http.routing import Answer, Call, Described, Route

PROVIDER_PATH = {"provider": "[a-z0-9_]{1,40}"}


class Received(msgspec.Struct, frozen=True):
    received: int
    """Notifications in the body, those known already included."""


def notification_routes(n: Notifications) -> tuple[Route, ...]:
    async def take(call: Call) -> Answer:
        return Answer(200, Received(await receive(n, call.path_params["provider"], call.headers, call.raw)))

    return (
        Route(
            method="POST",
            path="/v1/notifications/{provider}",
            endpoint=take,
            operation_id="receiveNotification",
            summary="For providers: news of payments, refunds and disputes",
            description="Authenticated by the provider's own signature over the body, not by a token.",
            reads_body=True,
            accepts=(),
            path_patterns=PROVIDER_PATH,
            answers={200: Described(Received, "Stored; applied in a moment.")},
            problems=(401, 404, 503),
            tags=("notifications",),
            challenge="Signature",
        ),
    )
