"""Makes small what is much like what came before: deflate, with a text to begin with that looks like a payment's records.

The first byte names that text. A text that was ever used stays as it is, for good: rows were packed with it.
"""

from __future__ import annotations

import zlib
from pathlib import Path

from interlock.core.kernel.errors import StoreUnavailable

_CURRENT = 1
_TEXTS = {1: (Path(__file__).parent / "packing_1.txt").read_bytes().strip()}
LEVEL = 9
RAW = -15
"""Deflate without header and checksum: DynamoDB keeps what it was given."""


def pack(content: bytes) -> bytes:
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, RAW, zdict=_TEXTS[_CURRENT])
    return bytes([_CURRENT]) + packer.compress(content) + packer.flush()


def unpack(packed: bytes) -> bytes:
    """Raises StoreUnavailable for what a later release of the platform has packed."""
    text = _TEXTS.get(packed[0]) if packed else None
    if text is None:
        raise StoreUnavailable("a row was packed by a later release of the platform: upgrade this one")
    unpacker = zlib.decompressobj(RAW, zdict=text)
    return unpacker.decompress(packed[1:]) + unpacker.flush()
