"""Tokens put together by hand, as an attacker would."""

import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode

from cryptography.hazmat.primitives import serialization


def b64(raw):
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def unb64(part):
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def parts_of(token):
    head, claims, signature = token.split(".")
    return json.loads(unb64(head)), json.loads(unb64(claims)), signature


def put_together(head, claims, signature=""):
    return f"{b64(json.dumps(head).encode())}.{b64(json.dumps(claims).encode())}.{signature}"


def with_claims(token, **changes):
    head, claims, signature = parts_of(token)
    return put_together(head, claims | changes, signature)


def with_head(token, **changes):
    head, claims, signature = parts_of(token)
    return put_together(head | changes, claims, signature)


def signed_with_hmac(head, claims, secret):
    unsigned = put_together(head, claims).rstrip(".")
    return f"{unsigned}.{b64(hmac.digest(secret, unsigned.encode(), hashlib.sha256))}"


def public_forms(key):
    """A public key in every form a confused verifier might take as a shared secret."""
    native = key.public_key
    encodings = serialization.Encoding
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return [
        native.public_bytes(encodings.PEM, form),
        native.public_bytes(encodings.DER, form),
        json.dumps(key.as_dict(private=False)).encode(),
    ]
