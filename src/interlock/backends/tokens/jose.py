"""JWS and JWK by joserfc, behind checks of our own.

ES256 signs our tokens: a signature check costs 89 us here and signing 43 us, against 114 and 46 us for Ed25519 (joserfc 1.8
and cryptography 50 on two shared cores; the ratio is what counts). RS256 checks in 35 us but signs in 298 us and needs
256 bytes more in every request; since a token is checked once and then remembered, signing and size count for as much.
Source: https://jose.authlib.org/en/api/jws/ and RFC 8725 (JWT best current practices) (checked 2026-11-22).
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, Key, OKPKey, RSAKey

from interlock.core.kernel.errors import Fault, Invalid, Unauthenticated

OWN_ALGORITHM = "ES256"
FOREIGN_ALGORITHMS = ("ES256", "ES384", "RS256", "PS256", "Ed25519")
"""What other issuers and clients may sign with: asymmetric only, so that a public key can never serve as a shared one."""
TOKEN_CHARS_MAX = 8_192
RSA_BITS_MIN, RSA_BITS_MAX = 2_048, 8_192
KEYS_MAX = 50
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_PRIVATE = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")


class Head(msgspec.Struct, frozen=True):
    """The header's members that matter. Others, such as the URL of a key, are never followed."""

    alg: str
    typ: str | None = None
    kid: str | None = None
    crit: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    b64: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Parts(NamedTuple):
    head: Head
    claims: dict[str, Any]
    """Not verified yet."""


def open_token(token: str, algorithms: tuple[str, ...], *, chars_max: int = TOKEN_CHARS_MAX) -> Parts:
    """Take a compact JWS apart. Raises Unauthenticated for what is malformed or signed otherwise than allowed."""
    if len(token) > chars_max or _is_compact(token) is None:
        raise Unauthenticated("not a signed token", code="token_malformed")
    head_part, claims_part, _ = token.split(".")
    try:
        head = _head.decode(_decoded(head_part))
        claims = _claims.decode(_decoded(claims_part))
    except (ValueError, msgspec.DecodeError, RecursionError):
        raise Unauthenticated("not a signed token", code="token_malformed") from None
    if head.crit is not msgspec.UNSET or head.b64 is not msgspec.UNSET:
        raise Unauthenticated("extensions are not understood", code="token_malformed")
    if head.alg not in algorithms:
        raise Unauthenticated("not signed with an algorithm that is allowed", code="token_algorithm")
    return Parts(head, claims)


def check_signature(token: str, key: Key, algorithms: tuple[str, ...]) -> None:
    """Raises Unauthenticated unless `key`, of the kind that the algorithm needs, made the signature."""
    try:
        jws.deserialize_compact(token, key, registry=_REGISTRIES[algorithms])
    except (JoseError, ValueError, TypeError):
        raise Unauthenticated("the signature is wrong", code="token_signature") from None


def sign(claims: Mapping[str, Any], key: Key, *, key_id: str, type_: str) -> str:
    head = {"alg": OWN_ALGORITHM, "typ": type_, "kid": key_id}
    return jws.serialize_compact(head, msgspec.json.encode(claims), key, registry=_REGISTRIES[(OWN_ALGORITHM,)])


def private_key(jwk: str) -> Key:
    return ECKey.import_key(msgspec.json.decode(jwk, type=dict[str, str | list[str]]))


def public_jwk(key: Key) -> dict[str, Any]:
    return cast(dict[str, Any], key.as_dict(private=False, use="sig", alg=OWN_ALGORITHM))


def public_keys(content: bytes | str) -> dict[str, Key]:
    """Keys of a JWK Set by their id; those without an id share the id "". What cannot serve here is passed over.

    Raises ValueError if it is no JWK Set.
    """
    try:
        members = msgspec.json.decode(content, type=_KeySet).keys
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError("not a JWK Set") from error
    found: dict[str, Key] = {}
    for jwk in members[:KEYS_MAX]:
        key = _fit_public_key(jwk)
        if key is not None:
            found.setdefault(key.kid or "", key)
    return found


def pick_key(keys: Mapping[str, Key], key_id: str | None) -> Key | None:
    """The key a header names. A header that names none is fine while there is only one key."""
    if key_id is None:
        return next(iter(keys.values())) if len(keys) == 1 else None
    return keys.get(key_id)


class JoseKeys:
    """Implements KeyMaker."""

    def __init__(self, token_bytes: Callable[[int], bytes]) -> None:
        self._token_bytes = token_bytes

    def new_signing_key(self) -> tuple[str, str]:
        # 384 bits reduced to 256: the bias is below 2^-128. The id is the key's RFC 7638 thumbprint.
        scalar = 1 + int.from_bytes(self._token_bytes(48), "big") % (_P256_ORDER - 1)
        key = ECKey.import_key(ec.derive_private_key(scalar, ec.SECP256R1()))
        key.ensure_kid()
        return cast(str, key.kid), msgspec.json.encode(key.as_dict(private=True)).decode()

    def check_public_keys(self, public_keys_json: str) -> None:
        try:
            members = msgspec.json.decode(public_keys_json, type=_KeySet).keys
        except (msgspec.DecodeError, RecursionError):
            raise Invalid(faults=(Fault("/public_keys", "malformed", "not a JWK Set"),)) from None
        faults = [_public_key_fault(jwk, i) for i, jwk in enumerate(members)]
        ids = [jwk.get("kid") for jwk in members]
        if not members or len(members) > KEYS_MAX or len(set(map(str, ids))) != len(ids):
            faults.append(Fault("/public_keys", "key_ids", f"1 to {KEYS_MAX} keys, each with a kid of its own"))
        if found := tuple(fault for fault in faults if fault is not None):
            raise Invalid(faults=found)


def _public_key_fault(jwk: dict[str, Any], position: int) -> Fault | None:
    pointer = f"/public_keys/keys/{position}"
    if any(member in jwk for member in _PRIVATE):
        return Fault(pointer, "private_key", "a private key: keep it, send the public one, and make a new pair")
    if not isinstance(jwk.get("kid"), str) or not jwk["kid"]:
        return Fault(pointer, "key_id", "a key needs a kid")
    if _fit_public_key(jwk) is None:
        return Fault(pointer, "unfit_key", "neither P-256, P-384, Ed25519 nor RSA of 2048 bits or more, for signatures")
    return None


def _fit_public_key(jwk: dict[str, Any]) -> Key | None:
    if any(member in jwk for member in _PRIVATE) or jwk.get("use", "sig") != "sig":
        return None
    modulus = str(jwk.get("n", ""))
    if jwk.get("kty") == "RSA" and not RSA_BITS_MIN <= len(modulus) * 6 <= RSA_BITS_MAX + 12:
        return None  # before the library spends time on a huge one or warns of a small one
    try:
        key = JWKRegistry.import_key(jwk)
        native: Any = key.public_key  # parsed lazily: a broken key must fail here
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    if isinstance(key, RSAKey):
        return key if RSA_BITS_MIN <= native.key_size <= RSA_BITS_MAX else None
    if isinstance(key, ECKey):
        return key if key.curve_name in ("P-256", "P-384") else None
    if isinstance(key, OKPKey):
        return key if key.curve_name == "Ed25519" else None
    return None


def key_set_json(keys: list[Key]) -> bytes:
    return msgspec.json.encode({"keys": [public_jwk(key) for key in keys]})


def _decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


_is_compact = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*").fullmatch
"""Stricter than a lenient decoder, which would pass over other characters."""
_head = msgspec.json.Decoder(Head)
_claims = msgspec.json.Decoder(dict[str, Any])
_REGISTRIES: dict[tuple[str, ...], jws.JWSRegistry] = {
    algorithms: jws.JWSRegistry(algorithms=list(algorithms), strict_check_header=False)
    for algorithms in ((OWN_ALGORITHM,), FOREIGN_ALGORITHMS)
}
