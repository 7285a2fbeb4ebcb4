"""Secrets in one JSON file that only its owner can read: {"name": ["newest value", "older value"]}."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import stat
from pathlib import Path

import msgspec

from interlock.core.kernel.errors import StoreUnavailable
from interlock.core.kernel.secrets import Secret

_Content = dict[str, list[str]]
_Seal = tuple[int, int, int, int]


class FileSecrets:
    def __init__(self, path: str | Path) -> None:
        """The file is made by the first `put`. A file that others can read is refused, and the error says what to do."""
        self._path = Path(path)
        self._read_at: _Seal | None = None
        self._values: dict[str, list[Secret]] = {}

    def __repr__(self) -> str:
        return f"FileSecrets({str(self._path)!r})"

    async def get(self, name: str) -> list[Secret]:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise StoreUnavailable(f"cannot read {self._path}: {error.strerror}") from error
        self._check_private(found)
        if _seal(found) != self._read_at:
            content, self._read_at = self._read()
            self._values = {name: [Secret(value) for value in values] for name, values in content.items()}
        return list(self._values.get(name, ()))

    async def put(self, name: str, values: list[Secret]) -> None:
        await asyncio.to_thread(self._put, name, [value.reveal() for value in values])

    def _put(self, name: str, values: list[str]) -> None:
        try:
            folder = self._path.parent
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                # Two processes may put at once: neither may write what it read before the other's change.
                fcntl.flock(lock, fcntl.LOCK_EX)
                content = self._read()[0] if self._path.exists() else {}
                content[name] = values
                self._replace(msgspec.json.format(msgspec.json.encode(content), indent=1))
                os.fsync(lock)
            finally:
                os.close(lock)
        except OSError as error:
            raise StoreUnavailable(f"cannot write {self._path}: {error.strerror}") from error

    def _read(self) -> tuple[_Content, _Seal]:
        try:
            with self._path.open("rb") as file:
                found = os.fstat(file.fileno())
                self._check_private(found)
                raw = file.read()
            return msgspec.json.decode(raw, type=_Content), _seal(found)
        except OSError as error:
            raise StoreUnavailable(f"cannot read {self._path}: {error.strerror}") from error
        except (msgspec.DecodeError, UnicodeDecodeError):
            # Without its cause, which might quote a secret.
            raise StoreUnavailable(
                f'{self._path} is damaged: it should hold {{"name": ["value", ...]}}; restore it from a copy'
            ) from None

    def _check_private(self, found: os.stat_result) -> None:
        if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise StoreUnavailable(
                f"{self._path} can be read by other users: run `chmod 600 {self._path}`, "
                "and replace its secrets if they may have been seen"
            )

    def _replace(self, content: bytes) -> None:
        fresh = self._path.with_name(f".{self._path.name}.{secrets.token_hex(8)}")
        handle = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise


def _seal(found: os.stat_result) -> _Seal:
    """Changes whenever the file is replaced or written."""
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size
