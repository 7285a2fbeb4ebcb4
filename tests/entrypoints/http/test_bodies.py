"""Bodies are read no further than their limit."""

from __future__ import annotations

import pytest

from interlock.core.kernel.errors import PayloadTooLarge
from interlock.entrypoints.http.bodies import Disconnected, read_body


class Pieces:
    def __init__(self, *pieces: bytes | None) -> None:
        self.left = list(pieces)

    async def __call__(self):
        piece = self.left.pop(0)
        if piece is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": piece, "more_body": bool(self.left)}


async def test_pieces_are_joined():
    assert await read_body(Pieces(b"ab", b"", b"cd"), 4) == b"abcd"
    assert await read_body(Pieces(b""), 4) == b""


@pytest.mark.parametrize(("pieces", "unread"), [((b"abcde", b"f"), 1), ((b"ab", b"cd", b"e", b"f", b"g"), 2)])
async def test_reading_stops_at_the_piece_that_passes_the_limit(pieces, unread):
    body = Pieces(*pieces)
    with pytest.raises(PayloadTooLarge):
        await read_body(body, 4)
    assert len(body.left) == unread


@pytest.mark.parametrize("pieces", [(None,), (b"ab", None, b"x")])
async def test_client_that_leaves_is_told_apart_from_an_end(pieces):
    with pytest.raises(Disconnected):
        await read_body(Pieces(*pieces), 4)
