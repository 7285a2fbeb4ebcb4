"""Which files are let in, and what is kept of each. Pure."""

from __future__ import annotations

import re

import msgspec

from interlock.core.kernel.clock import Millis
from interlock.core.kernel.errors import Invalid

INBOX = "inbox"
"""Files arrive in `inbox/<tenant>/`."""
SIZE_MAX = 64_000_000
REFUSALS = {
    "empty": "There is nothing in it.",
    "too_large": f"It has more than {SIZE_MAX} bytes.",
    "name_not_allowed": "Its name does not end in one of those that settlement files have.",
}
ENDINGS = ("csv", "tsv", "txt", "xml", "json", "zip", "gz", "pgp", "gpg")
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.-]{{0,150}}\.(?:{'|'.join(ENDINGS)})", re.ASCII | re.IGNORECASE)


class File(msgspec.Struct, frozen=True, omit_defaults=True):
    """One file's contents, however often they arrive."""

    id: str
    tenant: str
    sha256: str
    name: str
    """As which it came first."""
    inbox_key: str
    size: int
    kept_at: str
    """The blob's key."""
    taken_at: Millis
    execution: str
    refused: str = ""
    """Why it is in quarantine."""


def name_of(key: str, tenant: str) -> str:
    """The file's name, from its place in the tenant's inbox. Raises Invalid for any other place."""
    if not key.startswith(f"{INBOX}/{tenant}/"):
        raise Invalid(f"{key[:200]!r} is not in the inbox of {tenant}")
    return key.rpartition("/")[2]


def verdict_on(name: str, size: int) -> str:
    if size == 0:
        return "empty"
    if size > SIZE_MAX:
        return "too_large"
    return "accepted" if _NAME.fullmatch(name) else "name_not_allowed"


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(File)


def encode_file(file: File) -> bytes:
    return _encoder.encode(file)


def decode_file(raw: bytes) -> File:
    return _decoder.decode(raw)
