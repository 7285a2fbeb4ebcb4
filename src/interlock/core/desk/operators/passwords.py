"""Passwords of operators: chosen by people, so hashed slowly and with much memory (scrypt).

Source: https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html (checked 2026-11-27)
"""

from __future__ import annotations

import hashlib
import hmac

_COST, _BLOCK, _LANES = 2**15, 8, 1
_MEMORY = 64 * 1024 * 1024
SALT_BYTES = 16
NOBODY = "00" * SALT_BYTES
"""Salt for who is not there: it takes as long."""


def digest_of(password: str, salt: str) -> str:
    """Takes a few tenths of a second and 32 MB, on purpose: nothing for the loop that takes payments."""
    return hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"),
        salt=bytes.fromhex(salt),
        n=_COST,
        r=_BLOCK,
        p=_LANES,
        maxmem=_MEMORY,
        dklen=32,
    ).hex()


def is_right(found: str, digest: str) -> bool:
    """`found`: of what was typed. In the same time whether or not there is a digest to compare with."""
    return hmac.compare_digest(found, digest or "!" * 64)
