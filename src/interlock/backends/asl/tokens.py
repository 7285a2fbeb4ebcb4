"""Tokens of tasks that wait for an answer from outside: which job of which execution, and something nobody can guess."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import NamedTuple

import msgspec

from interlock.core.kernel.workflows import TOKEN_MAX


class Token(NamedTuple):
    execution: str
    branch: str
    job: str
    nonce: str

    def __repr__(self) -> str:
        return f"Token({self.execution})"


def format_token(execution: str, branch: str, job: str, nonce: str) -> str:
    return urlsafe_b64encode(_encoder.encode(Token(execution, branch, job, nonce))).decode()


def parse_token(text: str) -> Token | None:
    """None for what is no token of ours."""
    if len(text) > TOKEN_MAX:
        return None
    try:
        return _decoder.decode(urlsafe_b64decode(text.encode()))
    except ValueError:
        return None


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Token)
