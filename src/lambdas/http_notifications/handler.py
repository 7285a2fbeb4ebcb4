"""API Gateway's HTTP API -> what providers tell us. A function of its own: its callers have no token, but a signature."""

from mangum import Mangum

from interlock.entrypoints.functions import Function

function = Function()
function.loop()
handle = Mangum(function.asgi(prefix="/v1/notifications"), lifespan="off")
