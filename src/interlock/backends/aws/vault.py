"""The Vault on KMS, which the vault's key never leaves.

Each is encrypted here (AES-256-GCM) with a key of its own, which KMS made and stands beside it encrypted under the vault's. Both
are bound to a context: what was sealed for one place opens in no other.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from interlock.backends.aws.calls import Calls, Refused
from interlock.core.kernel.errors import Invalid, StoreUnavailable

PLAINTEXT_BYTES_MAX = 65_536
CONTEXT_PAIRS_MAX = 8
_FORMAT = b"\x01"
_NONCE_BYTES, _LENGTH_BYTES, _TAG_BYTES = 12, 2, 16
NO_KEY = {"NotFoundException": "key"}
"""For `Calls`."""
FOREIGN = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})


class KmsVaultKey:
    def __init__(self, calls: Calls, key_id: str, *, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        """`key_id` is the ARN of a symmetric key, or of an alias."""
        self._calls, self._key_id, self._random_bytes = calls, key_id, random_bytes

    def __repr__(self) -> str:
        return f"KmsVaultKey({self._key_id!r})"

    async def seal(self, plaintext: bytes, *, context: Mapping[str, str]) -> bytes:
        """As the port says; the context stands in CloudTrail."""
        _check_context(context)
        if len(plaintext) > PLAINTEXT_BYTES_MAX:
            raise Invalid(f"a vault takes {PLAINTEXT_BYTES_MAX} bytes")
        request = {"KeyId": self._key_id, "KeySpec": "AES_256", "EncryptionContext": dict(context)}
        try:
            made = await self._calls.read("generate_data_key", **request)
        except Refused as refused:
            raise StoreUnavailable(f"KMS refused: {refused.code}") from refused
        wrapped = bytes(made["CiphertextBlob"])
        head = _FORMAT + len(wrapped).to_bytes(_LENGTH_BYTES, "big") + wrapped
        nonce = self._random_bytes(_NONCE_BYTES)
        return head + nonce + AESGCM(bytes(made["Plaintext"])).encrypt(nonce, plaintext, head + _canonical(context))

    async def open(self, sealed: bytes, *, context: Mapping[str, str]) -> bytes:
        _check_context(context)
        start = len(_FORMAT) + _LENGTH_BYTES
        wrapped_end = start + int.from_bytes(sealed[len(_FORMAT) : start], "big")
        nonce_end = wrapped_end + _NONCE_BYTES
        if sealed[: len(_FORMAT)] != _FORMAT or wrapped_end == start or len(sealed) < nonce_end + _TAG_BYTES:
            raise _foreign()
        wrapped = sealed[start:wrapped_end]
        request = {"KeyId": self._key_id, "CiphertextBlob": wrapped, "EncryptionContext": dict(context)}
        try:
            key = await self._calls.read("decrypt", **request)
        except Refused as refused:
            if refused.code in FOREIGN:
                raise _foreign() from refused
            raise StoreUnavailable(f"KMS refused: {refused.code}") from refused
        try:
            cipher, nonce = AESGCM(bytes(key["Plaintext"])), sealed[wrapped_end:nonce_end]
            return cipher.decrypt(nonce, sealed[nonce_end:], sealed[:wrapped_end] + _canonical(context))
        except (InvalidTag, ValueError) as error:  # ValueError: KMS opened something, but no data key
            raise _foreign() from error


def _canonical(context: Mapping[str, str]) -> bytes:
    return json.dumps(context, sort_keys=True).encode()


def _check_context(context: Mapping[str, str]) -> None:
    if not 0 < len(context) <= CONTEXT_PAIRS_MAX or not all(context.values()):
        raise Invalid(f"a context has 1 to {CONTEXT_PAIRS_MAX} names with a value each")


def _foreign() -> Invalid:
    return Invalid("not sealed under this key and context")
