"""What the platform says of itself: structured logs, Prometheus metrics, OpenTelemetry traces."""

from interlock.backends.telemetry.telemetry import PlatformTelemetry

__all__ = ["PlatformTelemetry"]
