"""How files stand in the store and among the blobs."""

from __future__ import annotations

from interlock.core.kernel.store import ABSENT, Key, Put
from interlock.core.reconciliation.model import File, encode_file


def file_key(tenant: str, sha256: str) -> Key:
    return Key(f"{tenant}/file/{sha256}", "file")


def refusal_key(tenant: str, inbox_key: str) -> Key:
    """Of what is in quarantine: by where it came from, since it may have no hash."""
    return Key(f"{tenant}/refused_files", inbox_key)


def file_write(file: File) -> Put:
    key = refusal_key(file.tenant, file.inbox_key) if file.refused else file_key(file.tenant, file.sha256)
    return Put(key, encode_file(file), ABSENT)


def kept_key(tenant: str, sha256: str) -> str:
    return f"files/{tenant}/{sha256}"


def quarantine_key(tenant: str, sha256: str, name: str) -> str:
    return f"quarantine/{tenant}/{sha256}/{name}"
