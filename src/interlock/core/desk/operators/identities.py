"""Who somebody from an issuer is. They act under a name that says so, and that no operator of this platform can have.

`ada (login.example.com 1f2e3d4c5b6a7988)`: what they are called there, where that is, and a digest of issuer and subject.
The first part is for people to read and may change; the last is who it is. A client of the API is `client:cli_...`, which
nobody else can be called either.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

NAME_CHARS_MAX = 60
HOST_CHARS_MAX = 60
DIGEST_CHARS = 16
CLIENT = "client:"
"""Begins the name of a program: no name of a person has a colon."""


def issuer_host(issuer: str) -> str:
    return (urlsplit(issuer).hostname or "issuer")[:HOST_CHARS_MAX]


def name_at_issuer(called: Iterable[str], *, issuer: str, subject: str) -> str:
    """`called`: what the issuer calls them, best first. What is not plain in a name is left out of it."""
    plain = (_unfit.sub("", one)[:NAME_CHARS_MAX].strip("._@+-") for one in (*called, subject))
    shown = next((one for one in plain if one), "somebody")
    digest = hashlib.sha256(f"{issuer}\0{subject}".encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_CHARS]
    return f"{shown} ({issuer_host(issuer)} {digest})"


def name_of_client(client_id: str) -> str:
    return CLIENT + client_id


def is_client(name: str) -> bool:
    return name.startswith(CLIENT)


def shown_name(operator: str) -> str:
    """Without where somebody comes from."""
    found = _from_issuer(operator)
    return found["shown"] if found else operator


def may_be_the_same(one: str, other: str) -> bool:
    """Whether two names may mean one person: what a rule about two people asks.

    Of one issuer, the subject decides, whatever people call themselves. Between an issuer and this platform, or two issuers,
    nobody can tell, so that the same name counts as the same person.
    """
    first, second = one.strip().lower(), other.strip().lower()
    a, b = _from_issuer(first), _from_issuer(second)
    if a is None and b is None:
        return first == second
    if a is not None and b is not None and a["host"] == b["host"]:
        return a["digest"] == b["digest"]
    return bool(_called(first) & _called(second))


def _called(operator: str) -> set[str]:
    """The name, and what stands before its @."""
    shown = shown_name(operator)
    return {shown, shown.partition("@")[0] or shown}


_unfit = re.compile(r"[^A-Za-z0-9._@+-]")
_from_issuer = re.compile(rf"(?P<shown>\S+) \((?P<host>\S+) (?P<digest>[0-9a-f]{{{DIGEST_CHARS}}})\)").fullmatch
