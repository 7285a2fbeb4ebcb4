"""Blobs as files below one folder.

The blob `a/b.json` is the file `a/=b.json`: the mark keeps the blob `a` and the blobs below `a/` apart, and no key can
contain it. Unfinished files live in the folder `~`, which is no key either.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from interlock.core.kernel.blobs import check_key
from interlock.core.kernel.errors import StoreUnavailable

_MARK = "="
_UNFINISHED = "~"


class FileBlobs:
    def __init__(self, folder: str | Path) -> None:
        """`folder` is made when first needed, readable by its owner only."""
        self._folder = Path(folder)

    async def put(self, key: str, content: bytes) -> bool:
        path = self._path(key)
        return await asyncio.to_thread(self._put, path, content)

    async def get(self, key: str) -> bytes | None:
        path = self._path(key)
        try:
            return await asyncio.to_thread(path.read_bytes)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreUnavailable(f"cannot read {path}: {error.strerror}") from error

    async def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> list[str]:
        return await asyncio.to_thread(_page, self._folder, prefix, after, limit)

    def _path(self, key: str) -> Path:
        check_key(key)
        folder, _, name = key.rpartition("/")
        return self._folder / folder / f"{_MARK}{name}"

    def _put(self, path: Path, content: bytes) -> bool:
        try:
            self._make_folder(path.parent)
            unfinished = self._folder / _UNFINISHED / secrets.token_hex(16)
            self._make_folder(unfinished.parent)
            stored = False
            try:
                if not path.exists():
                    _write_new_file(unfinished, content)
                    with contextlib.suppress(FileExistsError):
                        os.link(unfinished, path)
                        stored = True
            finally:
                unfinished.unlink(missing_ok=True)
            # Also when the key was taken: whoever took it may not have got this far yet, and we say it is there.
            _sync_folder(path.parent)
        except OSError as error:
            raise StoreUnavailable(f"cannot write {path}: {error.strerror}") from error
        return stored

    def _make_folder(self, folder: Path) -> None:
        """Make `folder` and those above it; each is durable before anything is put into it."""
        if folder.is_dir():
            return
        self._make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        _sync_folder(folder.parent)


def _page(folder: Path, prefix: str, after: str, limit: int) -> list[str]:
    try:
        return list(islice(_keys(folder, "", prefix, after), limit))
    except OSError as error:
        raise StoreUnavailable(f"cannot list {folder}: {error.strerror}") from error


def _keys(folder: Path, above: str, prefix: str, after: str) -> Iterator[str]:
    """Keys below `folder`, whose own key is `above` (empty, or ending with a slash), in bytewise order."""
    names: list[str] = []
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_MARK):
                names.append(above + entry.name[len(_MARK) :])
            elif entry.name != _UNFINISHED:
                names.append(f"{above}{entry.name}/")
    # With its slash a folder sorts where the keys below it belong.
    for name in sorted(names):
        if not name.endswith("/"):
            if name.startswith(prefix) and name > after:
                yield name
        elif (name.startswith(prefix) or prefix.startswith(name)) and (name > after or after.startswith(name)):
            yield from _keys(folder / name[len(above) : -1], name, prefix, after)


def _write_new_file(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
