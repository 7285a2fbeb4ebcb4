"""What the OpenAPI document says of every operation alike: parameters, headers, and how a client proves itself."""

from __future__ import annotations

from typing import Any

from interlock.entrypoints.http.requests import API_VERSION, IDEMPOTENCY_KEY_PATTERN

CLIENT_BASIC_SCHEME: dict[str, Any] = {
    "type": "http",
    "scheme": "basic",
    "description": "Client id and secret, each form-encoded first (RFC 6749, section 2.3.1). Only for the token endpoint.",
}
PARAMETERS: dict[str, Any] = {
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "required": True,
        "description": "1 to 255 printable ASCII characters, new for each new request; plain, or as a quoted string. "
        "Scope: tenant, method and path. Kept for seven days at least.",
        "schema": {"type": "string", "pattern": f"^(?:{IDEMPOTENCY_KEY_PATTERN})$"},
        "example": "8e03978e-40d5-43dd-bc93-6894a57f9324",
    },
    "RequestId": {
        "name": "X-Request-Id",
        "in": "header",
        "required": False,
        "description": "Echoed if it is 1 to 64 letters, digits, `.`, `_` and `-`; otherwise a new one is made.",
        "schema": {"type": "string"},
        "example": "order-17-try-1",
    },
    "Traceparent": {
        "name": "traceparent",
        "in": "header",
        "required": False,
        "description": "W3C Trace Context. One that is malformed is ignored.",
        "schema": {"type": "string"},
        "example": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    },
    "Version": {
        "name": "Interlock-Version",
        "in": "header",
        "required": False,
        "description": "The dated version of the API.",
        "schema": {"type": "string", "enum": [API_VERSION]},
    },
}
HEADERS: dict[str, Any] = {
    "X-Request-Id": {
        "description": "Names this request in logs and to support.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    },
    "RateLimit": {
        "description": "`r`: requests left; `t`: seconds until the quota is full again.",
        "required": True,
        "schema": {"type": "string", "pattern": '^"client";r=[0-9]+;t=[0-9]+$'},
    },
    "RateLimit-Policy": {
        "description": "`q`: requests in a full quota.",
        "required": True,
        "schema": {"type": "string", "pattern": '^"client";q=[0-9]+$'},
    },
    "Retry-After": {
        "description": "Seconds to wait.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    },
    "WWW-Authenticate": {
        "description": "What a token needs.",
        "required": True,
        "schema": {"type": "string"},
    },
}
