"""Who calls, for API Gateway: where its own JWT authoriser does not do, as with tokens of two issuers."""

from typing import Any

from interlock.entrypoints.functions import Function

function = Function()


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    caller = function.caller(event.get("headers", {}).get("authorization", ""))
    return {"isAuthorized": caller is not None, "context": caller or {}}
