"""Reading notifications: each provider's own verification, with the secrets that are valid now."""

from __future__ import annotations

from collections.abc import Mapping

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.errors import NotFound
from interlock.core.kernel.providers import Notification
from interlock.core.kernel.secrets import Secrets
from interlock.providers.protocol import Provider, RawNotification


def credential(provider: str, name: str) -> str:
    """Under which name the Secrets port keeps a provider's credential."""
    return f"provider/{provider}/{name}"


class NotificationReader:
    def __init__(self, providers: Mapping[str, Provider], secrets: Secrets) -> None:
        self._providers = providers
        self._secrets = secrets

    async def read(
        self, provider: str, headers: Mapping[str, str], body: bytes, received_at: Millis
    ) -> list[Notification]:
        """Verify, then parse. Raises NotFound for a provider that is not configured, Unauthenticated for a bad
        signature, Invalid for a signed body that cannot be read."""
        adapter = self._providers.get(provider)
        if adapter is None:
            raise NotFound("no provider of that name is configured")
        name = adapter.signing_secret_name
        valid = {name: await self._secrets.get(credential(provider, name))}
        return adapter.notifications(RawNotification(headers, body, received_at), valid)
