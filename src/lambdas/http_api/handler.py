"""API Gateway's HTTP API -> the platform's API, the same application as on one machine."""

from mangum import Mangum

from interlock.entrypoints.functions import Function

function = Function()
function.loop()
handle = Mangum(function.asgi(), lifespan="off")
