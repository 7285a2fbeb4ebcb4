"""Amazon SNS, as far as receiving its messages needs the network: certificates fetched and believed, subscriptions confirmed.

Core has checked before that the addresses are Amazon's own. Source: https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
(checked 2026-11-27)
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Awaitable, Callable

import aiohttp
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256

from interlock.core.desk.alerts.sns import SnsMessage, string_to_sign
from interlock.core.kernel.errors import Unauthenticated, Unavailable

Fetch = Callable[[str], Awaitable[bytes]]

CERTIFICATE_BYTES_MAX = 32_768
CERTIFICATES_MAX = 20
TIMEOUT_S = 5.0
KEY_BITS_MIN = 2_048


class AiohttpSnsSignatures:
    """Implements SnsSignatures."""

    def __init__(self, fetch: Fetch | None = None) -> None:
        """`fetch` gets what is at an address, without following a redirect; over HTTPS if not given."""
        self._fetch = fetch or _get
        self._keys: dict[str, RSAPublicKey] = {}

    async def verify(self, message: SnsMessage) -> None:
        key = self._keys.get(message.signing_cert_url)
        if key is None:
            key = _key_in(await self._fetch(message.signing_cert_url))
            if len(self._keys) >= CERTIFICATES_MAX:
                self._keys.clear()
            self._keys[message.signing_cert_url] = key
        # Version 1 is what SNS signs by unless a topic says otherwise, and SHA-1 is what it means by it.
        algorithm = SHA1() if message.signature_version == "1" else SHA256()  # noqa: S303
        try:
            key.verify(b64decode(message.signature, validate=True), string_to_sign(message), PKCS1v15(), algorithm)
        except (InvalidSignature, NotBase64, ValueError):
            raise Unauthenticated("the message is not signed by Amazon SNS", code="bad_signature") from None

    async def confirm(self, subscribe_url: str) -> None:
        await self._fetch(subscribe_url)


def _key_in(raw: bytes) -> RSAPublicKey:
    try:
        key = x509.load_pem_x509_certificate(raw).public_key()
    except ValueError:
        raise Unauthenticated("there is no certificate where the message says", code="bad_signature") from None
    if not isinstance(key, RSAPublicKey) or key.key_size < KEY_BITS_MIN:
        raise Unauthenticated("the certificate's key is not one SNS signs with", code="bad_signature")
    return key


async def _get(url: str) -> bytes:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S), trust_env=False) as session,
            session.get(url, allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise Unavailable(f"Amazon SNS answered {answer.status}", retry_after_s=5)
            return await answer.content.read(CERTIFICATE_BYTES_MAX)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unavailable("Amazon SNS cannot be reached", retry_after_s=5) from error
