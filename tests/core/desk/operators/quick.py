"""What operators need from outside, without what makes it slow."""

from __future__ import annotations

import hashlib

HERE = "192.0.2.1"


async def digest_of(password: str, salt: str) -> str:
    return hashlib.sha256(f"{salt}/{password}".encode("utf-8", "surrogatepass")).hexdigest()
