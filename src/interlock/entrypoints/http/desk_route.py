"""What the desk's routes have in common: who has these scopes sees every merchant's payments.

They are for the platform's own people and programs.
"""

from __future__ import annotations

from typing import Any

from interlock.core.desk.operators.identities import name_of_client
from interlock.entrypoints.http.routing import Call, Route

READ, WRITE, APPROVE = "desk:read", "desk:write", "desk:approve"
TAGS = ("desk",)


def reads(path: str, operation_id: str, summary: str, endpoint: Any, answer: Any, **more: Any) -> Route:
    return Route(
        method="GET",
        path=path,
        endpoint=endpoint,
        operation_id=operation_id,
        summary=summary,
        scope=READ,
        answers={200: answer},
        problems=(503,),
        tags=TAGS,
        **more,
    )


def asker(call: Call) -> str:
    """The client, under the name by which the desk tells it from people."""
    return name_of_client(call.principal.client_id)


def writes(
    path: str, operation_id: str, summary: str, endpoint: Any, answers: Any, *, scope: str = WRITE, **more: Any
) -> Route:
    return Route(
        method="POST",
        path=path,
        endpoint=endpoint,
        operation_id=operation_id,
        summary=summary,
        scope=scope,
        answers=answers,
        tags=TAGS,
        **({"problems": (503,)} | more),
    )
