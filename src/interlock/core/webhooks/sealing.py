"""Signing secrets as they stand in the store: sealed where the platform has a vault, in the clear where it has none.

What was stored before there was a vault stays usable, and is sealed when it is rotated.
"""

from __future__ import annotations

from base64 import b64decode, b64encode

from interlock.core.kernel.errors import Invalid, StoreUnavailable
from interlock.core.kernel.secrets import Secret
from interlock.core.kernel.vault import Vault

MARK = "sealed:"
OPENED_MAX = 1_000
"""Secrets a process remembers, so that a webhook need not ask the vault each time."""


class Safe:
    def __init__(self, vault: Vault | None = None) -> None:
        self._vault = vault
        self._opened: dict[tuple[str, str, str], Secret] = {}

    async def put_in(self, secret: Secret, *, tenant: str, endpoint: str) -> Secret:
        """What to store instead of the secret. Raises StoreUnavailable."""
        if self._vault is None:
            return secret
        sealed = await self._vault.seal(secret.reveal().encode(), context=_context(tenant, endpoint))
        return Secret(MARK + b64encode(sealed).decode())

    async def take_out(self, stored: Secret, *, tenant: str, endpoint: str) -> Secret:
        """The secret. Raises StoreUnavailable, also for one that the vault does not open: perhaps it is the wrong vault."""
        text = stored.reveal()
        if not text.startswith(MARK):
            return stored
        place = (tenant, endpoint, text)
        if place not in self._opened:
            secret = await self._open(text, tenant, endpoint)
            if len(self._opened) >= OPENED_MAX:
                self._opened.clear()
            self._opened[place] = secret
        return self._opened[place]

    async def _open(self, text: str, tenant: str, endpoint: str) -> Secret:
        if self._vault is None:
            raise StoreUnavailable(
                f"the signing secret of {endpoint} is sealed, and there is no vault: set aws.vault_key"
            )
        try:
            opened = await self._vault.open(b64decode(text.removeprefix(MARK)), context=_context(tenant, endpoint))
        except Invalid as error:
            raise StoreUnavailable(f"the signing secret of {endpoint} does not open: {error.detail}") from error
        return Secret(opened.decode())


def _context(tenant: str, endpoint: str) -> dict[str, str]:
    return {"what": "webhook-signing-secret", "tenant": tenant, "endpoint": endpoint}
