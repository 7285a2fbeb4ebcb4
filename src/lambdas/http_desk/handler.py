"""API Gateway's HTTP API -> the desk's console, the same application as on one machine. Open pages look instead of listening."""

from mangum import Mangum

from interlock.entrypoints.functions import Function

function = Function()
function.loop()
handle = Mangum(function.console(), lifespan="off")
